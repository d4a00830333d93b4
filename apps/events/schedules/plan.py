"""The settings of a timer as one value that knows its due times."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from apps.events.schedules import values, zones
from apps.events.schedules.cron import CronTimes
from apps.events.schedules.daylight import Due, Policy, ZonedTimes
from apps.events.schedules.errors import InvalidSchedule, SearchTooLong
from apps.events.schedules.rrule import RecurrenceTimes
from apps.events.schedules.rrule_parts import read_rule, read_settings
from apps.events.schedules.steps import horizon

KINDS = ("interval", "cron", "datetime", "rrule")
MISFIRES = ("skip", "once", "all")
DST_POLICIES = ("shift", "skip", "both")
UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}
LONGEST_GRACE_SECONDS = 366 * 86_400
LONGEST_INTERVAL_SECONDS = 1000 * 366 * 86_400
_MOMENT = timedelta(microseconds=1)


class _Times(Protocol):
    def next_after(self, moment: datetime, until: datetime) -> Due | None:
        """Return the first due time later than a moment and not beyond the end of the search."""
        ...


@dataclass(frozen=True)
class IntervalTimes:
    """Every so many seconds after the start."""

    seconds: int
    anchor: datetime

    def next_after(self, moment: datetime, until: datetime) -> Due | None:
        number = max(1, (moment - self.anchor) // timedelta(seconds=1) // self.seconds)
        step = timedelta(seconds=self.seconds)
        due = self.anchor + number * step
        return Due(due if due > moment else due + step)


@dataclass(frozen=True)
class OneTime:
    """Once."""

    at: datetime

    def next_after(self, moment: datetime, until: datetime) -> Due | None:
        return Due(self.at) if self.at > moment else None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """When a timer fires. ``anchor`` is the moment it was started, from which an interval counts."""

    kind: str
    timezone: str
    start_at: datetime | None
    end_at: datetime | None
    misfire: str
    misfire_grace_seconds: int
    misfire_limit: int
    dst_policy: str
    interval_seconds: int = 0
    expression: str = ""
    fire_at: datetime | None = None
    zoned: ZonedTimes | None = None

    def first_after(self, start: datetime) -> datetime | None:
        """Return when it fires first if it is started now, None when never; a cron expression must match some time."""
        found = self.next_after(start, start)
        if found is None and self.kind == "cron" and self.end_at is None:
            raise InvalidSchedule("expression", "has no time within 5 years")
        return found

    def next_after(self, moment: datetime, anchor: datetime) -> datetime | None:
        """Return the first time later than a moment at which it fires, None when there is none within 5 years."""
        for due in self.dues_after(moment, anchor):
            if due.fires:
                return due.at
        return None

    def dues_after(self, moment: datetime, anchor: datetime) -> Iterator[Due]:
        """Yield the due times later than a moment, also those that daylight saving skips."""
        times = self._times(anchor)
        if self.start_at is not None:
            moment = max(moment, self.start_at - _MOMENT)
        while moment < values.LAST_MOMENT:
            try:
                due = times.next_after(moment, horizon(moment))
            except (SearchTooLong, OverflowError):  # the second: beyond the calendar
                return
            if due is None or due.at > values.LAST_MOMENT or (self.end_at is not None and due.at > self.end_at):
                return
            yield due
            moment = due.at

    def _times(self, anchor: datetime) -> _Times:
        if self.zoned is not None:
            return self.zoned
        if self.fire_at is not None:
            return OneTime(self.fire_at)
        return IntervalTimes(self.interval_seconds, anchor)


def read(kind: str, params: Mapping[str, Any]) -> Plan:
    """Return the plan that a rule's ``trigger_params`` mean; raises InvalidSchedule."""
    return _read(kind, json.dumps(params, sort_keys=True))


@lru_cache(maxsize=2000)  # a timer's settings are read with each firing
def _read(kind: str, params_json: str) -> Plan:
    params = json.loads(params_json)
    zone = zones.read_zone(values.text(params, "timezone", "UTC"))
    start_at, end_at = values.optional_moment(params, "start_at"), values.optional_moment(params, "end_at")
    if start_at is not None and end_at is not None and end_at < start_at:
        raise InvalidSchedule("end_at", "is before start_at")
    return Plan(
        kind=kind,
        timezone=zone.key,
        start_at=start_at,
        end_at=end_at,
        misfire=values.choice(params, "misfire", MISFIRES, "once" if kind == "datetime" else "skip"),
        misfire_grace_seconds=values.whole(
            params, "misfire_grace_seconds", minimum=1, maximum=LONGEST_GRACE_SECONDS, default=30
        ),
        misfire_limit=values.whole(params, "misfire_limit", minimum=1, maximum=1000, default=100),
        dst_policy=values.choice(params, "dst_policy", DST_POLICIES, "shift"),
        **_READERS[kind](params, zone),
    )


def _interval(params: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    number = values.whole(params, "interval", minimum=1)
    seconds = number * UNITS[values.choice(params, "unit", UNITS, "seconds")]
    if seconds > LONGEST_INTERVAL_SECONDS:
        raise InvalidSchedule("interval", "is longer than a thousand years")
    return {"interval_seconds": seconds}


def _cron(params: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    expression = values.text(params, "expression")
    times = CronTimes(expression)
    policy = Policy.ELAPSED if times.follows_elapsed_time else _policy(params)
    return {"expression": expression, "zoned": ZonedTimes(times, zone, policy)}


def _datetime(params: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    values.text(params, "fire_at")
    return {"fire_at": _in_zone(values.moment(params["fire_at"], "fire_at"), zone)}


def _rrule(params: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    values.text(params, "dtstart")
    anchor = values.moment(params["dtstart"], "dtstart")
    local = anchor if anchor.tzinfo is None else zones.to_local(anchor, zone)
    if params.get("rule") is not None:
        parts = read_rule(values.text(params, "rule"), zone)
    else:
        parts = read_settings(params, zone)
    return {"zoned": ZonedTimes(RecurrenceTimes(parts, local), zone, _policy(params))}


def _in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return a moment in UTC; without an offset it is a local time of the zone."""
    return zones.to_utc(moment, zone) if moment.tzinfo is None else moment.astimezone(UTC)


def _policy(params: Mapping[str, Any]) -> Policy:
    return Policy(values.choice(params, "dst_policy", DST_POLICIES, "shift"))


_READERS: dict[str, Callable[[Mapping[str, Any], ZoneInfo], dict[str, Any]]] = {
    "interval": _interval,
    "cron": _cron,
    "datetime": _datetime,
    "rrule": _rrule,
}
