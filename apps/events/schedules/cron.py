"""
Cron expressions (events.md 9.2): six fields, ``second minute hour day-of-month month day-of-week``.

Read by croniter, which knows names, ranges, steps, ``L`` and ``mon#2``. The due times are found here: with ``#``
croniter takes the two day fields together where either may match, and its searches are many times slower.
"""

import re
from calendar import monthrange
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from croniter import croniter

from apps.events.schedules.clockface import TimesOfDay, days, next_second, on_day, second_of_day
from apps.events.schedules.errors import InvalidSchedule

LONGEST_EXPRESSION = 500
FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week", "year")

_NICKNAMES = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
# croniter's own additions that are no part of ours: a number of its choice (h, r: another one at each reading), and
# the weekday nearest to a day (15w).
_FOREIGN = re.compile(r"(^|,)([hr]($|[,(/])|w[0-9]|[0-9]+w)", re.IGNORECASE)
# How croniter numbers the fields.
_PLACES = {"minute": 0, "hour": 1, "day-of-month": 2, "month": 3, "day-of-week": 4, "second": 5, "year": 6}

_Values = list[int | str]
_Nth = Mapping[int, Collection[int | str]]


class CronTimes:
    """A cron expression as a schedule on the wall clock. Raises InvalidSchedule when it cannot be read."""

    def __init__(self, expression: str, field: str = "expression") -> None:
        fields = _split(expression, field)
        values, nth = _read(fields, field)
        self.follows_elapsed_time = fields[2].startswith("*")  # daylight saving then leaves it alone (events.md 9.4)
        self._times = TimesOfDay.of(
            _numbers(values["hour"], range(24)),
            _numbers(values["minute"], range(60)),
            _numbers(values["second"], range(60)),
        )
        self._months = frozenset(_numbers(values["month"], range(1, 13)))
        self._years = None if "*" in values.get("year", ["*"]) else frozenset(_numbers(values["year"], ()))
        self._month_days = _MonthDays.of(values["day-of-month"])
        self._weekdays = _Weekdays.of(values["day-of-week"], nth)

    def next_after(self, moment: datetime, until: datetime) -> datetime | None:
        start = next_second(moment)
        second = second_of_day(start)
        for day in days(start.date(), until.date()):
            if self._is_on(day):
                found = self._times.at_or_after(second)
                if found is not None:
                    due = on_day(day, found)
                    return due if due <= until else None
            second = 0
        return None

    def _is_on(self, day: date) -> bool:
        if day.month not in self._months or (self._years is not None and day.year not in self._years):
            return False
        if self._month_days is not None and self._weekdays is not None:
            return self._month_days.hold(day) or self._weekdays.hold(day)
        return (self._month_days is None or self._month_days.hold(day)) and (
            self._weekdays is None or self._weekdays.hold(day)
        )


@dataclass(frozen=True)
class _MonthDays:
    numbers: frozenset[int]
    last: bool

    @classmethod
    def of(cls, values: _Values) -> "_MonthDays | None":
        """Return the field day-of-month, None when it does not restrict."""
        return None if "*" in values else cls(frozenset(_numbers(values, ())), "l" in values)

    def hold(self, day: date) -> bool:
        return day.day in self.numbers or (self.last and day.day == monthrange(day.year, day.month)[1])


@dataclass(frozen=True)
class _Weekdays:
    """0 is Sunday. ``nth``: these weekdays count only as the nth of their month, or as the last one (``l``)."""

    numbers: frozenset[int]
    nth: _Nth

    @classmethod
    def of(cls, values: _Values, nth: _Nth) -> "_Weekdays | None":
        """Return the field day-of-week, None when it does not restrict."""
        return None if "*" in values and not nth else cls(frozenset(_numbers(values, range(7))), nth)

    def hold(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if weekday not in self.nth:
            return weekday in self.numbers
        places = self.nth[weekday]
        is_last = day.day + 7 > monthrange(day.year, day.month)[1]
        return (day.day + 6) // 7 in places or ("l" in places and is_last)


def _split(expression: str, field: str) -> list[str]:
    """Return the fields, the second first; five fields mean second 0."""
    if len(expression) > LONGEST_EXPRESSION:
        raise InvalidSchedule(field, f"must have at most {LONGEST_EXPRESSION} characters")
    text = expression.strip()
    fields = _NICKNAMES.get(text.lower(), text).split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) not in (6, 7):
        raise InvalidSchedule(field, f"must have 5, 6 or 7 fields ({' '.join(FIELDS[:6])}), or be @hourly or the like")
    return ["*" if part == "?" else part for part in fields]


def _read(fields: list[str], field: str) -> tuple[dict[str, _Values], _Nth]:
    found = None if any(map(_FOREIGN.search, fields)) else _expanded(fields)
    if found is None:
        raise InvalidSchedule(field, f"the field {_culprit(fields)} cannot be read")
    expanded, nth = found
    return {name: expanded[place] for name, place in _PLACES.items() if place < len(expanded)}, nth


def _expanded(fields: Iterable[str]) -> tuple[list[_Values], _Nth] | None:
    """Return what croniter makes of the fields, None when it cannot read them."""
    try:
        expanded, nth = croniter.expand(" ".join(fields), second_at_beginning=True)
    except (ValueError, LookupError, TypeError, AttributeError):  # it raises all of these for what it cannot read
        return None
    if any(not 0 <= weekday <= 6 for weekday in nth):
        return None
    return expanded, nth


def _culprit(fields: list[str]) -> str:
    """Return the name of the first field that cannot be read."""
    for place, text in enumerate(fields):
        alone = ["*"] * len(fields)
        alone[place] = text
        if _FOREIGN.search(text) or _expanded(alone) is None:
            return FIELDS[place]
    return FIELDS[0]


def _numbers(values: _Values, every: Iterable[int]) -> Iterable[int]:
    return every if "*" in values else [value for value in values if isinstance(value, int)]
