"""
Keep answers back without a thread: those that wait for news or an end, and refusals that slow a flood down.

What a view wants held it says in a header (``apps/core/api/holding.py``). The wait is in the event loop; one thread of
each kind looks for what other processes did, for everybody who waits, and only while somebody does.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.db import DatabaseError, InterfaceError, close_old_connections

from apps.core.api.holding import HEADER, Hold
from apps.events import notices
from apps.executions.api import waiting as ends
from attune.server import Application, Receive, Scope, Send

logger = logging.getLogger(__name__)

MOST_WAITING = 1000  # of each kind at the same time; whoever comes then is answered at once
LOOK_SECONDS = 0.5
_HEADER = HEADER.lower().encode()


def may_be_held(scope: Scope) -> bool:
    """Return True for a request whose answer may say that it is to be held."""
    path: str = scope["path"]
    if scope["method"] == "POST":
        return path == "/api/v1/events"
    if path.startswith("/api/v1/executions/"):
        return b"wait=" in scope["query_string"]
    return path.startswith("/api/v1/sensors/") and path.endswith("/rules")


class Holding:
    """Wraps the application; use it for requests of which ``may_be_held`` is true."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._rules = Watch("rule_versions", notices.listen, _with_other_rules)
        self._ends = Watch("ended_executions", ends.listen, _that_have_ended)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        await self._application(scope, receive, answer)
        hold = answer.hold
        if hold is None:
            return
        watch = self._watch_for(hold)
        try:
            if watch is None:
                await asyncio.sleep(hold.seconds)
            elif not await _wait(watch, hold, receive):
                return
        except asyncio.CancelledError:  # the server stops: whoever waits gets the answer of the moment
            watch = None
        if watch is None:
            await answer.pass_on()
        else:
            again = _once_more(scope, answer.request_id)
            await self._application(again, _nothing_more(receive), _Answer(send, hold=False))

    def _watch_for(self, hold: Hold) -> "Watch | None":
        if hold.sensor_id is not None:
            return self._rules
        return self._ends if hold.execution_id is not None else None


async def _wait(watch: "Watch", hold: Hold, receive: Receive) -> bool:
    """Wait for what is waited for or the end of the time; return False when the client has left meanwhile."""
    come = asyncio.create_task(watch.wait(hold))
    left = asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait({come, left}, timeout=hold.seconds, return_when=asyncio.FIRST_COMPLETED)
        return not left.done()
    finally:
        come.cancel()
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


class Watch:
    """
    Tells waiters when what they wait for has come.

    ``come`` looks in the database which of the holds are over. ``listen`` has a function called when one may be: of
    the one execution that it names, or of any.
    """

    def __init__(
        self,
        name: str,
        listen: Callable[[Callable[..., None]], None],
        come: Callable[[set[Hold]], set[Hold]],
    ) -> None:
        self._name, self._listen, self._come = name, listen, come
        self._lock = threading.Condition()
        self._waiting: dict[asyncio.Event, tuple[asyncio.AbstractEventLoop, Hold]] = {}
        self._rung = False
        self._thread: threading.Thread | None = None

    async def wait(self, hold: Hold) -> None:
        """Return once it has come; at once when too many wait already."""
        event = asyncio.Event()
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                return
            self._waiting[event] = (asyncio.get_running_loop(), hold)
            self._start()
            self._rung = True  # it may have come since the answer was made
            self._lock.notify()
        try:
            await event.wait()
        finally:
            with self._lock:
                self._waiting.pop(event, None)

    def _start(self) -> None:
        if self._thread is None:
            self._listen(self._ring)
            self._thread = threading.Thread(target=self._look_on, name=self._name, daemon=True)
            self._thread.start()

    def _ring(self, execution_id: int | None = None) -> None:
        with self._lock:
            if execution_id is None or any(hold.execution_id == execution_id for _, hold in self._waiting.values()):
                self._rung = True
                self._lock.notify()

    def _look_on(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting)
                self._rung = False
                waiting = dict(self._waiting)
            try:
                self._tell(waiting, self._come({hold for _loop, hold in waiting.values()}))
            except (DatabaseError, InterfaceError) as error:
                logger.warning("%s could not be read: %s", self._name, error)
            finally:
                close_old_connections()
            with self._lock:
                self._lock.wait_for(lambda: self._rung, LOOK_SECONDS)

    def _tell(self, waiting: dict[asyncio.Event, tuple[asyncio.AbstractEventLoop, Hold]], come: set[Hold]) -> None:
        for event, (loop, hold) in waiting.items():
            if hold in come:
                with suppress(RuntimeError):  # the loop has ended, and who waited in it
                    loop.call_soon_threadsafe(event.set)


def _with_other_rules(holds: set[Hold]) -> set[Hold]:
    versions = notices.versions_of({hold.sensor_id for hold in holds if hold.sensor_id is not None})
    return {hold for hold in holds if versions.get(hold.sensor_id or 0) != hold.version}


def _that_have_ended(holds: set[Hold]) -> set[Hold]:
    unfinished = ends.unfinished_of({hold.execution_id for hold in holds if hold.execution_id is not None})
    return {hold for hold in holds if hold.execution_id not in unfinished}


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
