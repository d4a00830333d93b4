"""
The guard: kill the runs of a worker that was killed, or stopped for longer than its lease.

``guard_script.py <descriptor of the table> <directory>``: standard input is a pipe that closes when the worker is
gone. The table (guard.py) says which process groups run and when the lease ends. Once the worker is gone and its
runs are killed, the directory with its private files is removed and the guard ends. Standard library only.

A daemon that has left its session and emptied its environment bears no mark of its run, and once the worker is gone it
has no parent that would tell. So the guard notes the worker's adopted children while the worker is there.
"""

import mmap
import os
import select
import signal
import struct
import sys
import time

TYPE_CHECKING = False  # typing would be one more import
if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = struct.Struct("=d")
RECORD = struct.Struct("=qqH")
RECORD_BYTES = 1024
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SLACK_TICKS = 10 * TICKS_PER_SECOND  # between the note of a start and the start itself, on a busy machine
FOLLOW_SECONDS = 1.0  # how often the worker's adopted children are noted
NO_LEASE_WAIT_SECONDS = 1.0  # nobody tells when the first lease is taken
ROUNDS = 50  # of killing, once the worker is gone
ROUNDS_FOR_STARTS = 25  # of them at least, when something may just be starting
SENSOR = b"ATTUNE_SENSOR_ID="


def runs_in(table: mmap.mmap) -> "list[tuple[int, int, frozenset[bytes]]]":
    """Return process group, start and marks of every run in the table."""
    found = []
    for start in range(RECORD_BYTES, len(table), RECORD_BYTES):
        pgid, ticks, length = RECORD.unpack_from(table, start)
        if pgid:
            marks = table[start + RECORD.size : start + RECORD.size + length]
            found.append((pgid, ticks, frozenset(marks.split(b"\0")) - {b""}))
    return found


def kill_all(table: mmap.mmap, strays: "Strays") -> int:
    """Kill every process of every run; return how many were found."""
    runs = runs_in(table)
    if not runs:
        return 0
    found = 0
    present = processes()
    started = {pid: ticks for pid, _state, _parent, _pgid, _session, ticks in present}
    # A number is not given away while a group has it, so another leader means that the group is gone.
    groups = {pgid for pgid, ticks, _marks in runs if pgid > 0 and started.get(pgid, ticks) <= ticks + SLACK_TICKS}
    doomed = below(present, groups | strays.since(min(ticks for _pgid, ticks, _marks in runs), present))
    for run_pgid, run_ticks, marks in runs:
        if run_pgid in groups:
            kill(-run_pgid)  # all of it at once: it cannot fork away
        for pid, state, _parent, pgid, session, ticks in present:
            if state == "Z" or ticks < run_ticks - 1 or pid == os.getpid():
                continue
            in_group = run_pgid in groups and run_pgid in (pgid, session)
            if in_group or pid in doomed or (len(marks) > 1 and marks <= environment(pid)):
                found += 1
                kill(pid)
    return found


def below(present: "list[tuple[int, str, int, int, int, int]]", roots: "set[int]") -> "set[int]":
    """Return these processes with their descendants."""
    found, count = set(roots), -1
    while len(found) != count:
        count = len(found)
        found.update(pid for pid, _state, parent, _pgid, _session, _ticks in present if parent in found)
    return found


def processes() -> "list[tuple[int, str, int, int, int, int]]":
    """Return pid, state, parent, process group, session and start of every process."""
    found = []
    for name in os.listdir("/proc"):
        process = look(int(name)) if name.isdigit() else None
        if process:
            found.append(process)
    return found


def look(pid: int) -> "tuple[int, str, int, int, int, int] | None":
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            words = file.read().rpartition(b") ")[2].split()
    except OSError:
        return None
    return pid, words[0].decode(), int(words[1]), int(words[2]), int(words[3]), int(words[19])


class Strays:
    """The children of the worker's main thread: whatever lost its own parent becomes one (orphans.py)."""

    def __init__(self) -> None:
        worker = os.getppid()
        self._session = os.getsid(worker)
        self._started: dict[int, int] = {}
        self._list = -1
        try:
            self._list = os.open(f"/proc/{worker}/task/{worker}/children", os.O_RDONLY)
        except OSError:
            return  # this kernel lists no children

    def note(self) -> None:
        """Look who is there now."""
        try:
            pids = [int(word) for word in os.pread(self._list, 64 * 1024, 0).split()]
        except OSError:
            return
        known, self._started = self._started, {}
        for pid in pids:
            process = None if pid in known else look(pid)
            if pid in known:
                self._started[pid] = known[pid]
            elif process:
                self._started[pid] = process[-1]

    def since(self, ticks: int, present: "list[tuple[int, str, int, int, int, int]]") -> "set[int]":
        """Return those of them that began after that moment and are of nobody else."""
        return {
            pid
            for pid, _state, _parent, _pgid, session, began in present
            if self._started.get(pid) == began >= ticks and session != self._session and pid != os.getpid()
            if not any(entry.startswith(SENSOR) for entry in environment(pid))
        }


def environment(pid: int) -> "frozenset[bytes]":
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return frozenset(file.read().split(b"\0"))
    except OSError:
        return frozenset()


def kill(pid: int) -> None:
    """Kill a process, or with a negative number a process group."""
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return


def remove(directory: str) -> None:
    """Remove a directory with everything in it, as far as that is possible (``shutil`` would cost 2 MB here)."""
    for path, directories, files in os.walk(directory, topdown=False):
        for name in files:
            attempt(os.unlink, os.path.join(path, name))
        for name in directories:
            # A link to a directory is listed among the directories and is no directory itself.
            attempt(os.rmdir, os.path.join(path, name)) or attempt(os.unlink, os.path.join(path, name))
    attempt(os.rmdir, directory)


def attempt(act: "Callable[[str], None]", path: str) -> bool:
    try:
        act(path)
    except OSError:
        return False
    return True


def lease_seconds_left(table: mmap.mmap) -> float:
    """Return how long the lease is still valid; a short wait when there is none."""
    (deadline,) = HEADER.unpack_from(table, 0)
    if not deadline:
        return NO_LEASE_WAIT_SECONDS
    return float(deadline - time.clock_gettime(time.CLOCK_BOOTTIME))


def worker_is_gone(poller: "select.poll", wait_seconds: float) -> bool:
    return bool(poller.poll(wait_seconds * 1000))


def watch(table: mmap.mmap, strays: Strays) -> None:
    """Wait until the worker is gone; meanwhile kill its runs whenever the lease is over."""
    poller = select.poll()
    poller.register(0, select.POLLIN)
    wait_seconds = 0.0
    while not worker_is_gone(poller, wait_seconds):
        left = lease_seconds_left(table)
        strays.note()
        if left <= 0:
            kill_all(table, strays)
        wait_seconds = min(left, FOLLOW_SECONDS) if left > 0 else 0.5


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    descriptor = int(sys.argv[1])
    table = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    strays = Strays()
    watch(table, strays)
    # What was being started when the worker died shows its marks a moment later.
    at_least = ROUNDS_FOR_STARTS if any(pgid < 0 for pgid, _ticks, _marks in runs_in(table)) else 0
    for turn in range(ROUNDS):
        if not kill_all(table, strays) and turn >= at_least:
            break
        time.sleep(0.02)
    remove(sys.argv[2])


if __name__ == "__main__":
    main()
