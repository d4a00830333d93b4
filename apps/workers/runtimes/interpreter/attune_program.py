"""
Run one Python action inside the interpreter that it asks for (execution.md section 8).

Used in a fresh interpreter (``main``) and in a fork of the template. Standard library only, Python 3.8 or later;
imports as little as possible, since every run pays for it.
"""

from __future__ import annotations

import builtins
import io
import json
import keyword
import os
import sys

TYPE_CHECKING = False  # typing would be one more import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

ACTION = "<action>"  # the file name of inline code in tracebacks


class NotJson(Exception):
    """What ``run`` returned cannot be printed; the message is the type's name."""


class _Output(io.FileIO):
    """Standard output that knows whether the last line was ended."""

    last = b"\n"

    def write(self, data: Any) -> int:
        if len(data):
            self.last = bytes(data[-1:])
        return super().write(data)


def main(path: str) -> None:
    """Run the job that the private file ``path`` describes; the file is gone before its code runs."""
    with open(path, "rb") as file:
        job = json.loads(file.read())
    os.unlink(path)
    run(job)


def run(job: dict) -> None:
    """Run a job of kind ``inline`` or ``function``. Returns, or raises SystemExit as the program did."""
    output = _watch_output()
    module = type(sys)("__main__")
    namespace = module.__dict__
    namespace.update({"__builtins__": builtins, "__annotations__": {}})
    sys.modules["__main__"] = module
    try:
        function = _inline(job, namespace) if job["kind"] == "inline" else _function(job)
        value = _call(function, job) if function is not None else None
        if value is not None:
            _print_last_line(_as_json(value), output)
    except SystemExit:
        raise
    except NotJson as error:
        sys.stderr.write(f"run() returned a value that is not JSON: {error}\n")
        sys.exit(1)
    except BaseException as error:
        _print_traceback(error, job)
        sys.exit(1)


def _inline(job: dict, namespace: dict) -> Callable | None:
    """Run the code from top to bottom and return its ``run``, if it defines one."""
    parameters = job["parameters"]
    injected = {name: value for name, value in parameters.items() if _is_free_name(name)}
    namespace.update(injected)
    namespace["parameters"] = parameters
    exec(compile(job["code"], ACTION, "exec", 0, True), namespace)
    function = namespace.get("run")
    return function if callable(function) else None


def _is_free_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and not hasattr(builtins, name) and name[:2] != "__"


def _function(job: dict) -> Callable:
    """Import the file and return the function of it that the entry point names."""
    import importlib.util

    path = job["path"]
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: Callable = getattr(module, job["function"])
    return function


def _call(function: Callable, job: dict) -> Any:
    ambient = frozenset(job["ambient"])
    wanted = _names_of(function) if ambient else None
    arguments = {
        name: value
        for name, value in job["parameters"].items()
        if name not in ambient or wanted is None or name in wanted
    }
    value = function(**arguments)
    if hasattr(value, "cr_code"):
        import asyncio

        value = asyncio.run(value)
    return value


def _names_of(function: Callable) -> frozenset | None:
    """Return the parameters that a function names, None when it takes any."""
    import inspect

    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters)


def _watch_output() -> _Output:
    """Put a stream that knows how its last line ended in the place of ``sys.stdout``."""
    present = sys.stdout
    present.flush()
    raw = _Output(1, "wb", closefd=False)
    buffered = isinstance(present.buffer, io.BufferedWriter)
    output = io.TextIOWrapper(
        io.BufferedWriter(raw) if buffered else raw,
        encoding=present.encoding,
        errors=present.errors,
        newline="\n",
        line_buffering=bool(present.line_buffering),
        write_through=not buffered,
    )
    output.mode = "w"  # type: ignore[misc]  # as the interpreter itself does
    sys.stdout = sys.__stdout__ = output  # type: ignore[misc]  # final to the checker only
    return raw


def _as_json(value: Any) -> str:
    def refuse(item: Any) -> Any:
        raise NotJson(type(item).__name__)

    try:
        return json.dumps(value, default=refuse, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise NotJson(type(value).__name__) from None


def _print_last_line(text: str, output: _Output) -> None:
    sys.stdout.flush()
    if sys.__stdout__ is not None and not sys.__stdout__.closed:
        sys.__stdout__.flush()
    start = "" if output.last == b"\n" else "\n"
    data = (start + text + "\n").encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(1, data) :]


def _print_traceback(error: BaseException, job: dict) -> None:
    """Print what Python itself prints, without the frames of this file and with the lines of inline code."""
    import linecache
    import traceback

    if job["kind"] == "inline":
        code = job["code"]
        linecache.cache[ACTION] = (len(code), None, code.splitlines(True), ACTION)
    sys.stdout.flush()
    trace = without_own_frames(error.__traceback__)
    if trace is None and not isinstance(error, SyntaxError):
        sys.stderr.write("Traceback (most recent call last):\n")  # the call itself failed
    traceback.print_exception(type(error), error, trace)
    sys.stderr.flush()


def without_own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the first frame that is neither of this file nor of the import system."""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name not in _OWN_FILES and not name.startswith("<frozen importlib"):
            return trace
        trace = trace.tb_next
    return None


_OWN_FILES = {_call.__code__.co_filename}
