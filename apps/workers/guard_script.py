"""
The guard: kill the runs of a worker that was killed, or stopped for longer than its lease.

``guard_script.py <descriptor of the table> <directory>``: standard input is a pipe that closes when the worker is
gone. The table (guard.py) says which process groups run and when the lease ends. Once the worker is gone and its
runs are killed, the directory with its private files is removed and the guard ends. Standard library only.
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
LONGEST_WAIT_SECONDS = 60.0
NO_LEASE_WAIT_SECONDS = 1.0  # nobody tells when the first lease is taken
ROUNDS = 50  # of killing, once the worker is gone


def runs_in(table: mmap.mmap) -> "list[tuple[int, int, frozenset[bytes]]]":
    """Return process group, start and marks of every run in the table."""
    found = []
    for start in range(RECORD_BYTES, len(table), RECORD_BYTES):
        pgid, ticks, length = RECORD.unpack_from(table, start)
        if pgid:
            marks = table[start + RECORD.size : start + RECORD.size + length]
            found.append((pgid, ticks, frozenset(marks.split(b"\0")) - {b""}))
    return found


def kill_all(table: mmap.mmap) -> int:
    """Kill every process of every run; return how many were found."""
    runs = runs_in(table)
    if not runs:
        return 0
    found = 0
    present = processes()
    started = {pid: ticks for pid, _state, _pgid, _session, ticks in present}
    for run_pgid, run_ticks, marks in runs:
        # A number is not given away while a group has it, so another leader means that the group is gone.
        has_group = started.get(run_pgid, run_ticks) <= run_ticks + SLACK_TICKS
        if has_group:
            kill(-run_pgid)  # all of it at once: it cannot fork away
        for pid, state, pgid, session, ticks in present:
            if state == "Z" or ticks < run_ticks - 1 or pid == os.getpid():
                continue
            in_group = has_group and run_pgid in (pgid, session)
            if in_group or (len(marks) > 1 and marks <= environment(pid)):
                found += 1
                kill(pid)
    return found


def processes() -> "list[tuple[int, str, int, int, int]]":
    """Return pid, state, process group, session and start of every process."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open("/proc/" + name + "/stat", "rb") as file:
                words = file.read().rpartition(b") ")[2].split()
        except OSError:
            continue
        found.append((int(name), words[0].decode(), int(words[2]), int(words[3]), int(words[19])))
    return found


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
    """Return how long the lease is still valid; the longest wait when there is none."""
    (deadline,) = HEADER.unpack_from(table, 0)
    if not deadline:
        return NO_LEASE_WAIT_SECONDS
    return float(deadline - time.clock_gettime(time.CLOCK_BOOTTIME))


def worker_is_gone(poller: "select.poll", wait_seconds: float) -> bool:
    return bool(poller.poll(wait_seconds * 1000))


def watch(table: mmap.mmap) -> None:
    """Wait until the worker is gone; meanwhile kill its runs whenever the lease is over."""
    poller = select.poll()
    poller.register(0, select.POLLIN)
    wait_seconds = 0.0
    while not worker_is_gone(poller, wait_seconds):
        left = lease_seconds_left(table)
        if left <= 0:
            kill_all(table)
        wait_seconds = min(left, LONGEST_WAIT_SECONDS) if left > 0 else 0.5


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    descriptor = int(sys.argv[1])
    table = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
    watch(table)
    for _round in range(ROUNDS):
        if not kill_all(table):
            break
        time.sleep(0.02)
    remove(sys.argv[2])


if __name__ == "__main__":
    main()
