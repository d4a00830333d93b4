"""
Build an environment on this machine's disk: ``<root>/<pack>/<label>`` is a link to the newest finished build.

A build is a folder named after the checksum of all it is made of; it counts once its mark is there. Programs get the
resolved folder, so a newer build never changes what they started with. Locks are file locks: processes share the disk.
"""

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from apps.workers.environments.plan import Plan
from apps.workers.process import CannotStart, Command, Ended

logger = logging.getLogger(__name__)

MARK = ".attune-environment.json"
KEPT_BUILDS = 2
FIRST_RETRY_SECONDS = 60.0
LAST_RETRY_SECONDS = 3600.0
LOG_LIMIT_BYTES = 10 * 1024 * 1024
LAST_LINES = 20
_LOOK_SECONDS = 0.1  # how often a held lock is tried again

# Runs a command with one log for both streams; stderr beside stdout is what people expect of a build log.
_BOTH_STREAMS = ("/bin/sh", "-c", 'exec "$0" "$@" 2>&1')
# Tools that would ask or look for news of themselves.
_QUIET_TOOLS = {"PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "npm_config_update_notifier": "false"}

Run = Callable[[Command], Ended]


class GivenUp(Exception):
    """The wait for somebody else's build was called off."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a build runs with."""

    run: Run
    variables: Mapping[str, str]
    timeout_seconds: float
    kill_grace_seconds: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build came to; ``error`` is empty when it succeeded, else its last lines."""

    directory: Path
    log: Path
    error: str = ""


def finished(plan: Plan, checksum: str) -> Path | None:
    """Return the folder of the finished build with this content, if it is usable."""
    directory = plan.build_dir(checksum)
    if not (directory / MARK).is_file():
        return None
    interpreter = plan.interpreter_in(directory)
    return directory if interpreter is None or os.access(interpreter, os.X_OK) else None


def current(plan: Plan) -> Path | None:
    """Return the folder programs run with just now: the newest build that succeeded, whatever its content."""
    try:
        directory = plan.link.resolve(strict=True)
    except OSError:
        return None
    return directory if directory.is_dir() else None


@contextmanager
def locked(plan: Plan, *, called_off: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Hold the environment's lock, waiting for whoever builds it. Raises GivenUp when called off meanwhile."""
    plan.builds.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(plan.builds / f"{plan.label}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        while not _try_lock(descriptor):
            if called_off():
                raise GivenUp
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def build(plan: Plan, checksum: str, tools: Tools) -> Built:
    """Make the environment and switch ``link`` to it. Call with the lock held. A build that fails is a result."""
    directory, log = plan.build_dir(checksum), log_of(plan)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    error = _prepare(plan, directory) or _run_steps(plan, directory, log, tools)
    if error:
        shutil.rmtree(directory, ignore_errors=True)
        _note_failure(plan, checksum)
        return Built(directory=directory, log=log, error=error)
    (directory / MARK).write_text(json.dumps({"checksum": checksum, "built_at": time.time()}))
    switch(plan, directory)
    _failure_of(plan).unlink(missing_ok=True)
    _drop_old_builds(plan, directory)
    return Built(directory=directory, log=log)


def log_of(plan: Plan) -> Path:
    """Return where the output of the newest build is kept."""
    return plan.builds / f"{plan.label}.log"


def switch(plan: Plan, directory: Path) -> None:
    """Point ``link`` to a finished build, in one step."""
    draft = plan.builds / f"{plan.label}.link.{os.getpid()}"
    draft.unlink(missing_ok=True)
    draft.symlink_to(os.path.relpath(directory, plan.link.parent))
    if plan.link.is_dir() and not plan.link.is_symlink():
        shutil.rmtree(plan.link)  # made by hand or by another product
    draft.replace(plan.link)
    os.utime(directory)  # the last two by time of use are kept


def _prepare(plan: Plan, directory: Path) -> str:
    """Copy the manifest and its lock files for tools that install beside them; return what went wrong."""
    if not plan.owns_manifest:
        return ""
    try:
        for file in plan.inputs:
            if file == plan.manifest:
                (directory / file.name).write_bytes(_with_absolute_files(file))
            elif file.is_file():
                shutil.copyfile(file, directory / file.name)
    except OSError as error:
        return f"Cannot copy {plan.manifest.name}: {error.strerror}"
    except ValueError:
        return f"{plan.manifest.name} is not JSON"
    return ""


def _with_absolute_files(manifest: Path) -> bytes:
    """Return a package.json whose ``file:`` packages are found from another folder too."""
    content = manifest.read_bytes()
    data = json.loads(content)
    changed = False
    for section in ("dependencies", "devDependencies", "optionalDependencies"):
        packages: Any = data.get(section) if isinstance(data, dict) else None
        for name, where in list(packages.items()) if isinstance(packages, dict) else ():
            if isinstance(where, str) and where.startswith("file:") and not where.startswith("file:/"):
                packages[name] = f"file:{(manifest.parent / where[len('file:') :]).resolve()}"
                changed = True
    return json.dumps(data, indent=2).encode() if changed else content


def _run_steps(plan: Plan, directory: Path, log: Path, tools: Tools) -> str:
    """Run the commands into one log; return the last lines of what went wrong, empty when nothing did."""
    ends_at = time.monotonic() + tools.timeout_seconds
    with log.open("wb") as whole:
        for argv in plan.commands(directory):
            whole.write(f"$ {' '.join(argv)}\n".encode())
            whole.flush()
            error = _run_step(plan, argv, whole, tools, ends_at - time.monotonic())
            if error:
                whole.write(f"{error}\n".encode())
                whole.flush()
                return _last_lines(log)
    return ""


def _run_step(plan: Plan, argv: tuple[str, ...], whole: IO[bytes], tools: Tools, seconds: float) -> str:
    output = plan.builds / f"{plan.label}.step"
    output.unlink(missing_ok=True)
    command = Command(
        argv=(*_BOTH_STREAMS, *argv),
        env={**_QUIET_TOOLS, **tools.variables},
        directory=str(plan.pack_dir),
        timeout_seconds=max(seconds, 0.001),
        kill_grace_seconds=tools.kill_grace_seconds,
        stdout_path=output,
        stdout_limit=LOG_LIMIT_BYTES,
    )
    try:
        ended = tools.run(command)
    except CannotStart as error:
        return str(error)
    finally:
        if output.is_file():
            with output.open("rb") as step:
                shutil.copyfileobj(step, whole)
            output.unlink()
        whole.flush()
    if ended.reason == "timeout":
        return f"The build took longer than {tools.timeout_seconds:g} seconds and was stopped"
    if ended.reason is not None:
        return "The build was stopped with its worker"
    return f"{argv[0]} ended with exit code {ended.returncode}" if ended.returncode else ""


def _last_lines(log: Path) -> str:
    lines = log.read_bytes()[-64 * 1024 :].decode(errors="replace").replace("\x00", "\ufffd").splitlines()
    return "\n".join(lines[-LAST_LINES:])


# --- Failures ----------------------------------------------------------------------------------------------------


def retry_at(plan: Plan, checksum: str) -> float:
    """Return when a build that failed may be tried again, in seconds since the epoch; 0 for one that did not."""
    try:
        failure = json.loads(_failure_of(plan).read_text())
        if failure["checksum"] != checksum:
            return 0.0
        pause = min(FIRST_RETRY_SECONDS * 2.0 ** (int(failure["attempts"]) - 1), LAST_RETRY_SECONDS)
        return float(failure["failed_at"]) + pause
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def forget_failures(plan: Plan) -> None:
    """Let the next build come at once."""
    _failure_of(plan).unlink(missing_ok=True)


def _note_failure(plan: Plan, checksum: str) -> None:
    file = _failure_of(plan)
    attempts = 1
    try:
        failure = json.loads(file.read_text())
        attempts += int(failure["attempts"]) if failure["checksum"] == checksum else 0
    except (OSError, ValueError, KeyError, TypeError):
        attempts = 1
    # A number that grows without end would overflow the pause.
    file.write_text(json.dumps({"checksum": checksum, "attempts": min(attempts, 16), "failed_at": time.time()}))


def _failure_of(plan: Plan) -> Path:
    return plan.builds / f"{plan.label}.failed"


# --- Old builds --------------------------------------------------------------------------------------------------


def _drop_old_builds(plan: Plan, newest: Path) -> None:
    """Remove what is older than the last two and used by no process, and what a killed build has left."""
    of_label = [path for path in plan.builds.glob(f"{plan.label}-*") if path.is_dir() and path != newest]
    mine = [path for path in of_label if len(path.name) == len(newest.name)]  # not those of "<label>-<version>"
    usable = [path for path in mine if (path / MARK).is_file()]
    usable.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for directory in mine:
        if directory not in usable[: KEPT_BUILDS - 1] and not in_use(directory):
            shutil.rmtree(directory, ignore_errors=True)


def in_use(directory: Path) -> bool:
    """Return True when a process of this machine runs from a folder: its program, arguments or environment name it."""
    needle = os.fsencode(directory)
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid() and _names(process, needle):
            return True
    return False


def _names(process: Path, needle: bytes) -> bool:
    for name in ("cmdline", "environ"):
        try:
            if needle in (process / name).read_bytes():
                return True
        except OSError:
            continue
    try:
        return needle in os.fsencode(os.readlink(process / "exe"))
    except OSError:
        return False
