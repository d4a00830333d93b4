"""Whether the time that a sender gave is near enough to now (events.md 10.3)."""

import re
from datetime import UTC, datetime

from apps.core.errors import Unauthorized

# Exactly one spelling each: where the time is signed with the body behind it, "1700000000" and "5.{}" must not also be
# "1700000000.5" and "{}".
_UNIX_SECONDS = re.compile(r"[0-9]{1,11}")
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class OutsideWindow(Unauthorized):
    """Timestamp outside the allowed window"""


def check(timestamp: str | None, *, now: datetime, window_seconds: int) -> None:
    """Raise OutsideWindow unless the time is there, can be read, and is at most the window away from now."""
    moment = parse_timestamp(timestamp or "")
    if moment is None or abs((now - moment).total_seconds()) > window_seconds:
        raise OutsideWindow


def parse_timestamp(text: str) -> datetime | None:
    """Return the moment that Unix seconds or RFC 3339 text name, None for anything else."""
    text = text.strip()
    try:
        if _UNIX_SECONDS.fullmatch(text):
            return datetime.fromtimestamp(int(text), UTC)
        return datetime.fromisoformat(text.upper()) if _RFC_3339.fullmatch(text) else None
    except (ValueError, OverflowError):
        return None
