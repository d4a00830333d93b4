"""
What a run leaves behind: processes that left its group, daemons, zombies.

The worker is a child subreaper: whatever loses its parent becomes a child of the worker's main thread. So once the
main process of a run has ended, everything that is left of the run hangs below that list of children.
"""

import ctypes
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass

from apps.workers.run_marks import SENSOR, RunMark

logger = logging.getLogger(__name__)

PR_SET_CHILD_SUBREAPER = 36
CLEANING_SECONDS = 5.0  # a process that survives SIGKILL this long hangs in the kernel
_RUN = b"ATTUNE_EXECUTION_ID="


@dataclass(frozen=True)
class _Process:
    """What /proc says about one process."""

    pid: int
    state: str
    parent: int
    pgid: int
    session: int
    started_ticks: int


# A process has one list of children, so what is known about them is common to all who look at it.
_starting = threading.Lock()
_protected: set[int] = set()
_runs: set[RunMark] = set()
_foreign: set[int] = set()  # children that are of no run, so that they are looked at once only


def starting() -> AbstractContextManager[object]:
    """
    Return what is held while a child is started, until it is protected.

    Only the main thread's own children stand in the list that is looked at, so other threads need no lock.
    """
    return _starting if threading.current_thread() is threading.main_thread() else nullcontext()


def protect(pid: int) -> None:
    """Leave this child alone: somebody waits for it."""
    _protected.add(pid)


def kill_strays(marks: Collection[bytes]) -> int:
    """
    Kill whatever has all of these entries in its environment; return how many processes that were.

    For what was left by a worker that was killed together with its guard; nothing with these marks may run now.
    """
    found = 0
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and _environment(int(name)).issuperset(marks):
            with suppress(ProcessLookupError):
                os.kill(int(name), signal.SIGKILL)
                found += 1
    return found


def unprotect(pid: int) -> None:
    """Whoever waited for this child has reaped it."""
    _protected.discard(pid)


class Orphans:
    """Kills and reaps what runs leave behind; never touches a process of another run or one it was told to protect."""

    def __init__(self) -> None:
        self._own_pid = os.getpid()
        self._own_session = os.getsid(0)
        self._children_fd = -1

    def start(self) -> None:
        """Make this process the one that orphans come to."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            logger.warning("Cannot become a child subreaper: %s", os.strerror(ctypes.get_errno()))
        try:
            self._children_fd = os.open(f"/proc/{self._own_pid}/task/{self._own_pid}/children", os.O_RDONLY)
        except OSError:
            logger.info("The kernel does not list children; the whole of /proc is read instead")

    def close(self) -> None:
        if self._children_fd >= 0:
            os.close(self._children_fd)
            self._children_fd = -1

    def begin(self, run: RunMark) -> None:
        """A run has been started; its main process is reaped by the run alone."""
        _protected.add(run.pgid)
        _runs.add(run)

    def end(self, run: RunMark) -> None:
        """Kill and reap what the run has left, but its main process, which must be a zombie by now."""
        _runs.discard(run)
        if self._strangers():
            with _starting:
                self._clean(run)

    def forget(self, run: RunMark) -> None:
        """The main process of the run has been reaped."""
        _protected.discard(run.pgid)

    def size(self, run: RunMark, enough: int) -> int:
        """Return how many processes the run has, counting no further than ``enough`` and a few."""
        waiting, seen = [run.pgid], 0
        waiting += [pid for pid in self._strangers() if (process := _look(pid)) and process.session == run.pgid]
        while waiting and seen <= enough:
            pid = waiting.pop()
            seen += 1
            waiting += _children_of(pid)
        return seen

    def _clean(self, run: RunMark) -> None:
        give_up_at = time.monotonic() + CLEANING_SECONDS
        while found := list(self._left_by(run)):
            for process in found:
                self._kill(process)
            for process in found:
                _reap(process, give_up_at)
            if time.monotonic() > give_up_at:
                pids = [process.pid for process in found]
                logger.error("Processes that a run left behind cannot be ended: %s", pids)
                return

    def _left_by(self, run: RunMark) -> Iterator[_Process]:
        for pid in self._strangers():
            process = _look(pid)
            if process and self._is_left_by(process, run):
                yield process

    def _is_left_by(self, process: _Process, run: RunMark) -> bool:
        if process.parent != self._own_pid:
            return False
        if process.session == self._own_session or self._is_older_than_all(process, run):
            _foreign.add(process.pid)
            return False
        if process.session == run.pgid:
            return True
        if any(process.session == other.pgid for other in _runs):
            return False
        environment = _environment(process.pid)
        if run.marks and environment.issuperset(run.marks):
            return True
        if any(other.marks and environment.issuperset(other.marks) for other in _runs):
            return False
        if any(entry.startswith(SENSOR) for entry in environment):
            _foreign.add(process.pid)  # of a sensor of another worker
            return False
        if any(entry.startswith(_RUN) for entry in environment):
            return True  # of a run that is over
        return self._can_only_be_from(process, run)

    def _is_older_than_all(self, process: _Process, run: RunMark) -> bool:
        return all(process.started_ticks < other.started_ticks for other in (run, *_runs))

    def _can_only_be_from(self, process: _Process, run: RunMark) -> bool:
        """
        Nothing names its run: it is killed at the end of the last run that was alive when it started.

        Sensors do not count: they are always alive, and what emptied its environment would never be killed.
        """
        if run.is_sensor or process.started_ticks < run.started_ticks:
            return False
        return not any(other.started_ticks <= process.started_ticks for other in _runs if not other.is_sensor)

    def _kill(self, process: _Process) -> None:
        """Kill it with its group, so that a program that keeps forking cannot run away from us."""
        if process.state == "Z":
            return
        try:
            if process.pgid not in _protected and process.pgid != os.getpgrp():
                os.killpg(process.pgid, signal.SIGKILL)
            os.kill(process.pid, signal.SIGKILL)
        except OSError as error:
            logger.warning("Cannot kill process %d: %s", process.pid, error.strerror)

    def _strangers(self) -> list[int]:
        children = self._children()
        if _foreign:
            _foreign.intersection_update(children)
        return [pid for pid in children if pid not in _protected and pid not in _foreign]

    def _children(self) -> list[int]:
        if self._children_fd < 0:
            return _children_by_scan(self._own_pid)
        return [int(word) for word in os.pread(self._children_fd, 64 * 1024, 0).split()]


def _reap(process: _Process, give_up_at: float) -> None:
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.poll(max(0.0, give_up_at - time.monotonic()) * 1000)
        os.waitpid(process.pid, os.WNOHANG)
    except ChildProcessError:
        return
    finally:
        os.close(pidfd)


def _look(pid: int) -> _Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name stands in brackets and may hold anything, brackets too.
    words = text[text.rindex(b")") + 2 :].split()
    return _Process(pid, words[0].decode(), int(words[1]), int(words[2]), int(words[3]), int(words[19]))


def _environment(pid: int) -> set[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return set(file.read().split(b"\0"))
    except OSError:
        return set()


def _children_of(pid: int) -> list[int]:
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        return found
    return found


def _children_by_scan(parent: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        process = _look(int(name)) if name.isdigit() else None
        if process and process.parent == parent:
            found.append(process.pid)
    return found
