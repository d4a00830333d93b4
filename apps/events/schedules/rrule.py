"""
Recurrence rules (RFC 5545) as schedules on the wall clock.

Written here because python-dateutil, which the tests hold this against, has no bound: it walks from ``dtstart``, takes
minutes for a rule by the second that began in 1970, and walks to the year 9999 when nothing matches. Here a search
begins at the period it asks about, passes over days that do not match, and counts its steps.
"""

from bisect import bisect_left, bisect_right
from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import Protocol

from apps.events.schedules.clockface import DAY_SECONDS, TimesOfDay, days, next_second, on_day, second_of_day
from apps.events.schedules.recurring_days import DayFilter, completed
from apps.events.schedules.rrule_parts import Parts
from apps.events.schedules.steps import Steps

_UNIT_SECONDS = {"HOURLY": 3600, "MINUTELY": 60, "SECONDLY": 1}
_SECOND = timedelta(seconds=1)
_Seconds = TimesOfDay | list[int]  # of one day, sorted


class RecurrenceTimes:
    """A recurrence rule anchored at ``dtstart`` (naive, local). Raises SearchTooLong from its searches."""

    def __init__(self, parts: Parts, dtstart: datetime) -> None:
        self._dtstart = dtstart.replace(microsecond=0)
        self._parts = completed(parts, self._dtstart)
        kind: type[_Periods] = _ShortPeriods if self._parts.freq in _UNIT_SECONDS else _LongPeriods
        self._periods = kind(self._parts, self._dtstart)
        # How many there are up to a moment, for ``count``; kept, so that the next search counts on from there.
        self._counted = (self._dtstart - _SECOND, 0)

    def next_after(self, moment: datetime, until: datetime) -> datetime | None:
        if self._parts.until is not None:
            until = min(until, self._parts.until)
        start = max(next_second(moment), self._dtstart)
        if start > until:
            return None
        found = next(self._periods.times(start, until, Steps()), None)
        return None if found is None or self._is_beyond_count(found) else found

    def _is_beyond_count(self, found: datetime) -> bool:
        if self._parts.count is None:
            return False
        counted_to, number = self._counted
        if counted_to > found:
            counted_to, number = self._dtstart - _SECOND, 0
        number += self._periods.number(counted_to + _SECOND, found, Steps())
        self._counted = (found, number)
        return number > self._parts.count


class _Periods(Protocol):
    """The periods of one frequency. ``start`` is never before ``dtstart``."""

    def __init__(self, parts: Parts, dtstart: datetime) -> None: ...

    def times(self, start: datetime, until: datetime, steps: Steps) -> Iterator[datetime]:
        """Yield the times from start to until, in order."""
        ...

    def number(self, start: datetime, until: datetime, steps: Steps) -> int:
        """Return how many times there are from start to until."""
        ...


