"""
Run all tests: everything on SQLite and the in-memory broker, then what touches database or broker again on private
PostgreSQL and Redis instances. Further arguments go to pytest.

``--need-both`` makes a half that could not run a failure (continuous integration).
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

BASE_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(BASE_DIR))

from tests.services import ServiceFailed, ServicesMissing, running_services  # noqa: E402  # needs the path above

NO_TESTS_COLLECTED = 5
REDIS_DATABASES = 16  # each worker has one
LEAST_WORKERS = 3  # the tests wait for processes about half of their time, so two cores have work for three


def main(arguments: Sequence[str]) -> int:
    need_both = "--need-both" in arguments
    arguments = [argument for argument in arguments if argument != "--need-both"]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    # Started in the background of a script SIGINT is ignored, and so it would be in every process that the tests
    # interrupt: a handler is reset to the default in a new program, "ignored" is passed on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="at-") as directory:  # short: sockets lie below it
            os.environ["TMPDIR"] = directory
            return _both_halves(arguments, need_both=need_both)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def _both_halves(arguments: Sequence[str], *, need_both: bool) -> int:
    failed = _half("SQLite and the in-memory broker", arguments, {})
    if failed:
        return failed  # the last line then is about what failed
    failed, missing = _second_half(arguments)
    if missing:
        _say_loudly(f"NOT RUN on PostgreSQL and Redis: {missing}.")
        return 1 if need_both else 0
    return failed


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _second_half(arguments: Sequence[str]) -> tuple[int, str]:
    """Return pytest's exit code, and why it did not run ("" when it did)."""
    try:
        with running_services() as environment:
            return _half("PostgreSQL and Redis", ["-m", "stack", *arguments], environment), ""
    except ServicesMissing as missing:
        return 0, str(missing)
    except ServiceFailed as failure:
        return 1, f"a server did not start:\n{failure}"


def _half(title: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    print(f"\n=== Tests on {title} ===", flush=True)
    inherited = {
        name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")
    }
    told = any(argument.startswith(("-n", "-p")) for argument in arguments)
    workers = (
        []
        if told
        else ["-n", str(min(max(LEAST_WORKERS, os.cpu_count() or 1), REDIS_DATABASES)), "--dist", "worksteal"]
    )
    pytest = subprocess.Popen(
        [sys.executable, "-m", "pytest", *workers, *arguments], cwd=BASE_DIR, env={**inherited, **environment}
    )
    try:
        code = pytest.wait()
    except KeyboardInterrupt:
        _end(pytest)
        raise
    return 0 if code == NO_TESTS_COLLECTED and environment else code


def _end(pytest: subprocess.Popen[bytes]) -> None:
    """Let pytest, which heard Ctrl-C as well, tidy up; then end it."""
    try:
        pytest.wait(15)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        pytest.terminate()
        pytest.wait()


def _say_loudly(text: str) -> None:
    line = "!" * 100
    print(f"\n{line}\n{text}\n{line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
