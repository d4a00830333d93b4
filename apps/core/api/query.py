"""
Values of the query string and of the path (api.md 1.5, 1.6): a value that cannot be understood is a BadRequest.

Every reader takes the request's ``query_params`` and a name, and returns None when the parameter is absent or empty::

    created_after = query.moment(request.query_params, "created_after")
    statuses = query.choices(request.query_params, "status", Status.values)
"""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Q

from apps.core.errors import BadRequest, NotFound

MAX_ID = 2**63 - 1
LONGEST_FRAGMENT = 1000
_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")  # Python refuses to read more digits
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?", re.ASCII)
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})

Params = Mapping[str, str]


def text(params: Params, name: str) -> str | None:
    """Return the value as it is."""
    return params.get(name) or None


def fragment(params: Params, name: str) -> str | None:
    """Return a text to look for. A database takes no pattern of any length, so there is a limit."""
    value = text(params, name)
    if value is not None and len(value) > LONGEST_FRAGMENT:
        raise BadRequest(f"Query parameter '{name}' takes at most {LONGEST_FRAGMENT} characters")
    return value


def boolean(params: Params, name: str) -> bool | None:
    """Return the value of ``true|false|1|0``, in any case."""
    value = text(params, name)
    if value is None:
        return None
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise BadRequest(f"Query parameter '{name}' must be true or false, not '{_short(value)}'")


def integer(params: Params, name: str, *, minimum: int = -MAX_ID - 1, maximum: int = MAX_ID) -> int | None:
    """Return a whole number within the limits."""
    found = number(params, name)
    if found is not None and not minimum <= found <= maximum:
        raise BadRequest(f"Query parameter '{name}' must be from {minimum} to {maximum}")
    return found


def number(params: Params, name: str) -> int | None:
    """Return a whole number of any size."""
    value = text(params, name)
    if value is None:
        return None
    found = parse_integer(value)
    if found is None:
        raise BadRequest(f"Query parameter '{name}' must be a whole number, not '{_short(value)}'")
    return found


def choice(params: Params, name: str, options: Collection[str]) -> str | None:
    """Return one of the options."""
    value = text(params, name)
    if value is not None and value not in options:
        raise BadRequest(f"Query parameter '{name}' must be one of {', '.join(options)}, not '{_short(value)}'")
    return value


def choices(params: Params, name: str, options: Collection[str]) -> list[str] | None:
    """Return the options of a comma list."""
    value = text(params, name)
    if value is None:
        return None
    found = [entry.strip() for entry in value.split(",") if entry.strip()]
    for entry in found:
        if entry not in options:
            raise BadRequest(f"Query parameter '{name}' must be of {', '.join(options)}, not '{_short(entry)}'")
    return found or None


def names(params: Params, name: str) -> list[str] | None:
    """Return the entries of a comma list of any words."""
    value = text(params, name)
    if value is None:
        return None
    return [entry.strip() for entry in value.split(",") if entry.strip()] or None


def identifier(params: Params, name: str) -> int | None:
    """Return an id. One that no row can have is still an id: it finds nothing."""
    value = text(params, name)
    if value is None:
        return None
    number = parse_integer(value)
    if number is None:
        raise BadRequest(f"Query parameter '{name}' must be an id, not '{_short(value)}'")
    return number if 0 < number <= MAX_ID else 0


def uuid(params: Params, name: str) -> UUID | None:
    """Return a UUID."""
    value = text(params, name)
    if value is None:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise BadRequest(f"Query parameter '{name}' must be a UUID, not '{_short(value)}'") from None


def moment(params: Params, name: str) -> datetime | None:
    """Return an aware UTC time from RFC 3339 or ``YYYY-MM-DD`` (midnight); UTC when it has no offset."""
    value = text(params, name)
    if value is None:
        return None
    found = parse_moment(value)
    if found is None:
        raise BadRequest(
            f"Query parameter '{name}' must be a time such as 2026-01-31T12:00:00Z, not '{_short(value)}'"
        )
    return found


def ref_filter(field: str, value: str | None) -> Q:
    """Return the condition of a ref filter: a full ref, or ``<pack>.*``; none for no value."""
    if value is None:
        return Q()
    if value.endswith(".*"):
        # A range and not LIKE: the index on the column serves it, and a value never is a pattern.
        prefix = value[:-1]
        return Q(**{f"{field}__gte": prefix, f"{field}__lt": prefix[:-1] + chr(ord(".") + 1)})
    return Q(**{field: value})


def path_id(value: str) -> int:
    """Return the id in a path. Raises BadRequest for what is no number, NotFound for what no row can have."""
    number = parse_integer(value)
    if number is None:
        raise BadRequest(f"'{_short(value)}' is not an id")
    if not 0 < number <= MAX_ID:
        raise NotFound(f"Nothing has the id {_short(value)}")
    return number


def parse_integer(value: str) -> int | None:
    """Return the number that ASCII digits (and a sign) spell, else None."""
    return int(value) if _INTEGER.fullmatch(value) else None


def parse_moment(value: str) -> datetime | None:
    """Return the aware UTC time, or None when the text is none."""
    repaired = value.strip().upper()  # RFC 3339 knows ``t`` and ``z``, too
    if len(repaired) > 11 and repaired[-6:-5] == " " and repaired[-3:-2] == ":":
        repaired = f"{repaired[:-6]}+{repaired[-5:]}"  # a plus that was not escaped arrives as a blank
    if not _MOMENT.fullmatch(repaired):  # Python reads weeks and other forms of ISO 8601
        return None
    try:
        found = datetime.fromisoformat(repaired)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _short(value: str) -> str:
    return value if len(value) <= 80 else f"{value[:77]}..."