class _LongPeriods:
    """Years, months, weeks and days: each holds days that match, and all of these have the same times."""

    def __init__(self, parts: Parts, dtstart: datetime) -> None:
        self._parts = parts
        self._dtstart = dtstart
        self._first_day = dtstart.date()
        self._filter = DayFilter(parts)
        self._times = TimesOfDay.of(parts.by_hour or (), parts.by_minute or (), parts.by_second or ())

    def times(self, start: datetime, until: datetime, steps: Steps) -> Iterator[datetime]:
        for day, seconds in self._days(start, until, steps):
            low, high = _margins(day, seconds, start, until)
            for place in range(low, high):
                yield on_day(day, seconds[place])

    def number(self, start: datetime, until: datetime, steps: Steps) -> int:
        margins = (_margins(day, seconds, start, until) for day, seconds in self._days(start, until, steps))
        return sum(high - low for low, high in margins)

    def _days(self, start: datetime, until: datetime, steps: Steps) -> Iterator[tuple[date, _Seconds]]:
        """Yield the days from start to until that have times, with all of these."""
        if not self._times:
            return
        for first, last in self._spans(start.date(), until.date()):
            steps.spend()
            if self._parts.by_set_pos:
                yield from self._picked(first, last, steps)
                continue
            for day in days(max(first, start.date()), min(last, until.date())):
                steps.spend()
                if self._filter.holds(day):
                    yield day, self._times

    def _picked(self, first: date, last: date, steps: Steps) -> Iterator[tuple[date, _Seconds]]:
        """Yield what BYSETPOS picks of all the times of a period."""
        steps.spend((last - first).days)
        matching = [day for day in days(first, last) if self._filter.holds(day)]
        per_day = len(self._times)
        for place in _places(self._parts.by_set_pos, len(matching) * per_day):
            day, second = matching[place // per_day], self._times[place % per_day]
            if on_day(day, second) >= self._dtstart:
                yield day, [second]

    def _spans(self, start: date, until: date) -> Iterator[tuple[date, date]]:
        """Yield first and last day of the periods of the rule that reach into start..until."""
        step, origin = self._parts.interval, self._index(self._first_day)
        index = origin + max(0, (self._index(start) - origin) // step) * step
        while (span := self._span(index)) is not None and span[0] <= until:
            yield span
            index += step

    def _index(self, day: date) -> int:
        """Return the number of the period that holds the day."""
        match self._parts.freq:
            case "YEARLY":
                return day.year
            case "MONTHLY":
                return day.year * 12 + day.month - 1
            case "WEEKLY":
                return (day.toordinal() - 1 - self._parts.week_start) // 7  # day 1 of the calendar is a Monday
            case _:
                return day.toordinal()

    def _span(self, index: int) -> tuple[date, date] | None:
        """Return first and last day of that period, None beyond the calendar."""
        match self._parts.freq:
            case "YEARLY":
                return (date(index, 1, 1), date(index, 12, 31)) if index <= date.max.year else None
            case "MONTHLY":
                year, month = index // 12, index % 12 + 1
                return (date(year, month, 1), _month_end(year, month)) if year <= date.max.year else None
            case "WEEKLY":
                ordinal, length = index * 7 + 1 + self._parts.week_start, 7
            case _:
                ordinal, length = index, 1
        if ordinal + length > date.max.toordinal():
            return None
        first = date.fromordinal(ordinal)
        # The week of dtstart begins with dtstart, for BYSETPOS too.
        return max(first, self._first_day), first + timedelta(days=length - 1)


class _ShortPeriods:
    """Hours, minutes and seconds: counted from dtstart's, and passed over where the day or the clock does not match."""

    def __init__(self, parts: Parts, dtstart: datetime) -> None:
        self._parts = parts
        self._dtstart = dtstart
        self._filter = DayFilter(parts)
        self._unit = _UNIT_SECONDS[parts.freq]
        self._base = _seconds(dtstart) // self._unit * self._unit
        self._step = parts.interval * self._unit
        self._beginnings = _beginnings(parts)
        self._within = _within_period(parts)

    def times(self, start: datetime, until: datetime, steps: Steps) -> Iterator[datetime]:
        for at in self._matching(_seconds(start) // self._unit * self._unit, _seconds(until), steps):
            yield from (time for time in self._times_of(at) if start <= time <= until)

    def number(self, start: datetime, until: datetime, steps: Steps) -> int:
        if self._unit == 1 and self._beginnings is None and not self._filter.restricts:
            return max(0, (_seconds(until) - self._aligned(_seconds(start))) // self._step + 1)
        first, last = start.toordinal() + 1, until.toordinal() - 1
        if DAY_SECONDS % self._step or first > last:
            return sum(1 for _time in self.times(start, until, steps))
        # Every day that matches has as many as any other; only the first and the last are not whole.
        margins = ((start, _midnight(first) - _SECOND), (_midnight(last + 1), until))
        steps.spend(last - first)
        matching = (ordinal for ordinal in range(first, last + 1) if self._filter.holds(date.fromordinal(ordinal)))
        number, example = 0, None
        for ordinal in matching:
            example = example if example is not None else self._number_on(ordinal, steps)
            number += example
        return number + sum(1 for margin in margins for _time in self.times(*margin, steps))

    def _number_on(self, ordinal: int, steps: Steps) -> int:
        return sum(1 for _time in self.times(_midnight(ordinal), _midnight(ordinal + 1) - _SECOND, steps))

    def _matching(self, at: int, last: int, steps: Steps) -> Iterator[int]:
        """Yield the beginnings of the periods of the rule whose day and clock match."""
        day, day_matches = None, False
        at = self._aligned(at)
        while at <= last:
            steps.spend()
            ordinal, second = divmod(at, DAY_SECONDS)
            if ordinal != day:
                day, day_matches = ordinal, self._filter.holds(date.fromordinal(ordinal))
            beginning = self._beginning(second) if day_matches else None
            if beginning == second:
                yield at
                at += self._step
            elif beginning is None:
                at = self._aligned((ordinal + 1) * DAY_SECONDS)
            else:
                at = self._aligned(ordinal * DAY_SECONDS + beginning)

    def _beginning(self, second: int) -> int | None:
        return second if self._beginnings is None else self._beginnings.at_or_after(second)

    def _aligned(self, second: int) -> int:
        """Return the beginning of the first period of the rule that begins then or later."""
        return self._base + max(0, -(-(second - self._base) // self._step)) * self._step

    def _times_of(self, at: int) -> Iterator[datetime]:
        """Yield the times of the period that begins there."""
        ordinal, second = divmod(at, DAY_SECONDS)
        day = date.fromordinal(ordinal)
        number = len(self._within)
        for place in _places(self._parts.by_set_pos, number) if self._parts.by_set_pos else range(number):
            time = on_day(day, second + self._within[place])
            if time >= self._dtstart:
                yield time


def _margins(day: date, seconds: _Seconds, start: datetime, until: datetime) -> tuple[int, int]:
    """Return the places of a day's times between which those from start to until stand."""
    low = bisect_left(seconds, second_of_day(start)) if day == start.date() else 0
    high = bisect_right(seconds, second_of_day(until)) if day == until.date() else len(seconds)
    if day < start.date() or day > until.date():
        return 0, 0
    return low, high


def _places(by_set_pos: Iterable[int] | None, number: int) -> list[int]:
    """Return the places, counted from 0, that BYSETPOS picks of so many."""
    places = {place - 1 if place > 0 else number + place for place in by_set_pos or ()}
    return sorted(place for place in places if 0 <= place < number)


def _beginnings(parts: Parts) -> TimesOfDay | None:
    """Return at which times of a day a short period may begin, None when at any."""
    minutes = parts.by_minute if parts.freq != "HOURLY" else None
    seconds = parts.by_second if parts.freq == "SECONDLY" else None
    if parts.by_hour is None and minutes is None and seconds is None:
        return None
    return TimesOfDay.of(
        range(24) if parts.by_hour is None else parts.by_hour,
        (range(60) if minutes is None else minutes) if parts.freq != "HOURLY" else (0,),
        (range(60) if seconds is None else seconds) if parts.freq == "SECONDLY" else (0,),
    )


def _within_period(parts: Parts) -> TimesOfDay:
    """Return the times of a short period, counted from its beginning."""
    match parts.freq:
        case "HOURLY":
            return TimesOfDay.of((0,), parts.by_minute or (), parts.by_second or ())
        case "MINUTELY":
            return TimesOfDay.of((0,), (0,), parts.by_second or ())
        case _:
            return TimesOfDay.of((0,), (0,), (0,))


def _seconds(moment: datetime) -> int:
    """Return the seconds since the day 0 of the calendar."""
    return moment.toordinal() * DAY_SECONDS + second_of_day(moment)


def _midnight(ordinal: int) -> datetime:
    return on_day(date.fromordinal(ordinal), 0)


def _month_end(year: int, month: int) -> date:
    return date(year, month, monthrange(year, month)[1])
