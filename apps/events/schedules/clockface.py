"""Times of a day, as every hour x minute x second of three sets; and the days they are put on."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol

DAY_SECONDS = 86_400


class LocalTimes(Protocol):
    """A schedule on the wall clock, without a time zone: naive times with whole seconds."""

    def next_after(self, moment: datetime, until: datetime) -> datetime | None:
        """Return the first time later than ``moment`` and not later than ``until``; None when there is none."""
        ...


@dataclass(frozen=True)
class TimesOfDay:
    """Sorted, without repetition."""

    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    seconds: tuple[int, ...]

    @classmethod
    def of(cls, hours: Iterable[int], minutes: Iterable[int], seconds: Iterable[int]) -> "TimesOfDay":
        return cls(tuple(sorted(set(hours))), tuple(sorted(set(minutes))), tuple(sorted(set(seconds))))

    def __len__(self) -> int:
        return len(self.hours) * len(self.minutes) * len(self.seconds)

    def __getitem__(self, index: int) -> int:
        """Return the time at that place of the day, in seconds since midnight."""
        rest, second = divmod(index, len(self.seconds))
        hour, minute = divmod(rest, len(self.minutes))
        return self.hours[hour] * 3600 + self.minutes[minute] * 60 + self.seconds[second]

    def at_or_after(self, second_of_day: int) -> int | None:
        """Return the first time that is not earlier, None when the day has none left."""
        index = self.place(second_of_day)
        return self[index] if index < len(self) else None

    def place(self, second_of_day: int) -> int:
        """Return how many of the times are earlier."""
        hour, rest = divmod(second_of_day, 3600)
        minute, second = divmod(rest, 60)
        hours = bisect_left(self.hours, hour)
        if hours == len(self.hours) or self.hours[hours] != hour:
            return hours * len(self.minutes) * len(self.seconds)
        minutes = bisect_left(self.minutes, minute)
        before = (hours * len(self.minutes) + minutes) * len(self.seconds)
        if minutes == len(self.minutes) or self.minutes[minutes] != minute:
            return before
        return before + bisect_left(self.seconds, second)


def second_of_day(moment: datetime) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def on_day(day: date, second: int) -> datetime:
    """Return that second of the day."""
    return datetime.combine(day, time(second // 3600, second // 60 % 60, second % 60))


def days(first: date, last: date) -> Iterator[date]:
    """Yield the days from first to last."""
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield date.fromordinal(ordinal)


def next_second(moment: datetime) -> datetime:
    """Return the first whole second that is later."""
    return moment.replace(microsecond=0) + timedelta(seconds=1)
