"""From what a process did to the result that is stored (execution.md sections 10-12). Pure, but for reading logs."""

import errno
import json
import logging
import math
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from apps.core.yaml_files import YamlError, parse_yaml
from apps.workers.capture import Capture
from apps.workers.limits import Limits
from apps.workers.process import Ended

logger = logging.getLogger(__name__)

PREVIEW_CHARACTERS = 1000
ERROR_CHARACTERS = 4000
ERROR_LINES = 5  # stderr of up to so many lines is shown whole
CANCELLED = "Execution cancelled by user"
STOPPED_BEFORE_START = "Execution stopped before its process was started"
INLINE_PYTHON = "inline-python"  # an output format of our own: the last line, whatever JSON it is
NOTHING = object()  # no data; None is data

_NOT_READ = os.strerror(errno.EPIPE)  # a program that ends well need not read its input
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_UNCAUGHT = re.compile(
    r'^(Traceback \(most recent call last\):|  File ".+", line \d+|run\(\) returned a value that is not JSON: .*)$',
    re.MULTILINE,
)


def decode(data: bytes) -> str:
    """Return text that any database stores: invalid bytes and NUL become U+FFFD."""
    return data.decode(errors="replace").replace("\0", "\ufffd")


def preview(capture: Capture) -> str:
    """Return the first 1000 characters, with ``...`` when there are more."""
    enough = 4 * PREVIEW_CHARACTERS + 4
    text = decode(bytes(capture.head[:enough]))
    if len(text) <= PREVIEW_CHARACTERS and capture.size <= enough:
        return text
    return text[:PREVIEW_CHARACTERS] + "..."


# Data


class Printed(Protocol):
    """What a program has printed on one stream; the ends of it are at hand, and all of it can be read."""

    @property
    def head(self) -> bytes | bytearray: ...

    @property
    def size(self) -> int: ...

    @property
    def truncated(self) -> bool: ...

    @property
    def in_memory(self) -> bool: ...

    def content(self) -> bytes: ...

    def tail(self, length: int = ...) -> bytes: ...


@dataclass(frozen=True)
class _Whole:
    """All of an output, in memory."""

    head: bytes
    truncated = False
    in_memory = True

    @property
    def size(self) -> int:
        return len(self.head)

    def content(self) -> bytes:
        return self.head

    def tail(self, length: int = 0) -> bytes:
        return self.head


def data_in(printed: bytes, output_format: str) -> Any:
    """Return what an output means in this format, None also when it means nothing."""
    data = parse_output(_Whole(printed), output_format)
    return None if data is NOTHING else data


def parse_output(capture: Printed, output_format: str) -> Any:
    """Return what stdout means in this format, NOTHING when it means nothing or was cut."""
    if capture.truncated or not capture.size:
        return NOTHING
    match output_format:
        case "json":
            return _json_output(capture, any_value=True)
        case "yaml":
            return _yaml_output(capture)
        case "jsonl":
            values = [value for line in _lines(capture) if (value := _json(line)) is not NOTHING]
            return values or NOTHING
        case "inline-python":
            return _json(_last_line(capture))
        case _:
            return _json_output(capture, any_value=False)


def _json_output(capture: Printed, *, any_value: bool) -> Any:
    starts = b'{["-0123456789tfn' if any_value else b"{["
    begin = capture.head.lstrip()[:1]
    # Most output is no JSON, and then a large log need not be read whole.
    if begin and begin[0] in starts:
        value = _json(capture.content())
        if value is not NOTHING:
            return value
    line = _last_line(capture).lstrip()
    return _json(line) if line and line[0] in starts else NOTHING


def _yaml_output(capture: Printed) -> Any:
    try:
        value = parse_yaml(capture.content())
    except (YamlError, RecursionError):
        return NOTHING
    return NOTHING if value is None else value


def _lines(capture: Printed) -> list[bytes]:
    return [line for line in capture.content().split(b"\n") if line.strip()]


def _last_line(capture: Printed) -> bytes:
    """Return the last line that is not blank; it is usually in the last few kilobytes."""
    end = capture.tail().rstrip()
    start = end.rfind(b"\n")
    if start < 0 and not capture.in_memory:
        end = capture.content().rstrip()
        start = end.rfind(b"\n")
    return bytes(end[start + 1 :])


def _json(text: bytes) -> Any:
    """Return the value, or NOTHING when the text is not JSON or holds what JSON does not know (NaN, 1e999)."""
    try:
        value = _DECODER.decode(decode(text))
    except (ValueError, RecursionError):
        return NOTHING
    return storable(value) if b"\\u" in text else value


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)


