"""
Keep answers back without a thread: long polls that wait for news, and refusals that slow a flood down.

What a view wants held it says in a header (``apps/core/api/holding.py``). The wait is in the event loop; one thread
looks for changes that other processes made, for everybody who waits, and only while somebody does.
"""

import asyncio
import logging
import threading
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.db import DatabaseError, InterfaceError, close_old_connections

from apps.core.api.holding import HEADER, Hold
from apps.events import notices
from attune.server import Application, Receive, Scope, Send

logger = logging.getLogger(__name__)

MOST_WAITING = 1000  # long polls at the same time; whoever comes then is answered at once
LOOK_SECONDS = 0.5
_HEADER = HEADER.lower().encode()


def may_be_held(scope: Scope) -> bool:
    """Return True for a request whose answer may say that it is to be held."""
    path: str = scope["path"]
    if scope["method"] == "POST":
        return path == "/api/v1/events"
    return path.startswith("/api/v1/sensors/") and path.endswith("/rules")


class Holding:
    """Wraps the application; use it for requests of which ``may_be_held`` is true."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._watch = VersionWatch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        await self._application(scope, receive, answer)
        hold = answer.hold
        if hold is None:
            return
        if hold.sensor_id is None:
            await asyncio.sleep(hold.seconds)
            await answer.pass_on()
            return
        if await self._wait(hold, receive):
            again = _once_more(scope, answer.request_id)
            await self._application(again, _nothing_more(receive), _Answer(send, hold=False))

    async def _wait(self, hold: Hold, receive: Receive) -> bool:
        """Wait for the change or the end of the time; return False when the client has left meanwhile."""
        assert hold.sensor_id is not None
        changed = asyncio.create_task(self._watch.wait(hold.sensor_id, hold.version))
        left = asyncio.create_task(_disconnect(receive))
        try:
            await asyncio.wait({changed, left}, timeout=hold.seconds, return_when=asyncio.FIRST_COMPLETED)
            return not left.done()
        finally:
            changed.cancel()
            left.cancel()


class _Answer:
    """Passes an answer on, without our header; one that is to be held is kept."""

    def __init__(self, send: Send, *, hold: bool = True) -> None:
        self._send = send
        self._may_hold = hold
        self._kept: list[Any] = []
        self.hold: Hold | None = None

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            value = next((value for name, value in message["headers"] if name == _HEADER), None)
            if value is not None:
                others = [pair for pair in message["headers"] if pair[0] != _HEADER]
                message = {**message, "headers": others}
                self.hold = Hold.read(value.decode("latin-1")) if self._may_hold else None
        if self.hold is not None:
            self._kept.append(message)
        else:
            await self._send(message)

    @property
    def request_id(self) -> bytes | None:
        """The id that the answer carries."""
        headers = self._kept[0]["headers"] if self._kept else ()
        return next((value for name, value in headers if name == b"x-request-id"), None)

    async def pass_on(self) -> None:
        for message in self._kept:
            await self._send(message)


class VersionWatch:
    """Tells waiters when the rules of their sensor have another version than the one they know."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._waiting: dict[asyncio.Event, tuple[asyncio.AbstractEventLoop, int, int]] = {}
        self._rung = False
        self._thread: threading.Thread | None = None

    async def wait(self, sensor_id: int, version: int) -> None:
        """Return once the version is another; at once when too many wait already."""
        event = asyncio.Event()
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                return
            self._waiting[event] = (asyncio.get_running_loop(), sensor_id, version)
            self._start()
            self._lock.notify()
        try:
            await event.wait()
        finally:
            with self._lock:
                self._waiting.pop(event, None)

    def _start(self) -> None:
        if self._thread is None:
            notices.listen(self._ring)
            self._thread = threading.Thread(target=self._look_on, name="rule_versions", daemon=True)
            self._thread.start()

    def _ring(self) -> None:
        with self._lock:
            self._rung = True
            self._lock.notify()

    def _look_on(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting)
                self._rung = False
                waiting = dict(self._waiting)
            try:
                self._tell(waiting, notices.versions_of({sensor_id for _loop, sensor_id, _v in waiting.values()}))
            except (DatabaseError, InterfaceError) as error:
                logger.warning("Versions of rules could not be read: %s", error)
            finally:
                close_old_connections()
            with self._lock:
                self._lock.wait_for(lambda: self._rung, LOOK_SECONDS)

    def _tell(self, waiting: Any, versions: dict[int, int]) -> None:
        for event, (loop, sensor_id, version) in waiting.items():
            if versions.get(sensor_id) != version:
                with suppress(RuntimeError):  # the loop has ended, and who waited in it
                    loop.call_soon_threadsafe(event.set)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _once_more(scope: Scope, request_id: bytes | None) -> Scope:
    """Return the same request without the wait: under the id it has, and not a second one in the audit trail."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    query = urlencode([(name, value) for name, value in pairs if name != "wait"])
    headers = scope["headers"]
    if request_id is not None:
        headers = [
            *((name, value) for name, value in headers if name != b"x-request-id"),
            (b"x-request-id", request_id),
        ]
    return {**scope, "query_string": query.encode("latin-1"), "headers": headers, "attune.repeated": True}


def _nothing_more(receive: Receive) -> Receive:
    """Return the requests's body once more: it was empty, and has been read."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return again
