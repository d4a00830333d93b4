"""
The buffer between what happens and the table: nothing that acts waits for the database.

One thread per process writes what has gathered, in batches. Nothing is lost while the process lives: a database that
is away is waited for, and a full buffer makes whoever adds wait. That is bounded, so that the product still answers in a
long outage: the wait of each one, the buffer by then growing slowly, and in the end its size. A stop flushes; what finds
no room, or cannot be written even then, goes to the server's log.
"""

import atexit
import contextlib
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from django.conf import settings
from django.db import close_old_connections, connection

from apps.core import ending
from apps.identity.audit import storing
from apps.identity.audit.entry import Entry

logger = logging.getLogger(__name__)

CAPACITY = 10_000
# Of whoever adds to a full buffer. All threads that answer requests may wait at once, and health is asked for meanwhile.
LONGEST_WAIT_SECONDS = 2.0
MOST_TIMES_CAPACITY = 10  # some 200 MB of events
# An event is readable a second after its request at the latest; batches want to be large.
COLLECT_SECONDS = 0.25
STOP_SECONDS = 5.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 5.0


class Trail:
    """Takes entries at once and writes them soon. ``background`` False: only a flush writes, in the calling thread."""

    def __init__(
        self,
        store: Callable[[Sequence[Entry]], None] = storing.store,
        *,
        capacity: int = CAPACITY,
        longest_wait_seconds: float = LONGEST_WAIT_SECONDS,
        background: bool = True,
    ) -> None:
        self._store = store
        self._capacity = capacity
        self._longest_wait_seconds = longest_wait_seconds
        self._background = background
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # for the writer
        self._written = threading.Condition(self._lock)  # for who waits for room, or for a flush
        self._entries: deque[Entry] = deque()
        self._thread: threading.Thread | None = None
        self._ending = False
        self._hurry = False
        self._count_added = 0
        self._count_written = 0

    def __len__(self) -> int:
        """How many entries are not written yet."""
        return len(self._entries)

    def add(self, entry: Entry, *, may_wait: bool = True) -> None:
        """
        Take an entry; waits a while for room in a full buffer.

        ``may_wait`` False is for whoever holds a lock that the writer may need.
        """
        with self._lock:
            if may_wait and self._background:
                self._written.wait_for(self._has_room, self._longest_wait_seconds)
            has_taken = len(self._entries) < MOST_TIMES_CAPACITY * self._capacity
            if has_taken:
                self._take(entry)
        if not has_taken:
            _log([entry], "There is no room for more audit events while the database is away; this one is not in it")

    def _take(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._count_added += 1
        if self._background and not self._ending and (self._thread is None or not self._thread.is_alive()):
            self._start()
        if len(self._entries) in (1, storing.MOST_ROWS):
            self._work.notify()

    def flush(self, timeout_seconds: float = STOP_SECONDS) -> bool:
        """Write everything that was added so far; return False when it did not succeed in time."""
        if not self._background:
            self._store(list(self._entries))
            self._entries.clear()
            return True
        with self._lock:
            wanted = self._count_added
            if self._count_written >= wanted:
                return True
            self._hurry = True
            self._work.notify()
            self._written.wait_for(lambda: self._count_written >= wanted or self._ending, timeout_seconds)
            return self._count_written >= wanted

    def close(self, timeout_seconds: float = STOP_SECONDS) -> bool:
        """Flush and end the thread; what cannot be written is logged. Returns whether all was written."""
        if not self._background:
            return True
        clean = self.flush(timeout_seconds)
        with self._lock:
            self._ending = True
            self._work.notify()
            self._written.notify_all()
            thread, left = self._thread, list(self._entries)
        if thread is not None and clean:
            thread.join(timeout_seconds)
        if not clean:
            _log(left, f"{len(left)} audit events could not be written before the end; they follow")
        return clean

    def forget(self) -> None:
        """Drop what is not written: for tests, whose rows are rolled back."""
        with self._lock:
            self._entries.clear()
            self._count_written = self._count_added

    def after_fork(self) -> None:
        """Begin anew in a child process: the thread, and what it was going to write, stayed with the parent."""
        self._begin_anew()

    def _has_room(self) -> bool:
        return len(self._entries) < self._capacity or self._ending

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    # --- In the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            if not self._write(batch):
                return
            with self._lock:
                for _entry in batch:
                    self._entries.popleft()
                self._count_written += len(batch)
                self._written.notify_all()
        connection.close()

    def _next_batch(self) -> list[Entry] | None:
        """Wait for entries, and a little for more of them; None at the end."""
        with self._lock:
            self._hurry &= bool(self._entries)
            self._work.wait_for(lambda: self._entries or self._ending)
            if not self._entries:
                return None
            self._work.wait_for(self._is_worth_writing, COLLECT_SECONDS)
            return list(islice(self._entries, storing.MOST_ROWS))

    def _is_worth_writing(self) -> bool:
        return len(self._entries) >= storing.MOST_ROWS or self._hurry or self._ending

    def _write(self, batch: Sequence[Entry]) -> bool:
        """Write the batch, as often as it takes; False when the end came first."""
        pause, failed_at = _FIRST_PAUSE_SECONDS, None
        while True:
            try:
                self._store(batch)
                close_old_connections()  # on PostgreSQL it goes back to the pool
            except Exception as error:  # whatever it is: the events stay, and the thread must not end
                with contextlib.suppress(Exception):
                    connection.close()
                if failed_at is None:
                    failed_at = time.monotonic()
                    logger.warning("Audit events cannot be written just now and are kept: %s", _first_line(error))
            else:
                if failed_at is not None:
                    logger.info("Audit events are written again, after %.0f s", time.monotonic() - failed_at)
                return True
            with self._lock:
                if ending.has_given_up():
                    self._ending = True
                    self._written.notify_all()
                if self._work.wait_for(lambda: self._ending, pause):
                    return False
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _log(entries: Sequence[Entry], why: str) -> None:
    logger.error(why)
    for entry in entries:
        logger.error("audit event %s", json.dumps({"created": entry.at.isoformat(), **entry.columns}, default=str))


trail = Trail(background=settings.AUDIT_IN_BACKGROUND)
os.register_at_fork(after_in_child=trail.after_fork)
atexit.register(trail.close)
