"""
The product's pages, API and streams as an ASGI application.

Django answers from a fixed pool of threads that live as long as the process, so that each keeps its database
connection. What must not hold a thread (streams, sockets) gets a route of its own in ``STREAMS``, ahead of Django.
"""

from typing import Any, cast

from a2wsgi import WSGIMiddleware

from attune.server import Application, Receive, Scope, Send
from attune.wsgi import application as pages

# Answers in parallel. Ours take milliseconds; what may take long (a slow download, `wait`) must not use them all up, and
# each that is busy holds a database connection.
THREADS = 24

# Exact path -> native application.
STREAMS: dict[str, Application] = {}

# a2wsgi has types of its own for both interfaces, narrower than Django's and uvicorn's.
_django = cast(Application, WSGIMiddleware(cast(Any, pages), workers=THREADS))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "http" | "websocket" if scope["path"] in STREAMS:
            await STREAMS[scope["path"]](scope, receive, send)
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4404})
        case _:
            await _django(scope, receive, send)
