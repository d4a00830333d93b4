"""Which process holds a worker's name: what identifies it, and whether it is known to be gone."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


def this_process(*, guard_pid: int | None = None) -> dict[str, Any]:
    """Return what identifies this process on this boot of this machine, as JSON; ``guard_pid`` is its guard's."""
    return {
        "boot_id": _boot_id(),
        "pid_namespace": _pid_namespace(),
        "pid": os.getpid(),
        "start_time": start_time(os.getpid()),
        "guard_pid": guard_pid,
        "guard_start_time": start_time(guard_pid) if guard_pid else None,
    }


def is_gone(process: Mapping[str, Any] | None) -> bool:
    """
    Return True when a process described by ``this_process`` is known to be gone, and its guard too.

    Only a process that lives on the same boot and in the same process namespace can tell; of any other, and of one
    that nobody described, nothing is known. While the guard lives it may still be killing what the process ran.
    """
    if not process or process.get("boot_id") != _boot_id() or process.get("pid_namespace") != _pid_namespace():
        return False
    return not _lives(process.get("pid"), process.get("start_time")) and not _lives(
        process.get("guard_pid"), process.get("guard_start_time")
    )


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot, or None when it is gone or a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (OSError, ValueError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])


def _lives(pid: Any, started: Any) -> bool:
    return isinstance(pid, int) and started is not None and start_time(pid) == started


def _boot_id() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return ""
