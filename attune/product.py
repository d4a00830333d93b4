"""The whole product in one process: what is started in which order, and how it ends."""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections

from apps.core import ending
from apps.events.sensors.supervisor import Supervisor
from apps.executions.doorbell import Doorbell
from apps.identity.audit import trail
from apps.identity.services import Administrator, ensure_administrator
from apps.packs.services import load_core_pack
from attune.celery import app as celery_app
from attune.embedded import EmbeddedWorker
from attune.opening import Door
from attune.preflight import broker_problem, check_database, check_encryption
from attune.scheduler import Scheduler
from attune.stopping import StopRequest

logger = logging.getLogger(__name__)

# After Ctrl-C somebody sits there and waits (execution.md section 5).
CTRL_C_GRACE_SECONDS = 3.0
# What a stop may take beyond its grace: the kill grace of the processes, then the database and the sockets.
_STOP_SLACK_SECONDS = 5.0
_LOOK_SECONDS = 5.0


class Stopped(Exception):
    """Somebody asked to stop before everything was up."""


class Product:
    """Start with ``start``, wait with ``wait``; afterwards ``stop`` ends everything, whatever was started."""

    def __init__(self, door: Door) -> None:
        self._stopping = StopRequest()
        self._door = door
        self._worker: EmbeddedWorker | None = None
        self._scheduler: Scheduler | None = None
        self._sensors: Supervisor | None = None
        self._doorbell: Doorbell | None = None
        self._signals = 0
        self._grace_seconds: float = settings.SHUTDOWN_GRACE_SECONDS

    def start(self, check: Callable[[], Any]) -> Administrator | None:
        """
        Bring everything up; return the administrator when this start made one.

        Raises CannotStart where something has to be changed first, and Stopped when a signal came meanwhile.
        """
        if not settings.PUBLIC_API_URL_IS_SET:
            settings.PUBLIC_API_URL = self._door.address
        for step in (check, check_database, migrate, check_encryption, load_core_pack):
            step()
            self._go_on()
        administrator = ensure_administrator()
        problem = broker_problem()
        if problem:
            logger.warning(problem)
        self._start_parts()
        return administrator

    def _start_parts(self) -> None:
        from attune.asgi import application  # builds Django's handler, which is not needed before

        self._worker = EmbeddedWorker(celery_app, role="hybrid")
        self._worker.start()
        self._scheduler = Scheduler()
        self._scheduler.start()
        if settings.CELERY_BROKER_URL.startswith("memory:"):
            self._doorbell = Doorbell()
            self._doorbell.start()
        self._door.let_through(application)
        self._sensors = Supervisor()  # last: what it starts calls the API
        self._sensors.start()

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise Stopped

    def wait(self) -> bool:
        """Wait until somebody asks to stop, or a part has ended by itself; return whether it was asked for."""
        while not self._stopping.wait(_LOOK_SECONDS):
            ended = [
                part
                for part in (self._door, self._worker, self._scheduler, self._sensors)
                if part is not None and not part.alive
            ]
            if ended:
                logger.error("A part of the product ended by itself: %s", type(ended[0]).__name__)
                return False
        return True

    @contextlib.contextmanager
    def signals_handled(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM ask to stop: the first kindly, the second at once, the third ends the process."""
        with self._stopping.by_signals(self._on_signal):
            yield

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 2:
            os._exit(1)
        if number == signal.SIGINT:
            self._grace_seconds = min(settings.SHUTDOWN_GRACE_SECONDS, CTRL_C_GRACE_SECONDS)
        self._stopping.set()
        if self._signals == 2 and self._worker is not None:
            self._worker.hurry()

    def stop(self) -> bool:
        """End what was started, sensors and worker first while the API still answers; return whether all of it ended."""
        clean = True
        ending.begin()
        if self._doorbell is not None:
            self._doorbell.close()
        if self._scheduler is not None:
            self._scheduler.ask_to_stop()
        if self._sensors is not None:
            clean &= self._sensors.stop()
        if self._worker is not None:
            clean &= self._worker.stop(grace_seconds=self._grace_seconds, timeout_seconds=self._patience_seconds())
        if self._scheduler is not None:
            clean &= self._scheduler.join(_STOP_SLACK_SECONDS)
        self._door.close()
        clean &= trail.flush()  # what was answered until now
        connections.close_all()
        return clean

    def _patience_seconds(self) -> float:
        return self._grace_seconds + 2 * settings.KILL_GRACE_SECONDS + _STOP_SLACK_SECONDS


def migrate() -> None:
    """Bring the tables up to date; several hosts that start at once do it one after the other."""
    with _alone_in_the_database():
        call_command("migrate", interactive=False, verbosity=0)


@contextlib.contextmanager
def _alone_in_the_database() -> Iterator[None]:
    if connection.vendor != "postgresql":  # the lock of the state directory does it
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('attune.migrate'))")
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtext('attune.migrate'))")
