"""Deny by default for what does not go through Django: event streams and WebSockets (auth.md section 1)."""

import asyncio
from typing import Any

import pytest

from attune import asgi
from attune.asgi import application

PUBLIC: set[str] = set()  # exactly these open without a token
UPGRADES = ["/ws", "/", "/api/v1/executions", "/api/v1/executions/stream", "/health", "/nope"]


def first_word(kind: str, path: str) -> dict[str, Any]:
    """Open the path without a token; return what the server says first."""
    said: list[dict[str, Any]] = []
    opening = {"type": "websocket.connect"} if kind == "websocket" else {"type": "http.request", "body": b""}
    scope = {
        "type": kind, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [(b"host", b"localhost")],
        "method": "GET", "http_version": "1.1", "scheme": "http", "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        "subprotocols": [], "extensions": {"websocket.http.response": {}}, "state": {},
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return opening

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    async def talk() -> None:
        conversation = asyncio.create_task(application(scope, receive, send))
        while not said and not conversation.done():
            await asyncio.sleep(0.01)
        conversation.cancel()

    asyncio.run(asyncio.wait_for(talk(), 30))
    return said[0]


def open_streams() -> set[str]:
    """Return the streams that do anything but refuse, over HTTP or as a WebSocket."""
    return {path for path in asgi.STREAMS for kind in ("http", "websocket") if not refused(first_word(kind, path))}


def refused(message: dict[str, Any]) -> bool:
    return message["type"] == "websocket.close" or message.get("status") in (401, 404, 405, 426)


def test_no_stream_opens_without_a_token_unless_it_is_on_the_list():
    assert open_streams() == PUBLIC


@pytest.mark.parametrize("path", UPGRADES)
def test_no_other_path_becomes_a_socket(path):
    assert refused(first_word("websocket", path))


@pytest.mark.parametrize(
    "welcome", [{"type": "http.response.start", "status": 200, "headers": []}, {"type": "websocket.accept"}]
)
def test_stream_that_lets_everybody_in_is_found(monkeypatch, welcome):
    async def careless(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(welcome)

    monkeypatch.setitem(asgi.STREAMS, "/api/v1/careless/stream", careless)

    assert open_streams() == {"/api/v1/careless/stream"}
