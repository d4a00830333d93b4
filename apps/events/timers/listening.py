"""Hear from PostgreSQL that another process has armed or changed a timer."""

import logging
import threading
from typing import Any

import psycopg
from django.db import connection

from apps.events.timers.bell import CHANNEL, bell

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0  # while it is still connecting
_LOOK_SECONDS = 0.5  # how long it may take to hear that it is to stop


class Listener:
    """A thread with a connection of its own. Without it a scheduler looks once a second."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timer-listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it, and its connection."""
        self._stopping.set()
        self._thread.join(_PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (psycopg.Error, OSError) as error:
                logger.info("Nobody tells of changed timers for now (%s); they are found within a second", error)
                self._stopping.wait(_RETRY_SECONDS)

    def _listen(self) -> None:
        parameters: dict[str, Any] = connection.get_connection_params()
        with psycopg.connect(**parameters, autocommit=True) as private:
            private.execute(f"LISTEN {CHANNEL}")
            bell.ring()  # for what was said before
            while not self._stopping.is_set():
                for _notification in private.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                    bell.ring()
