"""
A process that ends does not wait for a database that is away.

Ordinarily everything waits for it: whoever finds the pool without a connection for its 15 s, and then again. A stop asks
for the database many times, from several threads, so it would last a minute. Closing the pool fails all of them at once.
"""

import logging
import threading
import time
from typing import Any

import psycopg
from django.db import connection

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 4.0  # how long a database that does not answer is waited for, all in all
_LOOK_SECONDS = 0.25
_CONNECT_SECONDS = 2  # of one attempt; the least that libpq knows
# A server that answers so is there, and the pool gets its turn: "sorry, too many clients already", "too many
# connections for role", "remaining connection slots are reserved". The error has no code before there is a connection.
_BUSY = ("too many", "connection slots")

_started = threading.Lock()
_given_up = threading.Event()


def begin() -> None:
    """
    Call this when the process has been asked to stop: from now on nobody in it waits long for a database that is away.

    A database that answers, however busy, is waited for as ever. May be called more than once; SQLite needs none of it.
    """
    pool = getattr(connection, "pool", None)
    if pool is not None and _started.acquire(blocking=False):
        threading.Thread(target=watch, args=(pool, _direct_parameters()), name="ending", daemon=True).start()


def has_given_up() -> bool:
    """Whether this process ends without its database: what asks for it from now on fails at once."""
    return _given_up.is_set()


def watch(pool: Any, parameters: dict[str, Any]) -> None:
    """Close the pool once somebody has waited in vain for a connection while the server gave none to us either."""
    away_since: float | None = None
    while not pool.closed:
        time.sleep(_LOOK_SECONDS)
        if not pool.get_stats().get("requests_waiting"):
            continue
        if _answers(parameters):
            away_since = None
            continue
        away_since = away_since or time.monotonic()
        if time.monotonic() - away_since >= PATIENCE_SECONDS - _LOOK_SECONDS:
            logger.warning("The database is away: this process ends without it")
            _given_up.set()
            pool.close(timeout=_LOOK_SECONDS)


def _answers(parameters: dict[str, Any]) -> bool:
    try:
        psycopg.connect(**parameters).close()
    except psycopg.Error as error:
        return any(text in str(error) for text in _BUSY)
    return True


def _direct_parameters() -> dict[str, Any]:
    """Return what a connection outside the pool is made with."""
    parameters = connection.get_connection_params()
    parameters |= {"connect_timeout": _CONNECT_SECONDS, "pool": None, "cursor_factory": None, "context": None}
    return {key: value for key, value in parameters.items() if value is not None}
