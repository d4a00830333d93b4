"""The loop that finds what got lost and what has become due. Any number of them may run."""

import logging
import threading
import time

from django.conf import settings
from django.db import close_old_connections, connection

from apps.core import rounds
from apps.core.rounds import Round
from apps.executions import sweep
from apps.rules.sweep import decide_undecided
from attune.housekeeping import Housekeeping
from attune.timer_clock import TimerClock

logger = logging.getLogger(__name__)

# However much is due: the database gets a breath between two rounds.
_SHORTEST_WAIT_SECONDS = 0.05
_PATIENCE_SECONDS = 5.0  # for a firing under way, at the end


class Scheduler:
    """Turn the sweep and what the apps registered (``core/rounds.py``), each in its time."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._housekeeping = Housekeeping()
        self._due_at: dict[str, float] = {}  # by part, on the monotonic clock
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
        """Do what is due; return the seconds until the next turn. A fault is logged and the next turn tries again."""
        waits = [self._do(part) for part in self._parts() if not self._stop.is_set()]
        self._housekeeping.turn()
        close_old_connections()  # on PostgreSQL the wait holds none
        return max(_SHORTEST_WAIT_SECONDS, min(waits, default=0.0))

    def _parts(self) -> list[Round]:
        return [_SWEEP, *rounds.registered()]

    def _do(self, part: Round) -> float:
        """Do a part when it is due; return the seconds until it is again."""
        every = part.every_seconds or settings.SWEEP_SECONDS
        try:
            close_old_connections()
            if time.monotonic() >= self._due_at.get(part.name, 0.0):
                self._due_at[part.name] = time.monotonic() + every
                part.work()
            seconds = part.next_due() if part.next_due is not None else None
        except Exception:
            logger.exception("A round of the scheduler failed (%s); the next one tries again", part.name)
            return every
        if seconds is not None:
            self._due_at[part.name] = min(self._due_at[part.name], time.monotonic() + seconds)
        return max(0.0, self._due_at[part.name] - time.monotonic())


def _sweep() -> None:
    sweep.sweep()
    decide_undecided()


_SWEEP = Round(name="sweep", work=_sweep, next_due=sweep.next_due)
