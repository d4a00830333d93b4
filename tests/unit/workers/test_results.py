"""From output and end of a process to the result (execution.md sections 10-12)."""

import json
from pathlib import Path
from typing import Any

import pytest

from apps.workers.capture import Capture
from apps.workers.limits import NO_LIMITS, Limits
from apps.workers.process import Ended
from apps.workers.results import NOTHING, as_cancelled, not_run, parse_output, preview, result_of


def captured(data: bytes, name: str = "stdout", directory: Path | None = None) -> Capture:
    stream = Capture(name, directory / f"{name}.log" if directory else None, 10 * 1024 * 1024)
    if data:
        stream.feed(data)
    stream.close()
    return stream


def ended(returncode: int = 0, stdout: bytes = b"", stderr: bytes = b"", **fields: Any) -> Ended:
    values = {"reason": None, "cpu_seconds": 0.0, "seconds": 0.0123, **fields}
    return Ended(returncode=returncode, stdout=captured(stdout), stderr=captured(stderr, "stderr"), **values)


def result(process: Ended, **options: Any) -> dict[str, Any]:
    defaults = {"output_format": "text", "timeout_seconds": 300, "limits": NO_LIMITS, "inline_python": False}
    return result_of(process, **{**defaults, **options})


def error(process: Ended, **options: Any) -> str:
    text = result(process, **options)["error"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    ("output", "output_format", "data"),
    [
        (b'{"a": 1}\n', "json", {"a": 1}),
        (b'{"a":\n 1}\n', "json", {"a": 1}),
        (b"working\n42\n\n", "json", 42),
        (b"null\n", "json", None),
        (b'"text"', "json", "text"),
        (b"text", "json", NOTHING),
        (b"{broken\nalso broken}", "json", NOTHING),
        (b"{broken\n[1]", "json", [1]),
        (b'{"a": 1}\n', "text", {"a": 1}),
        (b"log\n[1, 2]\n", "text", [1, 2]),
        (b"42\n", "text", NOTHING),
        (b"[1\n42\n", "text", NOTHING),
        (b'"text"\n', "text", NOTHING),
        (b" \n\n", "json", NOTHING),
        (b"a: 1\nb: [x, 2026-01-01]\n", "yaml", {"a": 1, "b": ["x", "2026-01-01"]}),
        (b"a: !!python/object:os.system {}\n", "yaml", NOTHING),
        (b"a: [\n", "yaml", NOTHING),
        (b"# nothing\n", "yaml", NOTHING),
        (b'{"a": 1}\nnoise\n\n2\n', "jsonl", [{"a": 1}, 2]),
        (b"noise\n", "jsonl", NOTHING),
        (b"{}\n42\n", "inline-python", 42),
        (b"42\ntext\n", "inline-python", NOTHING),
        (b'{"a": NaN}', "json", NOTHING),
        (b'{"a": 1e999}', "json", NOTHING),
        (b"9" * 5000, "json", NOTHING),
        (b"[" * 100_000, "json", NOTHING),
        (b'{"a\\u0000": ["\\ud800x\\u0000"]}', "json", {"a\ufffd": ["\ufffdx\ufffd"]}),
        (b'{"a": "\xff"}', "json", {"a": "\ufffd"}),
    ],
)
def test_data(output: bytes, output_format: str, data: Any) -> None:
    found = parse_output(captured(output), output_format)

    assert found == data
    assert (found is NOTHING) == (data is NOTHING)


def test_data_of_a_large_log(tmp_path: Path) -> None:
    large = json.dumps({"items": ["x" * 100] * 2000}).encode()

    assert parse_output(captured(large, directory=tmp_path), "text") == json.loads(large)
    assert parse_output(captured(b"log line\n" * 20_000 + b"[1]\n", directory=tmp_path), "text") == [1]
    assert parse_output(captured(b"log line\n" + large, directory=tmp_path), "json") == json.loads(large)


def test_truncated_output_is_not_parsed() -> None:
    stream = Capture("stdout", None, 128 + 10)
    stream.feed(b"[1]\n" + b"\n" * 20)

    assert parse_output(stream, "json") is NOTHING


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"x" * 1000, "x" * 1000),
        (b"x" * 1001, "x" * 1000 + "..."),
        ("😀".encode() * 1000, "😀" * 1000),
        ("😀".encode() * 1001, "😀" * 1000 + "..."),
        ("ä".encode() * 50_000, "ä" * 1000 + "..."),
        (b"a\xffb\0c", "a\ufffdb\ufffdc"),
        ("ä".encode()[:1], "\ufffd"),
    ],
)
def test_preview(data: bytes, text: str) -> None:
    assert preview(captured(data)) == text


@pytest.mark.parametrize(
    ("stderr", "text"),
    [
        (b"", "Command exited with code 2"),
        (b"\n \n", "Command exited with code 2"),
        (b"one\n", "one\n"),
        (b"1\n2\n3\n4\n5\n", "1\n2\n3\n4\n5\n"),
        (b"1\n2\n3\n4\n5", "1\n2\n3\n4\n5"),
        (b"1\n2\n3\n4\n5\n6\n\n", "6"),
        (b"1\n2\n3\n4\n5\n  last  ", "  last  "),
        (b"\n" * 9, "Command exited with code 2"),
        (b"x" * 5000, "x" * 3997 + "..."),
        (b"1\n2\n3\n4\n5\n" + b"y" * 5000, "y" * 3997 + "..."),
    ],
)
def test_error_of_an_exit_code(stderr: bytes, text: str) -> None:
    assert error(ended(2, stderr=stderr)) == text