def storable(value: Any) -> Any:
    """Return the value with U+FFFD for every NUL and lone surrogate, which no database takes."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value


# Errors


def error_of(ended: Ended, *, timeout_seconds: float, limits: Limits, inline_python: bool) -> str:
    """Return what went wrong, in the order of execution.md section 12; empty when nothing did."""
    return shorten(_error_of(ended, timeout_seconds=timeout_seconds, limits=limits, inline_python=inline_python))


def shorten(error: str) -> str:
    return error if len(error) <= ERROR_CHARACTERS else error[: ERROR_CHARACTERS - 3] + "..."


def _error_of(ended: Ended, *, timeout_seconds: float, limits: Limits, inline_python: bool) -> str:
    if ended.reason == "timeout":
        return f"Execution timed out after {timeout_seconds:g} seconds"
    if ended.reason == "cancel":
        return CANCELLED
    if ended.reason in ("lost", "superseded"):
        return "Execution stopped: it no longer belongs to this worker"
    if ended.wait_error:
        return f"Process wait failed: {ended.wait_error}"
    if ended.returncode == 0 and ended.stdin_error in ("", _NOT_READ):
        return ""
    limit = limit_hit(ended, limits)
    if limit:
        return f"Limit reached: {limit} = {getattr(limits, limit)} ({_own_error(ended, inline_python).strip()})"
    if ended.stdin_error:
        return f"Failed to write parameters to stdin: {ended.stdin_error}"
    return _own_error(ended, inline_python)


def _own_error(ended: Ended, inline_python: bool) -> str:
    stderr = ended.stderr
    text = decode(stderr.tail())
    if inline_python and ended.returncode == 1 and _UNCAUGHT.search(text):
        return _last_text_line(text)
    if not stderr.truncated and stderr.lines + (not text.endswith("\n")) <= ERROR_LINES:
        text = decode(bytes(stderr.head[: 4 * ERROR_CHARACTERS + 4]))
        return text if text.strip() else _exit_text(ended.returncode)
    return _last_text_line(text, skip_notice=stderr.truncated) or _exit_text(ended.returncode)


def _last_text_line(text: str, *, skip_notice: bool = False) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if skip_notice:
        lines = [line for line in lines if not line.startswith("[OUTPUT TRUNCATED: ")]
    return lines[-1] if lines else ""


def _exit_text(returncode: int) -> str:
    if returncode < 0:
        return f"Command exited with code -1 (signal {-returncode}, {signal_name(returncode)})"
    return f"Command exited with code {returncode}"


def signal_name(returncode: int) -> str:
    """Return the name of the signal that a negative exit code stands for."""
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"SIGRT{-returncode - signal.SIGRTMIN:+d}"


_LIMIT_SIGNS = {
    "memory_mb": re.compile(r"MemoryError|[Cc]annot allocate memory|out of memory|bad_alloc|xrealloc|xmalloc", re.I),
    "processes": re.compile(r"Resource temporarily unavailable|fork: retry|can't start new thread"),
    "open_files": re.compile(r"Too many open files"),
}


def limit_hit(ended: Ended, limits: Limits) -> str:
    """Return the name of the limit that ended a failed run, as far as that can be told; empty when none did."""
    if ended.limit_hit:
        return ended.limit_hit
    if limits.cpu_seconds and _out_of_cpu(ended, limits.cpu_seconds):
        return "cpu_seconds"
    text = decode(ended.stderr.tail(4096)) if limits.before_start else ""
    return next((name for name, sign in _LIMIT_SIGNS.items() if getattr(limits, name) and sign.search(text)), "")


def _out_of_cpu(ended: Ended, cpu_seconds: int) -> bool:
    if ended.returncode in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return True
    return ended.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL) and ended.cpu_seconds >= cpu_seconds


# The result


def result_of(
    ended: Ended, *, output_format: str, timeout_seconds: float, limits: Limits, inline_python: bool, data: Any = None
) -> dict[str, Any]:
    """Return the result object of a process that was started. ``data``: what its output means; None: it is read here."""
    error = error_of(ended, timeout_seconds=timeout_seconds, limits=limits, inline_python=inline_python)
    by_signal = ended.returncode < 0 and not ended.wait_error
    result: dict[str, Any] = {
        "exit_code": -1 if ended.returncode < 0 or ended.reason == "timeout" else ended.returncode,
        "succeeded": not error,
        "duration_ms": round(ended.seconds * 1000),
    }
    if ended.reason == "cancel":
        result["cancelled"] = True
    if error:
        result["error"] = error
    if by_signal:
        result["signal"] = signal_name(ended.returncode)
    for capture in (ended.stdout, ended.stderr):
        _add_stream(result, capture)
    if ended.reason is None or ended.reason in ("timeout", "limit"):
        if data is None:
            data = parse_output(ended.stdout, INLINE_PYTHON if inline_python else output_format)
        _add_data(result, data)
    return result


def _add_stream(result: dict[str, Any], capture: Capture) -> None:
    if capture.head:
        result[capture.name] = preview(capture)
    if capture.size and capture.path:
        result[f"{capture.name}_log"] = capture.path
    if capture.truncated:
        result[f"{capture.name}_truncated"] = True
        result[f"{capture.name}_bytes_truncated"] = capture.dropped


def _add_data(result: dict[str, Any], data: Any) -> None:
    if data is NOTHING:
        return
    result["data"] = data
    if isinstance(data, dict) and data.get("queue_ack") is not None:
        result["queue_ack"] = data["queue_ack"]


def as_cancelled(result: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a run that ended by itself in the moment in which it was cancelled."""
    kept = {key: value for key, value in result.items() if key not in ("data", "queue_ack")}
    return {**kept, "succeeded": False, "cancelled": True, "error": CANCELLED}


def not_run(error: str) -> dict[str, Any]:
    """Return the result of a run that has no process."""
    return {"succeeded": False, "error": shorten(storable(error))}


def write_result_file(directory: Path, result: dict[str, Any]) -> None:
    """Keep the whole result beside the logs. The row holds it as well, so a full disk is only logged."""
    try:
        (directory / "result.json").write_text(json.dumps(result, ensure_ascii=False))
    except OSError:
        logger.exception("Cannot write %s", directory / "result.json")
