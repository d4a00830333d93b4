"""The parts of a recurrence rule (RFC 5545): read from the text of an RRULE, or from single settings."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from apps.events.schedules import values, zones
from apps.events.schedules.errors import InvalidSchedule

LONGEST_RULE = 10_000
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

_BY_DAY = re.compile(r"([+-]?[0-9]{1,3})?(MO|TU|WE|TH|FR|SA|SU)")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_UNTIL = re.compile(r"([0-9]{8})(?:T([0-9]{6})(Z?))?")


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A rule as it was given. None: the part is absent. ``until`` is a local time (naive)."""

    freq: str
    interval: int = 1
    count: int | None = None
    until: datetime | None = None
    by_day: tuple[tuple[int, int], ...] | None = None  # (n, weekday); n is 0 for every one, Monday is 0
    by_month_day: frozenset[int] | None = None
    by_month: frozenset[int] | None = None
    by_year_day: frozenset[int] | None = None
    by_week_no: frozenset[int] | None = None
    by_hour: frozenset[int] | None = None
    by_minute: frozenset[int] | None = None
    by_second: frozenset[int] | None = None
    by_set_pos: frozenset[int] | None = None
    week_start: int = 0


@dataclass(frozen=True)
class _Numbers:
    low: int
    high: int
    signed: bool = False

    def allows(self, number: int) -> bool:
        return self.low <= number <= self.high or (self.signed and self.low <= -number <= self.high)

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" + (f" or {-self.high} to {-self.low}" if self.signed else "")


_LISTS = {
    "by_month_day": _Numbers(1, 31, signed=True),
    "by_month": _Numbers(1, 12),
    "by_year_day": _Numbers(1, 366, signed=True),
    "by_week_no": _Numbers(1, 53, signed=True),
    "by_hour": _Numbers(0, 23),
    "by_minute": _Numbers(0, 59),
    "by_second": _Numbers(0, 60),
    "by_set_pos": _Numbers(1, 366, signed=True),
}
# The names of RFC 5545, and those of the settings.
_NAMES = {
    "FREQ": "freq",
    "INTERVAL": "interval",
    "COUNT": "count",
    "UNTIL": "until",
    "BYDAY": "by_day",
    "BYMONTHDAY": "by_month_day",
    "BYMONTH": "by_month",
    "BYYEARDAY": "by_year_day",
    "BYWEEKNO": "by_week_no",
    "BYHOUR": "by_hour",
    "BYMINUTE": "by_minute",
    "BYSECOND": "by_second",
    "BYSETPOS": "by_set_pos",
    "WKST": "week_start",
}


def read_rule(text: str, zone: ZoneInfo, field: str = "rule") -> Parts:
    """Return the parts of an RRULE's text; an ``RRULE:`` before it is dropped."""
    if len(text) > LONGEST_RULE:
        raise InvalidSchedule(field, f"must have at most {LONGEST_RULE} characters")
    body = text.strip()
    if body.upper().startswith("RRULE:"):
        body = body[len("RRULE:") :]
    given: dict[str, Any] = {}
    for part in body.rstrip(";").split(";"):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        name = name.upper()
        if not equals or name not in _NAMES:
            raise InvalidSchedule(field, _unknown_part(name))
        if _NAMES[name] in given:
            raise InvalidSchedule(field, f"{name} is given twice")
        given[_NAMES[name]] = value.upper()
    names = {ours: f"{field}: {theirs}" for theirs, ours in _NAMES.items()}
    return _checked({name: _from_text(name, value) for name, value in given.items()}, zone, names)


def _unknown_part(name: str) -> str:
    if name.startswith("DTSTART"):
        return "DTSTART is given as the setting dtstart, not in the rule"
    return "must be the parts of an RRULE, such as FREQ=DAILY;BYHOUR=9"


