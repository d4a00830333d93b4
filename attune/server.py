"""The HTTP server of ``manage.py up``: a bound socket first, the product behind it once it is ready."""

import asyncio
import errno
import json
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from settings.env import CannotStart

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# How long answers under way may take when the product stops.
ANSWER_GRACE_SECONDS = 2
# How long a new connection may take to ask for something. Each one costs a descriptor, and programs need some too.
REQUEST_SECONDS = 20.0
_TICK_SECONDS = 1.0


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there. Raises CannotStart, in words, when it cannot."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise CannotStart(f"ATTUNE_HOST {host!r} is not an address of this machine ({error.strerror}).") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise CannotStart(_why_not(host, port, error)) from None
    return listener


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is taken by another program. Stop that one, or name another port in ATTUNE_PORT."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} may not be used by this user. Name one from 1024 up in ATTUNE_PORT."
    return f"Cannot listen on {host} port {port} ({error.strerror}). Check ATTUNE_HOST and ATTUNE_PORT."


class Doorkeeper:
    """An ASGI application that says "starting" until it is given the real one."""

    def __init__(self) -> None:
        self.application: Application | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.application is not None:
            await self.application(scope, receive, send)
        elif scope["type"] == "http":
            await _answer_while_starting(scope["path"], send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "starting"})


async def _answer_while_starting(path: str, send: Send) -> None:
    status, body = _while_starting(path)
    content = b"" if body is None else json.dumps(body).encode()
    headers = [(b"content-length", str(len(content)).encode())]
    if body is not None:
        headers.append((b"content-type", b"application/json"))
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _while_starting(path: str) -> tuple[int, dict[str, Any] | None]:
    """Return status and JSON body (None: empty) of an answer before anything is there to give a real one."""
    match path:
        case "/health":
            return 200, {"status": "ok"}
        case "/health/live" | "/healthz":
            return 200, None
        case "/health/ready" | "/ready":
            return 503, None
        case "/health/detailed":
            return 503, {"status": "error", "database": "disconnected", "error": "Attune is starting"}
        case _:
            return 503, {"error": "Attune is starting", "code": "SERVICE_UNAVAILABLE", "status": 503}


class _Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, which waits for the next request on a connection but not for the first for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.loop.call_later(REQUEST_SECONDS, self._close_unused)

    def _close_unused(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # of the first request; none yet, whatever uvicorn declares
        still_http = self.transport.get_protocol() is self
        if not cycle and still_http and not self.transport.is_closing():
            self.transport.close()


class _Server(uvicorn.Server):
    """Uvicorn that sleeps until asked to stop, instead of looking ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._wish = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        counter = 0
        while not await self.on_tick(counter):  # the date of the answers moves with it
            counter += 10
            try:
                await asyncio.wait_for(self._wish.wait(), _TICK_SECONDS)
            except TimeoutError:
                continue

    def ask_to_stop(self) -> None:
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wish.set)


class HttpServer:
    """Serve an ASGI application on a listening socket, in a thread of this process."""

    def __init__(self, listener: socket.socket, application: Application) -> None:
        self._listener = listener
        self._server = _Server(
            uvicorn.Config(
                application,
                http=_Protocol,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # whose forwarding headers count is ours to say (ATTUNE_TRUSTED_PROXIES)
                lifespan="off",
                timeout_graceful_shutdown=ANSWER_GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no new connections, finish the answers under way (for a short grace), and return."""
        self._server.ask_to_stop()
        self._thread.join(ANSWER_GRACE_SECONDS + 1)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except Exception:
            logger.exception("The HTTP server ended with an error")
