"""
The product's pages, API and streams as an ASGI application.

Django answers from a fixed pool of threads (``attune/bridge.py``). What must not hold a thread (streams, sockets) gets
a route of its own in ``STREAMS``, ahead of Django; an answer that has to wait is held without one (``holding.py``).
"""

from attune.wsgi import application as pages  # sets Django up, ahead of what needs it

# isort: split
import asyncio
import logging

from django.db import DatabaseError, connection

from apps.core import ending
from apps.identity.audit import trail
from attune.bridge import Bridge
from attune.holding import Holding, may_be_held
from attune.preflight import check_encryption
from attune.server import Application, Receive, Scope, Send
from settings.env import CannotStart

logger = logging.getLogger(__name__)

# Answers in parallel. Ours take milliseconds; what may take long (a slow download, `wait`) must not use them all up,
# and each that is busy holds a database connection.
THREADS = 24

# Exact path -> native application.
STREAMS: dict[str, Application] = {}

_django = Bridge(pages, threads=THREADS)
_held = Holding(_django)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["type"]:
        case "http" | "websocket" if scope["path"] in STREAMS:
            await STREAMS[scope["path"]](scope, receive, send)
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4404})
        case "lifespan":
            await _live(receive, send)
        case "http":
            await (_held if may_be_held(scope) else _django)(scope, receive, send)


async def _live(receive: Receive, send: Send) -> None:
    """
    Refuse to serve where secrets could not be read, and say goodbye.

    A server that is stopped by a signal may not come to Python's own end: the audit trail is written here.
    """
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            problem = await asyncio.to_thread(_problem)
            if problem is not None:
                await send({"type": "lifespan.startup.failed", "message": f"attune: {problem}"})
                return
            await send({"type": "lifespan.startup.complete"})
            continue
        await asyncio.to_thread(ending.begin)
        await asyncio.to_thread(trail.flush)
        await send({"type": "lifespan.shutdown.complete"})
        return


def _problem() -> str | None:
    """Return why serving must not begin, None when it may; a database that is away for now is no reason."""
    try:
        check_encryption()
    except CannotStart as refusal:
        return str(refusal)
    except DatabaseError as error:
        logger.warning("The database does not answer yet: %s", error)
    finally:
        connection.close()
    return None