def test_error_of_a_large_stderr(tmp_path: Path) -> None:
    lines = captured(b"noise\n" * 50_000 + b"the reason\n", "stderr", tmp_path)
    one = captured(b"z" * 200_000, "stderr", tmp_path / "one")
    values = {"reason": None, "cpu_seconds": 0.0, "seconds": 1.0, "returncode": 1, "stdout": captured(b"")}

    assert error(Ended(stderr=lines, **values)) == "the reason"
    assert error(Ended(stderr=one, **values)) == "z" * 3997 + "..."


def test_error_of_a_truncated_stderr_is_not_the_notice() -> None:
    stream = Capture("stderr", None, 128 + 8)
    stream.feed(b"reason\n\n" + b"x" * 100)
    process = Ended(returncode=1, seconds=1, reason=None, cpu_seconds=0, stdout=captured(b""), stderr=stream)

    assert error(process) == "reason"


def test_errors_have_an_order() -> None:
    everything = {"wait_error": "No child processes", "stdin_error": "Broken pipe"}

    assert error(ended(3, stderr=b"e", reason="timeout", **everything), timeout_seconds=2.5) == (
        "Execution timed out after 2.5 seconds"
    )
    assert error(ended(3, stderr=b"e", **everything)) == "Process wait failed: No child processes"
    assert error(ended(3, stderr=b"e", stdin_error="Broken pipe")) == (
        "Failed to write parameters to stdin: Broken pipe"
    )
    assert error(ended(-9)) == "Command exited with code -1 (signal 9, SIGKILL)"
    assert error(ended(-9, stderr=b"e")) == "e"
    assert "error" not in result(ended(0, stderr=b"e", stdin_error="Broken pipe"))
    assert error(ended(0, stdin_error="Input/output error")) == (
        "Failed to write parameters to stdin: Input/output error"
    )


@pytest.mark.parametrize(
    ("stderr", "text"),
    [
        (b"Traceback (most recent call last):\n  ...\nValueError: a\n", "ValueError: a"),
        (b'  File "<action>", line 1\n    x y\nSyntaxError: invalid syntax\n', "SyntaxError: invalid syntax"),
        (b"a\nb\n", "a\nb\n"),
    ],
)
def test_error_of_inline_python(stderr: bytes, text: str) -> None:
    assert error(ended(1, stderr=stderr), inline_python=True) == text


@pytest.mark.parametrize(
    ("limits", "process", "name"),
    [
        ({"cpu_seconds": 2}, ended(-24), "cpu_seconds = 2 (Command exited with code -1 (signal 24, SIGXCPU))"),
        ({"cpu_seconds": 2}, ended(152), "cpu_seconds = 2 (Command exited with code 152)"),
        (
            {"cpu_seconds": 2},
            ended(-9, cpu_seconds=2.9),
            "cpu_seconds = 2 (Command exited with code -1 (signal 9, SIGKILL))",
        ),
        ({"memory_mb": 64}, ended(1, stderr=b"MemoryError\n"), "memory_mb = 64 (MemoryError)"),
        ({"open_files": 9}, ended(1, stderr=b"x: Too many open files\n"), "open_files = 9 (x: Too many open files)"),
        (
            {"processes": 5},
            ended(-9, limit_hit="processes"),
            "processes = 5 (Command exited with code -1 (signal 9, SIGKILL))",
        ),
    ],
)
def test_error_names_the_limit(limits: dict[str, int], process: Ended, name: str) -> None:
    assert error(process, limits=Limits(**limits)) == f"Limit reached: {name}"


def test_limit_is_not_blamed_for_other_errors() -> None:
    assert error(ended(1, stderr=b"MemoryError\n"), limits=Limits(open_files=9)) == "MemoryError\n"
    assert error(ended(-9, cpu_seconds=0.5), limits=Limits(cpu_seconds=2)).endswith("(signal 9, SIGKILL)")


def test_keys_of_a_failure_with_data() -> None:
    found = result(ended(1, stdout=b'{"success": false, "queue_ack": {"version": 1}}'))

    assert found == {
        "exit_code": 1,
        "succeeded": False,
        "duration_ms": 12,
        "error": "Command exited with code 1",
        "stdout": '{"success": false, "queue_ack": {"version": 1}}',
        "data": {"success": False, "queue_ack": {"version": 1}},
        "queue_ack": {"version": 1},
    }


def test_cancelled_has_no_data() -> None:
    found = result(ended(0, stdout=b"{}", reason="cancel"))

    assert found == {
        "exit_code": 0,
        "succeeded": False,
        "duration_ms": 12,
        "cancelled": True,
        "error": "Execution cancelled by user",
        "stdout": "{}",
    }
    assert as_cancelled(result(ended(0, stdout=b"{}"))) == found


def test_not_run_is_short_and_storable() -> None:
    assert not_run("a\0" + "x" * 5000) == {"succeeded": False, "error": "a\ufffd" + "x" * 3995 + "..."}
