"""
Let a shell beside the server ring it, when the broker ends in the server's own process.

With the in-memory broker a command such as ``manage.py attune_run`` can store an execution and tell nobody. It sends
an empty datagram to a socket in the state directory; the server hands over what waits and looks at what it runs. It
is a doorbell only: without it the next sweep finds the same.
"""

import contextlib
import logging
import os
import socket
import threading
from pathlib import Path

from django.conf import settings
from django.db import connection

logger = logging.getLogger(__name__)


def socket_path() -> Path:
    """Return where the server listens."""
    return Path(settings.STATE_DIR) / "doorbell"


_listens_here = False


def ring() -> None:
    """Ring the server of this state directory; nothing happens when none listens, or when it is this process."""
    if not _listens_here:
        _ring()


def _ring() -> None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bell:
        bell.sendto(b"", str(socket_path()))


class Doorbell:
    """The server's end: a thread that answers until it is closed."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="doorbell", daemon=True)

    def start(self) -> bool:
        """Listen; return False (and leave it to the sweep) when the path cannot be used."""
        path = socket_path()
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # of a server that was killed; the state directory's lock is ours
            self._socket.bind(str(path))
            os.chmod(path, 0o600)
        except OSError as error:
            logger.info("No doorbell at %s (%s); commands wait for the next sweep", path, error)
            self._socket.close()
            return False
        global _listens_here
        _listens_here = True
        self._thread.start()
        return True

    def close(self) -> None:
        """Stop listening."""
        if not self._thread.is_alive():
            return
        self._closed.set()
        _ring()
        self._thread.join(timeout=5)
        global _listens_here
        _listens_here = False
        self._socket.close()
        with contextlib.suppress(OSError):
            os.unlink(socket_path())

    def _listen(self) -> None:
        from apps.executions.receivers import look_after_runs  # both know dispatch, which rings
        from apps.executions.sweep import put_in_line

        while True:
            self._socket.recv(1)
            if self._closed.is_set():
                break
            try:
                put_in_line()
                look_after_runs()
            except Exception:
                logger.exception("The doorbell rang and could not be answered; the next sweep does it")
        connection.close()
