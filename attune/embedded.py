"""A Celery worker in a thread of this process: the same bootsteps and tasks as ``celery -A attune worker``."""

import logging
import threading
import time
from typing import Any, Literal

from celery import Celery
from celery.worker import WorkController, state

from apps.workers.agent import current_agent
from apps.workers.bootstep import AgentStep
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

    def __init__(
        self,
        app: Celery,
        *,
        name: str | None = None,
        slots: int | None = None,
        role: Literal["action", "hybrid"] = "action",
    ) -> None:
        self._app = app
        self._name = name
        self._role = role
        self._slots = slots
        self._controller: WorkController | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether it takes work."""
        return self.alive and self._ready.is_set()

    def start(self) -> None:
        """Start it and return at once; it may have to wait for its name (``wait_ready``)."""
        state.should_stop = state.should_terminate = None
        self._thread.start()

    def wait_ready(self, timeout_seconds: float = 60) -> None:
        """Return once it takes work. Raises WorkerFailed when it ends before that, or takes too long."""
        self._ready.wait(timeout_seconds)
        if not self.ready:
            raise WorkerFailed

    def stop(self, *, grace_seconds: float | None = None, timeout_seconds: float | None = None) -> bool:
        """
        Let it take no new work, wait for what runs as long as the grace allows, stop the rest and end.

        Cancels still reach it while it waits. Returns False when it has not ended after the timeout.
        """
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._call_off_start()
        agent = current_agent()
        if agent is not None:
            agent.stop(grace_seconds)
        state.should_stop = 0  # type: ignore[assignment]  # the stubs only know its first value
        while self.alive and (deadline is None or time.monotonic() < deadline):
            # Celery's loop waits for messages once more after it has seen the wish to stop.
            broker.interrupt(self._app.connection_for_read())
            self._thread.join(_NUDGE_SECONDS)
        return not self.alive

    def hurry(self) -> None:
        """Let a stop wait no longer for what runs."""
        agent = current_agent()
        if agent is not None:
            agent.hurry()

    def _call_off_start(self) -> None:
        for step in getattr(self._controller, "steps", ()):
            if isinstance(step, AgentStep):
                step.call_off()

    def _run(self) -> None:
        try:
            self._controller = self._app.WorkController(
                hostname=f"{self._name or 'attune'}@embedded",
                name=self._name,
                role=self._role,
                pool="threads",
                concurrency=self._slots or self._app.conf.worker_concurrency,
                ready_callback=self._note_ready,
                **QUIET,
            )
            self._controller.start()
        except Exception:
            logger.exception("The worker ended with an error")
        finally:
            self._ready.set()  # nobody waits for a worker that has ended

    def _note_ready(self, _consumer: Any) -> None:
        self._ready.set()
