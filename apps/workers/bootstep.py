"""
The worker's part in a Celery worker: register before anything is consumed, stop in good order.

The step stands in ``app.steps["worker"]``. In a ``celery worker`` process it also answers SIGTERM, SIGINT and SIGQUIT: the
consumer goes on listening for cancels while what runs may finish, and only then does Celery shut down.
"""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Any

from celery import bootsteps
from celery.worker import state
from django.conf import settings
from kombu import Queue

from apps.core import ending
from apps.identity.audit import trail
from apps.workers import remote_control  # noqa: F401  # its remote-control command must be known
from apps.workers.agent import NameTaken, WorkerAgent
from apps.workers.models import WorkerRole
from apps.workers.queue_names import queue_of

logger = logging.getLogger(__name__)

_LAST_RESORT_SECONDS = 15.0  # after the agent has stopped: Celery closes the broker and joins its threads in 1 or 2


class AgentStep(bootsteps.StartStopStep):
    """Runs the agent of this process's worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, name: str | None = None, role: str = WorkerRole.ACTION, **options: Any) -> None:
        super().__init__(parent, **options)
        _refuse_other_pools(parent)
        self._name = name or settings.WORKER_NAME
        self._role = role
        self._exit_code = 0
        self._signals = 0
        self._called_off = threading.Event()
        self._agent: WorkerAgent | None = None
        # Two workers on one host must not share a mailbox for remote control.
        parent.hostname = f"{self._name}@{str(parent.hostname).rpartition('@')[2]}"

    def start(self, parent: Any) -> None:
        """Take the worker's name, then have its queue consumed."""
        from apps.workers.jobs import RunnerServices  # only a process that runs programs needs the runner

        self._agent = WorkerAgent(
            services=RunnerServices(time_zone=settings.TZ_OF_THIS_HOST),
            name=self._name,
            slots=parent.concurrency,
            role=self._role,
            on_lost_name=self._end,
        )
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, self._on_signal)
        try:
            self._agent.start(called_off=self._called_off.is_set)
        except NameTaken as error:
            logger.info("%s", error)
            raise SystemExit(0) from None
        _consume(parent, queue_of(self._agent.worker_id))

    def stop(self, parent: Any) -> None:
        if self._agent is not None:
            self._agent.stop()

    def terminate(self, parent: Any) -> None:
        if self._agent is not None:
            self._agent.stop(0)

    def call_off(self) -> None:
        """End a start that still waits for the worker's name. Elsewhere it has no effect."""
        self._called_off.set()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Begin to stop; the second signal, and SIGQUIT at once, skip the wait for what runs."""
        self._signals += 1
        self._called_off.set()
        if self._signals == 1:
            threading.Thread(target=self._stop_in_order, name="agent_stop", daemon=True).start()
        if (self._signals > 1 or number == signal.SIGQUIT) and self._agent is not None:
            self._agent.hurry()

    def _end(self) -> None:
        """The name is lost: end this process, and let whoever started it know."""
        self._exit_code = 1
        threading.Thread(target=self._stop_in_order, name="agent_stop", daemon=True).start()

    def _stop_in_order(self) -> None:
        """Stop the agent, and only then Celery's own loops."""
        logger.info("Worker %r stops: no new work, what runs may finish", self._name)
        ending.begin()
        try:
            if self._agent is not None:
                self._agent.stop()
            trail.flush()
        finally:
            state.should_stop = self._exit_code  # type: ignore[assignment]  # the stubs know only its first value
        if threading.Event().wait(_LAST_RESORT_SECONDS):
            return
        logger.error("Worker %r: Celery does not come to an end; leaving without it", self._name)
        os._exit(self._exit_code or 1)


def _consume(parent: Any, queue: str) -> None:
    """
    Consume this queue, and what ``-Q`` named or the default queue; also after a reconnect.

    Named one by one: whatever this process publishes to becomes known to Celery too, and would be consumed.
    """
    queues = parent.app.amqp.queues
    known = queues._consume_from
    others = list(known) if known is not None else [parent.app.conf.task_default_queue]
    queues.add(Queue(queue, routing_key=queue))
    queues.select([*others, queue])


def _refuse_other_pools(parent: Any) -> None:
    pool = parent.pool_cls.__module__
    if pool != "celery.concurrency.thread":
        raise SystemExit(
            f"attune: a worker runs in Celery's thread pool, not in {pool.rpartition('.')[2]}: a slot waits for a child "
            "process, and one process holds the lease of all. Leave out --pool, or give --pool threads."
        )
