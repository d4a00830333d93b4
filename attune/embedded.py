"""A Celery worker in a thread of this process: the same bootsteps and tasks as ``celery -A attune worker``."""

import logging
import threading
import time
from typing import Any

from celery import Celery
from celery.worker import WorkController, state

from attune import broker
from attune.worker import QUIET

logger = logging.getLogger(__name__)

_NUDGE_SECONDS = 0.02


class WorkerFailed(Exception):
    """The worker in this process ended before it could take work; its log says why."""


class EmbeddedWorker:
    """
    Start a worker in this process and stop it again.

    Celery keeps the wish to stop in a module variable, so there is one at a time per process.
    """

    def __init__(self, app: Celery, *, name: str = "attune", slots: int | None = None) -> None:
        self._app = app
        self._name = name
        self._slots = slots
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self, timeout_seconds: float | None = 60) -> None:
        """Start it and return once it takes work. Raises WorkerFailed when it ends before that or takes too long."""
        state.should_stop = state.should_terminate = None
        self._thread.start()
        self._ready.wait(timeout_seconds)
        if not (self.alive and self._ready.is_set()):
            raise WorkerFailed

    def ask_to_stop(self) -> None:
        """Let it take no new work, wait for what runs as long as its grace allows, and end. Returns at once."""
        state.should_stop = 0

    def ask_to_stop_now(self) -> None:
        """The same without the grace."""
        state.should_terminate = 0

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for its end; False when the time was up first."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while self.alive and (deadline is None or time.monotonic() < deadline):
            # Celery's loop waits for messages once more after it has seen the wish to stop.
            broker.interrupt(self._app.connection_for_read())
            self._thread.join(_NUDGE_SECONDS)
        return not self.alive

    def _run(self) -> None:
        try:
            controller = self._app.WorkController(
                hostname=f"{self._name}@embedded",
                pool="threads",
                concurrency=self._slots or self._app.conf.worker_concurrency,
                ready_callback=self._note_ready,
                **QUIET,
            )
            self._controller: WorkController = controller
            controller.start()
        except Exception:
            logger.exception("The worker ended with an error")
        finally:
            self._ready.set()  # nobody waits for a worker that has ended

    def _note_ready(self, _consumer: Any) -> None:
        self._ready.set()
