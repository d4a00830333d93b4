"""
Wait for the end of an execution inside a request, without using up the threads that answer requests.

The engine's news wakes a waiter at once when the execution ends in this process; otherwise it looks at the row now
and then.
"""

import threading
import time
from typing import Any

from django.db import connection

from apps.core import sql
from apps.executions.signals import execution_changed
from apps.executions.states import TERMINAL

# A part of the threads that answer requests; whoever comes when they are taken gets the answer of the moment.
MOST_WAITERS = 12
LONGEST_SECONDS = 60
_FIRST_LOOK_SECONDS = 0.2
_LOOK_SECONDS = 0.5

_places = threading.BoundedSemaphore(MOST_WAITERS)
_lock = threading.Lock()
_waiting: dict[int, set[threading.Event]] = {}


def wait_until_finished(execution_id: int, seconds: float) -> bool:
    """Return once the execution has ended, at the latest after ``seconds``; True when a wait took place."""
    if seconds <= 0 or not _places.acquire(blocking=False):
        return False
    event = threading.Event()
    with _lock:
        _waiting.setdefault(execution_id, set()).add(event)
    try:
        _wait(execution_id, event, time.monotonic() + seconds)
    finally:
        with _lock:
            _waiting[execution_id].discard(event)
            if not _waiting[execution_id]:
                del _waiting[execution_id]
        _places.release()
    return True


def _wait(execution_id: int, event: threading.Event, deadline: float) -> None:
    pause = _FIRST_LOOK_SECONDS
    while not _has_finished(execution_id):
        left = deadline - time.monotonic()
        if left <= 0 or event.wait(min(pause, left)):
            return
        pause = _LOOK_SECONDS


def _has_finished(execution_id: int) -> bool:
    found = sql.fetch("SELECT status FROM execution WHERE id = %s", [execution_id])
    if connection.vendor == "postgresql" and not connection.in_atomic_block:
        connection.close()  # back to the pool: a request that waits holds none
    return not found or found[0][0] in TERMINAL


def wake_waiters(*, execution_id: int, status: str, **_signal: Any) -> None:
    """Wake those who wait for an execution that has ended."""
    if status in TERMINAL:
        with _lock:
            for event in _waiting.get(execution_id, ()):
                event.set()


# Only a process that answers requests imports this, and only there anybody waits.
execution_changed.connect(wake_waiters, dispatch_uid="executions.wake_waiters")
