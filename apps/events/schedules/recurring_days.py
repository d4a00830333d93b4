"""Which days a recurrence rule is about: what its parts say of days, each a filter of its own."""

from calendar import isleap, monthrange
from dataclasses import replace
from datetime import date, datetime, timedelta

from apps.events.schedules.rrule_parts import Parts

_LONG = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")


def completed(parts: Parts, dtstart: datetime) -> Parts:
    """Return the parts with what ``dtstart`` says where the rule itself says nothing (RFC 5545, 3.3.10)."""
    found = parts
    if not any((parts.by_week_no, parts.by_year_day, parts.by_month_day, parts.by_day)):
        if parts.freq == "YEARLY":
            found = replace(
                found, by_month=parts.by_month or frozenset({dtstart.month}), by_month_day=frozenset({dtstart.day})
            )
        elif parts.freq == "MONTHLY":
            found = replace(found, by_month_day=frozenset({dtstart.day}))
        elif parts.freq == "WEEKLY":
            found = replace(found, by_day=((0, dtstart.weekday()),))
    if parts.by_hour is None and parts.freq in _LONG:
        found = replace(found, by_hour=frozenset({dtstart.hour}))
    if parts.by_minute is None and parts.freq in (*_LONG, "HOURLY"):
        found = replace(found, by_minute=frozenset({dtstart.minute}))
    if parts.by_second is None:
        return found if parts.freq == "SECONDLY" else replace(found, by_second=frozenset({dtstart.second}))
    return replace(found, by_second=parts.by_second - {60})  # no clock of ours shows a leap second


class DayFilter:
    """Says of a day whether every part that is about days allows it."""

    def __init__(self, parts: Parts) -> None:
        self._months = parts.by_month
        self._month_days = parts.by_month_day
        self._year_days = parts.by_year_day
        self._weeks = parts.by_week_no
        self._week_start = parts.week_start
        # A place (2TU) has a meaning in a month or a year only; elsewhere it is every Tuesday.
        has_places = parts.freq in ("YEARLY", "MONTHLY")
        by_day = parts.by_day or ()
        self._weekdays = frozenset(weekday for place, weekday in by_day if not (place and has_places))
        self._places = frozenset((place, weekday) for place, weekday in by_day if place and has_places)
        self._places_in_year = parts.freq == "YEARLY" and parts.by_month is None
        self.restricts = any((self._months, self._month_days, self._year_days, self._weeks, by_day))

    def holds(self, day: date) -> bool:
        return (
            (self._months is None or day.month in self._months)
            and (self._month_days is None or self._is_month_day(day))
            and (not (self._weekdays or self._places) or day.weekday() in self._weekdays or self._is_in_place(day))
            and (self._year_days is None or self._is_year_day(day))
            and (self._weeks is None or self._is_week(day))
        )

    def _is_month_day(self, day: date) -> bool:
        assert self._month_days is not None
        return day.day in self._month_days or day.day - monthrange(day.year, day.month)[1] - 1 in self._month_days

    def _is_year_day(self, day: date) -> bool:
        assert self._year_days is not None
        number = day.timetuple().tm_yday
        return number in self._year_days or number - 366 - isleap(day.year) in self._year_days

    def _is_in_place(self, day: date) -> bool:
        if not self._places:
            return False
        if self._places_in_year:
            number, length = day.timetuple().tm_yday, 365 + isleap(day.year)
        else:
            number, length = day.day, monthrange(day.year, day.month)[1]
        weekday = day.weekday()
        return ((number + 6) // 7, weekday) in self._places or (-((length - number) // 7 + 1), weekday) in self._places

    def _is_week(self, day: date) -> bool:
        assert self._weeks is not None
        year, week, weeks = _week_of(day, self._week_start)
        # From the end a week is counted only in its own year.
        return week in self._weeks or (year <= day.year and week - weeks - 1 in self._weeks)


def _week_of(day: date, week_start: int) -> tuple[int, int, int]:
    """Return year and number of a day's week and how many weeks that year has; week 1 has 4 days of its year."""
    first = day - timedelta(days=(day.weekday() - week_start) % 7)
    year = (first + timedelta(days=3)).year
    begin, end = _week_one(year, week_start), _week_one(year + 1, week_start)
    return year, (first - begin).days // 7 + 1, (end - begin).days // 7


def _week_one(year: int, week_start: int) -> date:
    fourth = date(year, 1, 4)
    return fourth - timedelta(days=(fourth.weekday() - week_start) % 7)
