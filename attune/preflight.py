"""What is looked at before a start, so that a wrong environment ends in one sentence and not in the middle."""

import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
from django.conf import settings
from django.db import connection
from django.db.utils import DatabaseError, OperationalError, ProgrammingError

from apps.core.cipher import CipherIsBroken
from apps.keys.rotation import unknown_keys
from settings.env import CannotStart

START_TIMEOUT_SECONDS = 5


def check_database(*, timeout_seconds: int = START_TIMEOUT_SECONDS, may_make_it: bool = True) -> None:
    """
    Open a connection of its own, outside the pool (which would keep trying). Raises CannotStart.

    ``may_make_it`` is for SQLite, where the first connection makes the file.
    """
    if connection.vendor == "postgresql":
        _check_postgresql(timeout_seconds)
    else:
        _check_sqlite(Path(str(connection.settings_dict["NAME"])), may_make_it=may_make_it)


def _check_postgresql(timeout_seconds: int) -> None:
    parameters = {key: value for key, value in connection.get_connection_params().items() if key != "pool"}
    parameters |= {"connect_timeout": timeout_seconds, "cursor_factory": None, "context": None}
    try:
        psycopg.connect(**{key: value for key, value in parameters.items() if value is not None}).close()
    except psycopg.Error as error:
        raise CannotStart(f"Cannot reach the database of DATABASE_URL ({_first_line(error)}).") from None


def _check_sqlite(file: Path, *, may_make_it: bool) -> None:
    try:
        mode = "rwc" if may_make_it else "rw"
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode={mode}", uri=True, timeout=30)) as database:
            database.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as error:
        raise CannotStart(
            f"Cannot use the database file {file} ({error}). Check who owns it, or name another one in DATABASE_URL."
        ) from None


def check_encryption() -> None:
    """
    Raise CannotStart when encrypting does not work here, or the database holds what no configured key decrypts.

    Where there are no tables yet, nothing is encrypted either.
    """
    try:
        unknown = unknown_keys()
    except CipherIsBroken as error:
        raise CannotStart(str(error)) from None
    except (ProgrammingError, OperationalError) as error:
        if not _lacks_tables(error):
            raise
        return
    if unknown:
        needed = "; ".join(f"{noun} encrypted with key {key_id[:16]}..." for noun, key_id in unknown)
        raise CannotStart(
            f"The database holds {needed}, which is not configured. Set ATTUNE_ENCRYPTION_KEY to the key this "
            "installation has (it is made at first boot as encryption_key in the state directory), or add a former one "
            "to ATTUNE_ENCRYPTION_PREVIOUS_KEYS. If it is lost: `manage.py rotate_keys --delete-unreadable`."
        )


def _lacks_tables(error: DatabaseError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state == "42P01" or (connection.vendor == "sqlite" and "no such table" in str(error))


def broker_problem() -> str | None:
    """Return a sentence when the broker does not answer just now, else None. Work waits for it, nothing is lost."""
    parts = urlsplit(settings.CELERY_BROKER_URL)
    if parts.scheme == "memory":
        return None
    try:
        socket.create_connection((parts.hostname or "localhost", parts.port or 6379), timeout=2).close()
    except OSError as error:
        return f"The broker of CELERY_BROKER_URL does not answer ({error.strerror or error}); waiting for it."
    return None


def explain(error: DatabaseError) -> str | None:
    """Return a sentence when the error means that there is no database to talk to, else None."""
    cause = error.__cause__
    if isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None:
        return f"Cannot reach the database of DATABASE_URL ({_first_line(cause)})."
    if isinstance(cause, sqlite3.OperationalError) and "unable to open" in str(cause):
        return f"Cannot open the database file {connection.settings_dict['NAME']} (ATTUNE_STATE_DIR, DATABASE_URL)."
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
