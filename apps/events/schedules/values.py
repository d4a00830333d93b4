"""Read single settings; what cannot be read is an InvalidSchedule that names the setting."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from apps.events.schedules.errors import InvalidSchedule

# Beyond, adding a time zone's offset or the reach of a search could leave what a datetime holds.
FIRST_YEAR, LAST_YEAR = 1900, 9990
LAST_MOMENT = datetime(LAST_YEAR, 12, 31, 23, 59, 59, tzinfo=UTC)

_RFC3339 = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]{1,100}))?(?P<offset>[Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-9]{2}))?"
)

Params = Mapping[str, Any]


def text(params: Params, name: str, default: str | None = None) -> str:
    """Return a text that is not blank."""
    value = params.get(name)
    if value is None:
        value = default
    if value is None:
        raise InvalidSchedule(name, "is required")
    if not isinstance(value, str) or not value.strip():
        raise InvalidSchedule(name, "must be a text")
    return value


def choice(params: Params, name: str, options: Collection[str], default: str | None = None) -> str:
    """Return one of the options."""
    value = text(params, name, default)
    if value not in options:
        raise InvalidSchedule(name, f"must be one of {', '.join(options)}")
    return value


def whole(params: Params, name: str, *, minimum: int, maximum: int | None = None, default: int | None = None) -> int:
    """Return a whole number; 5.0 is one, as in JSON Schema."""
    value = params.get(name)
    if value is None:
        value = default
    if value is None:
        raise InvalidSchedule(name, "is required")
    number = whole_number(value)
    if number is None:
        raise InvalidSchedule(name, "must be a whole number")
    if number < minimum or (maximum is not None and number > maximum):
        limits = f"at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
        raise InvalidSchedule(name, f"must be {limits}")
    return number


def whole_number(value: Any) -> int | None:
    """Return a JSON value as a whole number, None when it is not one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def moment(value: Any, name: str) -> datetime:
    """Return a time of RFC 3339: aware when it has an offset, else naive."""
    found = parse_moment(value)
    if found is None:
        raise InvalidSchedule(name, "must be a time of RFC 3339, such as 2026-03-01T09:00:00Z")
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise InvalidSchedule(name, f"must lie in the years {FIRST_YEAR} to {LAST_YEAR}")
    return found


def optional_moment(params: Params, name: str) -> datetime | None:
    """Return a moment in UTC, None when there is none; it needs an offset."""
    value = params.get(name)
    if value is None:
        return None
    found = moment(value, name)
    if found.tzinfo is None:
        raise InvalidSchedule(name, "needs an offset, such as Z or +01:00")
    return found.astimezone(UTC)


def parse_moment(value: Any) -> datetime | None:
    """Return the time of an RFC 3339 text, naive without an offset; None when it is not one."""
    match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        found = datetime.fromisoformat(f"{match['date']}T{match['time']}")
    except ValueError:
        return None
    if match["fraction"]:
        found = found.replace(microsecond=int(match["fraction"][:6].ljust(6, "0")))
    if match["offset"] is None:
        return found
    offset = timedelta(0)
    if match["sign"]:
        if int(match["hours"]) > 23 or int(match["minutes"]) > 59:
            return None
        offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
    return found.replace(tzinfo=timezone(-offset if match["sign"] == "-" else offset))
