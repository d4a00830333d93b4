"""
The database's clock, read without asking it each time.

Several hosts write times that are compared with each other, so all of them use the clock of the database
(execution.md section 1). On SQLite that is this machine's; on PostgreSQL the difference is measured now and then.
"""

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import overload

from django.db import connection
from django.utils import timezone

_REMEASURE_SECONDS = 60.0

_lock = threading.Lock()
_offset = timedelta(0)
_measured_at: float | None = None


def now() -> datetime:
    """Return the present moment (aware, UTC) on the database's clock; asks the database once a minute at most."""
    if connection.vendor != "postgresql":
        return timezone.now()
    global _measured_at, _offset
    with _lock:
        offset, measured_at = _offset, _measured_at
    if measured_at is None or time.monotonic() - measured_at > _REMEASURE_SECONDS:
        offset = _measured()
        with _lock:  # only what was measured counts: a database that did not answer is asked again
            _offset, _measured_at = offset, time.monotonic()
    return timezone.now() + offset


def _measured() -> timedelta:
    before = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (there,) = cursor.fetchone()
    return there - (before + (timezone.now() - before) / 2)  # type: ignore[no-any-return]  # of the driver


@overload
def as_text(moment: datetime) -> str: ...
@overload
def as_text(moment: None) -> None: ...
@overload
def as_text(moment: datetime | None) -> str | None: ...
def as_text(moment: datetime | None) -> str | None:
    """Return a moment as RFC 3339 in UTC, as the wire shows times."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z") if moment is not None else None