def read_settings(params: Mapping[str, Any], zone: ZoneInfo) -> Parts:
    """Return the parts that stand in the settings, ``freq`` and the others."""
    given = {name: params[name] for name in _NAMES.values() if params.get(name) is not None}
    return _checked(given, zone, {name: name for name in given} | {"freq": "freq"})


def _from_text(name: str, value: str) -> Any:
    """Return a value of an RRULE as it would stand in a setting; what is no number stays a text, and is refused."""
    if name in _LISTS:
        return [int(item) if _INTEGER.fullmatch(item) else item for item in value.split(",")]
    if name == "by_day":
        return value.split(",")
    if name in ("interval", "count"):
        return int(value) if _INTEGER.fullmatch(value) else value
    return value


def _checked(given: Mapping[str, Any], zone: ZoneInfo, names: Mapping[str, str]) -> Parts:
    """Return the parts; ``names`` says what an error calls them."""
    if "count" in given and "until" in given:
        raise InvalidSchedule(names["until"], "cannot be given together with count")
    if "freq" not in given:
        raise InvalidSchedule(names["freq"], "is required")
    found: dict[str, Any] = {"freq": _word(given["freq"], FREQUENCIES, names["freq"])}
    if "week_start" in given:
        found["week_start"] = WEEKDAYS.index(_word(given["week_start"], WEEKDAYS, names["week_start"]))
    for name in ("interval", "count"):
        if name in given:
            found[name] = values.whole({names[name]: given[name]}, names[name], minimum=1)
    if "until" in given:
        found["until"] = check_until(given["until"], zone, names["until"])
    if "by_day" in given:
        found["by_day"] = tuple(dict.fromkeys(_each(given["by_day"], _day, names["by_day"])))
    for name, numbers in _LISTS.items():
        if name in given:
            found[name] = frozenset(_each(given[name], _number_within(numbers), names[name]))
    return Parts(**found)


def _word(value: Any, words: tuple[str, ...], name: str) -> str:
    if not isinstance(value, str) or value.upper() not in words:
        raise InvalidSchedule(name, f"must be one of {', '.join(words)}")
    return value.upper()


def _each(value: Any, read: Callable[[Any, str], Any], name: str) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    if not items:
        raise InvalidSchedule(name, "must not be empty")
    return [read(item, name) for item in items]


def _number_within(numbers: _Numbers) -> Callable[[Any, str], int]:
    def read(value: Any, name: str) -> int:
        number = values.whole_number(value)
        if number is None or not numbers.allows(number):
            raise InvalidSchedule(name, f"must be numbers from {numbers}")
        return number

    return read


def _day(value: Any, name: str) -> tuple[int, int]:
    match = _BY_DAY.fullmatch(value.upper()) if isinstance(value, str) else None
    place = int(match[1]) if match and match[1] else 0
    if match is None or (match[1] and not 1 <= abs(place) <= 53):
        raise InvalidSchedule(name, "must be weekdays such as MO, 2TU or -1FR")
    return place, WEEKDAYS.index(match[2])


def check_until(value: Any, zone: ZoneInfo, name: str = "until") -> datetime:
    """Return the last local time: of RFC 5545 (``20261231T080000Z``; a date means its midnight) or of RFC 3339."""
    match = _UNTIL.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        found = values.parse_moment(value)
        if found is None:
            raise InvalidSchedule(name, "must be a time such as 20261231T080000Z or 2026-12-31T08:00:00Z")
    else:
        try:
            day = date.fromisoformat(match[1])
            found = datetime.combine(day, time.fromisoformat(match[2]) if match[2] else time(0))
        except ValueError as error:
            raise InvalidSchedule(name, "is no date and time of the calendar") from error
        if match[3]:
            found = found.replace(tzinfo=UTC)
    if not values.FIRST_YEAR <= found.year <= values.LAST_YEAR:
        raise InvalidSchedule(name, f"must lie in the years {values.FIRST_YEAR} to {values.LAST_YEAR}")
    return found if found.tzinfo is None else zones.to_local(found, zone)
