"""Wake the scheduler of this process when a timer was armed or changed."""

import threading
from functools import partial

from django.db import connection, transaction

CHANNEL = "attune_timers"  # on which PostgreSQL tells the schedulers of other processes


class Bell:
    """Counts its rings, so that one between two looks is not missed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rings = 0

    @property
    def rings(self) -> int:
        return self._rings

    def ring(self) -> None:
        with self._changed:
            self._rings += 1
            self._changed.notify_all()

    def wait(self, seen: int, timeout_seconds: float) -> None:
        """Return when it has rung more often than was seen, or when the time is up."""
        with self._changed:
            self._changed.wait_for(partial(self._rang_since, seen), timeout_seconds)

    def _rang_since(self, seen: int) -> bool:
        return self._rings != seen


bell = Bell()


def ring_on_commit() -> None:
    """Once the transaction commits, have every scheduler look at the timers."""
    transaction.on_commit(bell.ring, robust=True)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")  # sent with the commit
