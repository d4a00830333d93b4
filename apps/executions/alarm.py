"""
Wake this process when a delayed execution becomes due before the next sweep would look.

The row is the truth; this only keeps a retry in one second from waiting for a sweep in five.
"""

import heapq
import logging
import threading
import time
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from apps.core import clock

logger = logging.getLogger(__name__)

_IDLE_SECONDS = 30.0  # the thread ends when nothing was due for so long


class Alarm:
    """One thread, started when it is needed, that puts due executions in line at the moments it was told."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._moments: list[float] = []
        self._thread: threading.Thread | None = None

    def set(self, seconds: float) -> None:
        """Go off in that many seconds."""
        with self._changed:
            heapq.heappush(self._moments, time.monotonic() + seconds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="alarm", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        try:
            while self._wait():
                self._go_off()
        finally:
            connection.close()

    def _wait(self) -> bool:
        """Return True when a moment has come, False when the thread is to end."""
        with self._changed:
            while True:
                left = self._moments[0] - time.monotonic() if self._moments else _IDLE_SECONDS
                if left <= 0:
                    now = time.monotonic()
                    while self._moments and self._moments[0] <= now:
                        heapq.heappop(self._moments)
                    return True
                if not self._changed.wait(left) and not self._moments:
                    self._thread = None
                    return False

    def _go_off(self) -> None:
        from apps.executions.dispatch import dispatch_waiting  # it knows requests, which set this alarm
        from apps.executions.sweep import put_in_line

        try:
            put_in_line()
            dispatch_waiting()
        except DatabaseError:
            logger.warning("What is due could not be put in line; the next sweep does it", exc_info=True)
        finally:
            if connection.vendor == "postgresql":
                connection.close()


_alarm = Alarm()
_told: datetime | None = None  # the last moment that ``wake_at`` was given


def wake_at(moment: datetime) -> None:
    """See to what waits at that moment (a policy's rate frees a slot then), unless a sweep comes first anyway."""
    global _told
    seconds = (moment - clock.now()).total_seconds()
    if seconds <= settings.SWEEP_SECONDS and moment != _told:
        _told = moment
        _alarm.set(max(0.0, seconds) + 0.005)


def alarm_on_commit(seconds: float) -> None:
    """Once the transaction commits, see to what is due in that many seconds, unless a sweep comes first anyway."""
    if seconds <= settings.SWEEP_SECONDS:
        # A little later than due: the database's clock and this one's rounding must both have passed it.
        transaction.on_commit(partial(_alarm.set, max(0.0, seconds) + 0.005), robust=True)
