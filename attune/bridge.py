"""
Serve a WSGI application (Django) behind ASGI, from a fixed pool of threads that live as long as the process.

Each thread keeps its database connection, and a streamed answer stays in the thread it began in. One hop into the pool
and one back per request: the library that did this before crossed threads for every piece of an answer, which cost
more than most of ours take (docs/decisions/bridge.md).
"""

import asyncio
import io
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from attune.server import Receive, Scope, Send

logger = logging.getLogger(__name__)

Headers = list[tuple[str, str]]
Environ = dict[str, Any]
WSGIApplication = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# Of a request's body: read before a thread is taken. The rest of a larger one is pulled as the application reads it.
READ_AHEAD_BYTES = 128 * 1024
# Told to the application as the length of a body in chunks that has not come whole.
UNKNOWN_LENGTH = 2**62
# A client that sends or reads slowly keeps a thread: it is waited for so long, and longer the more has passed.
PATIENCE_SECONDS = 20.0
SLOWEST_BYTES_PER_SECOND = 16 * 1024


class Disconnected(OSError):
    """The client is gone, or too slow for a thread to wait for it."""


class _Patience:
    """Lets a thread wait for its client, but not for ever: a few such clients would keep all threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._seconds_left = PATIENCE_SECONDS

    def wait_for(self, step: Awaitable[Any]) -> Any:
        """Run a step of the exchange in the loop and return what it gives. Raises Disconnected."""
        began = time.monotonic()
        result: Future[Any] = asyncio.run_coroutine_threadsafe(step, self._loop)  # type: ignore[arg-type]  # a coroutine
        try:
            return result.result(max(0.0, self._seconds_left))
        except TimeoutError:
            result.cancel()
            raise Disconnected from None
        finally:
            self._seconds_left -= time.monotonic() - began

    def reward(self, byte_count: int) -> None:
        self._seconds_left = min(PATIENCE_SECONDS, self._seconds_left + byte_count / SLOWEST_BYTES_PER_SECOND)


class Bridge:
    """The ASGI side: ``threads`` answers at a time, the others queue."""

    def __init__(self, application: WSGIApplication, *, threads: int) -> None:
        self._application = application
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        body = await _Body.begin(receive, loop)
        exchange = _Exchange(self._application, _environ(scope, body), send, loop)
        work = loop.run_in_executor(self._pool, exchange.run)
        whole = await exchange.outcome_or_stream(work)
        if whole is not None:
            start, content = whole
            await send(start)
            await send({"type": "http.response.body", "body": content})
            return
        watch = asyncio.create_task(_note_disconnect(receive, body, exchange))
        try:
            await work
        except Disconnected:
            logger.info("The client left before it had the whole of %s", scope["path"])
        finally:
            watch.cancel()


async def _note_disconnect(receive: Receive, body: "_Body", exchange: "_Exchange") -> None:
    if not body.complete:
        return  # the application still reads; it will find out itself
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.gone.set()


class _Exchange:
    """One request in its thread."""

    def __init__(self, application: WSGIApplication, environ: Environ, send: Send, loop: Any) -> None:
        self._application, self._environ, self._send, self._loop = application, environ, send, loop
        self._patience = _Patience(loop)
        self._start: dict[str, Any] = {}
        self._streaming: asyncio.Future[None] = loop.create_future()
        self.gone = threading.Event()

    async def outcome_or_stream(self, work: Any) -> tuple[dict[str, Any], bytes] | None:
        """Return the whole answer, or None once it is known to be streamed."""
        await asyncio.wait({work, self._streaming}, return_when=asyncio.FIRST_COMPLETED)
        return work.result() if work.done() else None

    def run(self) -> tuple[dict[str, Any], bytes] | None:
        """Run the application; return its answer when it is a whole one, else stream it."""
        answer = self._application(self._environ, self._start_response)
        try:
            if not getattr(answer, "streaming", True):
                return self._start, b"".join(answer)
            self._stream(answer)
            return None
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()

    def _start_response(self, status: str, headers: Headers, _error: Any = None) -> Callable[[bytes], Any]:
        self._start = {
            "type": "http.response.start",
            "status": int(status.split(" ", 1)[0]),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }
        return self._write

    def _write(self, _data: bytes) -> None:
        raise NotImplementedError("Django does not use write()")

    def _stream(self, chunks: Iterable[bytes]) -> None:
        self._loop.call_soon_threadsafe(self._begin_stream)
        self._in_loop(self._start)
        for chunk in chunks:
            if self.gone.is_set():
                raise Disconnected
            if chunk:
                self._in_loop({"type": "http.response.body", "body": chunk, "more_body": True})
        self._in_loop({"type": "http.response.body", "body": b""})

    def _begin_stream(self) -> None:
        if not self._streaming.done():
            self._streaming.set_result(None)

    def _in_loop(self, message: dict[str, Any]) -> None:
        """Send from the loop's thread and wait until the client has taken it: that is what keeps memory flat."""
        self._patience.wait_for(self._send(message))
        self._patience.reward(len(message.get("body", b"")))


class _Body(io.RawIOBase):
    """The request's body as a file: what was read ahead, then what is pulled through the loop."""

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        self._receive = receive
        self._patience = _Patience(loop)
        self._buffer = bytearray()
        self._broken_off = False
        self.complete = False

    @classmethod
    async def begin(cls, receive: Receive, loop: asyncio.AbstractEventLoop) -> "_Body":
        body = cls(receive, loop)
        while not body.complete and len(body._buffer) < READ_AHEAD_BYTES:
            body._take(await receive())
        return body

    def _take(self, message: Any) -> None:
        if message["type"] == "http.disconnect":
            self.complete = self._broken_off = True
            return
        self._buffer += message.get("body", b"")
        self.complete = not message.get("more_body", False)

    @property
    def length(self) -> int:
        """How many bytes have come and are not read yet."""
        return len(self._buffer)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._buffer and not self.complete:
            self._take(self._patience.wait_for(self._receive()))
            self._patience.reward(len(self._buffer))
        if self._broken_off and not self._buffer:
            raise Disconnected  # what came is not the whole, and must not be taken for it
        taken = min(len(target), len(self._buffer))
        target[:taken] = self._buffer[:taken]
        del self._buffer[:taken]
        return taken


def _environ(scope: Scope, body: _Body) -> Environ:
    """Return the WSGI environment of a request (PEP 3333): texts are bytes read as Latin-1."""
    server = scope.get("server") or ("localhost", 80)
    client = scope.get("client") or ("", 0)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1] or ""),
        "REMOTE_ADDR": str(client[0]),
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": io.BufferedReader(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    environ.update(_header_variables(scope["headers"]))
    if scope.get("attune.repeated"):
        environ["attune.repeated"] = True  # asked before by the same client, and recorded then
    if "HTTP_TRANSFER_ENCODING" in environ:
        # Django reads as far as Content-Length says, and nothing without one; the body itself knows where it ends.
        environ["CONTENT_LENGTH"] = str(body.length if body.complete else UNKNOWN_LENGTH)
    return environ


def _header_variables(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name = raw_name.decode("latin-1").upper()
        if "_" in name:
            continue  # would be mistaken for the header with a dash
        value = raw_value.decode("latin-1")
        key = name.replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        found[key] = f"{found[key]}{'; ' if key == 'HTTP_COOKIE' else ', '}{value}" if key in found else value
    return iter(found.items())
