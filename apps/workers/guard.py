"""The worker's side of the guard: a process that kills the runs when the worker no longer can."""

import logging
import mmap
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

from apps.workers.orphans import protect, starting, unprotect
from apps.workers.run_marks import RunMark

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).parent / "guard_script.py"

# The table in shared memory: one header, then one record per run; guard_script.py reads the same.
HEADER = struct.Struct("=d")  # when the lease ends, seconds since boot; 0: there is none
RECORD = struct.Struct("=qqH")  # process group (0: free), start in ticks since boot, length of the marks
RECORD_BYTES = 1024
MAX_RUNS = 2048
MARKS_ONLY = -1  # in place of a process group


class Guard:
    """
    Keeps a table of the runs and the lease's end in memory that the guard process shares, and that process alive.

    Nothing is sent per run: the guard reads the table when the pipe to the worker closes, or when the lease is over.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[int, int] = {}
        self._free = list(range(MAX_RUNS, 0, -1))
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._directory = Path()
        self._table_fd = os.memfd_create("attune-guard")
        os.ftruncate(self._table_fd, (MAX_RUNS + 1) * RECORD_BYTES)
        self._table = mmap.mmap(self._table_fd, (MAX_RUNS + 1) * RECORD_BYTES)

    @property
    def pid(self) -> int | None:
        """The guard process; None when it does not run."""
        return self._process.pid if self._process else None

    def start(self, directory: Path) -> None:
        """Start the process; ``directory`` is removed when the worker is gone."""
        self._directory = directory
        inside, outside = os.pipe()
        with starting():
            self._process = subprocess.Popen(
                (sys.executable, "-I", "-S", os.fspath(SCRIPT), str(self._table_fd), os.fspath(directory)),
                stdin=inside,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._table_fd,),
                env={},
                cwd="/",
                start_new_session=True,
            )
            protect(self._process.pid)
        os.close(inside)
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pipe = outside

    def lease(self, deadline: float) -> None:
        """Tell when the lease ends (CLOCK_BOOTTIME, seconds); a guard that has died is replaced first."""
        HEADER.pack_into(self._table, 0, deadline)
        with self._lock:
            if self._process and self._process.poll() is not None:
                logger.error("The guard process has ended with %d; starting another", self._process.returncode)
                unprotect(self._process.pid)
                self.start(self._directory)

    def add(self, run: RunMark) -> None:
        """Have this run killed when the worker is gone."""
        slot = self._write(run, run.pgid)
        if slot:
            with self._lock:
                self._slots[run.pgid] = slot

    def expect(self, run: RunMark) -> int:
        """
        Have whatever bears these marks killed, whatever its group is: it may be started any moment now.

        Return the place in the table, for ``forget``.
        """
        return self._write(run, MARKS_ONLY)

    def forget(self, slot: int) -> None:
        """Nothing is left of what was expected."""
        with self._lock:
            self._release(slot)

    def _write(self, run: RunMark, pgid: int) -> int:
        """Write a record and return its place, 0 when there is none left."""
        marks = b"\0".join(run.marks)[: RECORD_BYTES - RECORD.size]
        with self._lock:
            if not self._free:
                logger.error("The guard watches %d runs already; another is not watched", MAX_RUNS)
                return 0
            slot = self._free.pop()
        start = slot * RECORD_BYTES
        self._table[start + RECORD.size : start + RECORD.size + len(marks)] = marks
        RECORD.pack_into(self._table, start, pgid, run.started_ticks, len(marks))
        return slot

    def _release(self, slot: int) -> None:
        if slot:
            RECORD.pack_into(self._table, slot * RECORD_BYTES, 0, 0, 0)
            self._free.append(slot)

    def remove(self, run: RunMark) -> None:
        """The run is over and nothing is left of it."""
        with self._lock:
            self._release(self._slots.pop(run.pgid, 0))

    def close(self) -> None:
        """End the guard; it kills what is still in the table."""
        if self._process:
            os.close(self._pipe)
            self._pipe = -1
            self._process.wait()
            unprotect(self._process.pid)
            self._process = None
        self._table.close()
        os.close(self._table_fd)
