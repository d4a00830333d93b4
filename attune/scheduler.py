"""The loop that finds what got lost and what has become due. Any number of them may run."""

import logging
import threading
import time

from django.conf import settings
from django.db import close_old_connections, connection

from apps.executions import sweep
from apps.rules.sweep import decide_undecided
from attune.housekeeping import Housekeeping
from attune.timer_clock import TimerClock

logger = logging.getLogger(__name__)

# However much is due: the database gets a breath between two rounds.
_SHORTEST_WAIT_SECONDS = 0.05
_PATIENCE_SECONDS = 5.0  # for a firing under way, at the end


class Scheduler:
    """Turn the sweep every ATTUNE_SWEEP_SECONDS, and earlier when something becomes due earlier."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._housekeeping = Housekeeping()
        self._timers = TimerClock()
        self._thread = threading.Thread(target=self.run, name="scheduler", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for its end; False when the time was up first."""
        self._thread.join(timeout_seconds)
        return not self.alive

    def run(self) -> None:
        """Turn until asked to stop, in the calling thread; timers fire in one of their own."""
        self._timers.start()
        try:
            while not self._stop.wait(self.turn()):
                pass
        finally:
            self._timers.stop(_PATIENCE_SECONDS)
            connection.close()

    def turn(self) -> float:
        """Sweep once; return the seconds until the next turn. A fault is logged and the next turn tries again."""
        began = time.monotonic()
        due_seconds = None
        try:
            close_old_connections()
            sweep.sweep()
            decide_undecided()
            due_seconds = sweep.next_due()
            self._housekeeping.turn()
        except Exception:
            logger.exception("A round of the scheduler failed; the next one tries again")
        finally:
            close_old_connections()  # on PostgreSQL the wait holds none
        next_round = settings.SWEEP_SECONDS - (time.monotonic() - began)
        return max(_SHORTEST_WAIT_SECONDS, next_round if due_seconds is None else min(next_round, due_seconds))
