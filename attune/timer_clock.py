"""The thread that fires timers: it sleeps until the next one is due, or until a timer changes."""

import logging
import threading

from django.db import DatabaseError, close_old_connections, connection

from apps.events import timers
from apps.events.timers.listening import Listener

logger = logging.getLogger(__name__)

# So late at the worst is a timer that another process armed without our hearing of it, or after the clock was put.
_LONGEST_SLEEP_SECONDS = 1.0
# While others have in hand what is due, or it cannot be fired, or the database's clock is a little behind what we take
# it for: longer each time, up to the longest sleep.
_SHORTEST_RETRY_SECONDS = 0.005


class TimerClock:
    """Any number of them may run, in any number of processes."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._retry_seconds = _SHORTEST_RETRY_SECONDS
        self._listener: Listener | None = None
        self._thread = threading.Thread(target=self._run, name="timers", daemon=True)

    def start(self) -> None:
        if connection.vendor == "postgresql":
            self._listener = Listener()
            self._listener.start()
        self._thread.start()

    def stop(self, timeout_seconds: float) -> bool:
        """End it; False when it was still firing after that time."""
        self._stopping.set()
        timers.bell.ring()
        if self._listener is not None:
            self._listener.stop()
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                seen = timers.bell.rings
                timers.bell.wait(seen, self.turn())
        finally:
            connection.close()

    def turn(self) -> float:
        """Fire what is due; return how many seconds to sleep when nothing changes."""
        try:
            fired = timers.fire_due()
            ahead = timers.pending()
        except DatabaseError:
            logger.warning("Timers could not be looked at; the next try is in a second", exc_info=True)
            return _LONGEST_SLEEP_SECONDS
        except Exception:
            logger.exception("A round of the timers failed; the next try is in a second")
            return _LONGEST_SLEEP_SECONDS
        finally:
            close_old_connections()  # on PostgreSQL the sleep holds none
        waits = [_LONGEST_SLEEP_SECONDS]
        if ahead.next_seconds is not None:
            waits.append(ahead.next_seconds)
        if ahead.overdue:
            waits.append(self._retry_seconds)
            self._retry_seconds = min(2 * self._retry_seconds, _LONGEST_SLEEP_SECONDS)
        if fired or not ahead.overdue:
            self._retry_seconds = _SHORTEST_RETRY_SECONDS
        return min(waits)
