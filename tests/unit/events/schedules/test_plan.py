"""The settings of each kind: what is read, what is refused, when it fires."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest

from apps.events.schedules.errors import InvalidSchedule
from apps.events.schedules.formats import FORMATS
from apps.events.schedules.plan import read

NOW = datetime(2026, 11, 21, 11, 2, 3, 250_000, tzinfo=UTC)


def after(kind: str, params: dict[str, Any], number: int = 3, moment: datetime = NOW) -> list[datetime]:
    return [due.at for due in islice(read(kind, params).dues_after(moment, NOW), number)]


@pytest.mark.parametrize(
    ("params", "seconds"),
    [
        ({"interval": 2}, 2),
        ({"interval": 2.0, "unit": "seconds"}, 2),
        ({"interval": 3, "unit": "minutes"}, 180),
        ({"interval": 1, "unit": "hours"}, 3600),
        ({"interval": 2, "unit": "days"}, 172_800),
    ],
)
def test_interval_fires_at_the_start_plus_n_intervals(params: dict[str, Any], seconds: int) -> None:
    assert after("interval", params) == [NOW + timedelta(seconds=n * seconds) for n in (1, 2, 3)]


@pytest.mark.parametrize("elapsed", [0.0, 0.5, 1.999999, 2.0, 2.000001, 1e6 + 0.25, 3e8])
def test_interval_never_drifts(elapsed: float) -> None:
    moment = NOW + timedelta(seconds=elapsed)
    [due] = after("interval", {"interval": 2}, 1, moment)

    assert timedelta(0) < due - moment <= timedelta(seconds=2)
    assert (due - NOW) % timedelta(seconds=2) == timedelta(0)


def test_one_time_is_once_and_only_ahead() -> None:
    params = {"fire_at": "2026-12-24T18:00:00+01:00"}
    due = datetime(2026, 12, 24, 17, tzinfo=UTC)

    assert after("datetime", params) == [due]
    assert after("datetime", params, moment=due) == []


@pytest.mark.parametrize(
    ("fire_at", "zone", "expected"),
    [
        ("2026-12-24T18:00:00", "Europe/Berlin", datetime(2026, 12, 24, 17, tzinfo=UTC)),
        ("2026-12-24t18:00:00.1234567z", "Europe/Berlin", datetime(2026, 12, 24, 18, 0, 0, 123456, tzinfo=UTC)),
        ("2027-03-28T02:30:00", "Europe/Berlin", datetime(2027, 3, 28, 1, tzinfo=UTC)),  # left out
        ("2027-10-31T02:30:00", "Europe/Berlin", datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),  # twice
    ],
)
def test_one_time_may_be_local(fire_at: str, zone: str, expected: datetime) -> None:
    assert after("datetime", {"fire_at": fire_at, "timezone": zone}) == [expected]


def test_dtstart_is_taken_as_the_wall_clock_of_the_zone() -> None:
    params = {"dtstart": "2026-07-01T07:00:00Z", "freq": "DAILY", "timezone": "Europe/Berlin"}

    # 09:00 in Berlin, in winter as in summer.
    assert after("rrule", params, 1) == [datetime(2026, 11, 22, 8, tzinfo=UTC)]


def test_nothing_fires_outside_start_and_end() -> None:
    limits = {"start_at": "2026-11-22T00:00:00Z", "end_at": "2026-11-22T00:00:20Z"}

    assert after("cron", {"expression": "*/10 * * * * *", **limits}, 9) == [
        datetime(2026, 11, 22, 0, 0, second, tzinfo=UTC) for second in (0, 10, 20)
    ]
    assert [due.second for due in after("interval", {"interval": 10, **limits}, 9)] == [3, 13]
    assert after("datetime", {"fire_at": "2026-11-22T00:00:21Z", **limits}) == []


def test_search_begins_at_start_at_however_far_that_is() -> None:
    params = {"expression": "0 0 0 1 1 *", "start_at": "2050-06-01T00:00:00Z"}

    assert after("cron", params, 1) == [datetime(2051, 1, 1, tzinfo=UTC)]


def test_search_ends_after_five_years() -> None:
    assert after("cron", {"expression": "0 0 0 1 1 * 2031"}) == [datetime(2031, 1, 1, tzinfo=UTC)]
    assert after("cron", {"expression": "0 0 0 1 1 * 2032"}) == []


def test_calendar_has_an_end() -> None:
    last = datetime(9990, 12, 31, 12, tzinfo=UTC)

    assert len(after("interval", {"interval": 365_000, "unit": "days"}, 99)) == 7
    assert after("cron", {"expression": "@hourly"}, moment=last + timedelta(days=1)) == []
    assert len(after("cron", {"expression": "@hourly"}, 99, last)) == 11


def test_defaults_and_options() -> None:
    plan = read("interval", {"interval": 2})
    assert (plan.timezone, plan.misfire, plan.misfire_grace_seconds, plan.misfire_limit, plan.dst_policy) == (
        "UTC", "skip", 30, 100, "shift",
    )  # fmt: skip
    assert read("datetime", {"fire_at": "2026-12-24T18:00:00Z"}).misfire == "once"
    assert read("cron", {"expression": "@daily", "misfire": "all", "misfire_limit": 7}).misfire_limit == 7


@pytest.mark.parametrize(
    ("kind", "params", "problem"),
    [
        ("interval", {}, "interval: is required"),
        ("interval", {"interval": 0}, "interval: must be at least 1"),
        ("interval", {"interval": -5}, "interval: must be at least 1"),
        ("interval", {"interval": True}, "interval: must be a whole number"),
        ("interval", {"interval": 1.5}, "interval: must be a whole number"),
        ("interval", {"interval": "{{ 5 }}"}, "interval: must be a whole number"),
        ("interval", {"interval": 1, "unit": "weeks"}, "unit: must be one of seconds, minutes, hours, days"),
        ("interval", {"interval": 10**9, "unit": "days"}, "interval: is longer than a thousand years"),
        ("interval", {"interval": 10**300}, "interval: is longer than a thousand years"),
        ("cron", {}, "expression: is required"),
        ("cron", {"expression": 5}, "expression: must be a text"),
        ("cron", {"expression": "@daily", "timezone": "Europe/Bonn"}, "timezone: is not the name of a time zone"),
        ("cron", {"expression": "@daily", "timezone": "../../etc/passwd"}, "timezone: is not the name"),
        ("cron", {"expression": "@daily", "misfire": "never"}, "misfire: must be one of"),
        ("cron", {"expression": "@daily", "misfire_limit": 1001}, "misfire_limit: must be from 1 to 1000"),
        ("cron", {"expression": "@daily", "misfire_grace_seconds": 0}, "misfire_grace_seconds: must be from 1"),
        ("cron", {"expression": "@daily", "dst_policy": "ignore"}, "dst_policy: must be one of"),
        ("cron", {"expression": "@daily", "start_at": "2026-01-01T00:00:00"}, "start_at: needs an offset"),
        ("cron", {"expression": "@daily", "end_at": "tomorrow"}, "end_at: must be a time of RFC 3339"),
        (
            "cron",
            {"expression": "@daily", "start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-01T00:00:00Z"},
            "end_at: is before start_at",
        ),
        ("datetime", {}, "fire_at: is required"),
        ("datetime", {"fire_at": "2026-02-30T00:00:00Z"}, "fire_at: must be a time of RFC 3339"),
        ("datetime", {"fire_at": "2026-01-01"}, "fire_at: must be a time of RFC 3339"),
        ("datetime", {"fire_at": "2026-01-01T24:00:00Z"}, "fire_at: must be a time of RFC 3339"),
        ("datetime", {"fire_at": "2026-01-01T00:00:00+24:00"}, "fire_at: must be a time of RFC 3339"),
        ("datetime", {"fire_at": "9999-12-31T23:59:59Z"}, "fire_at: must lie in the years 1900 to 9990"),
        ("datetime", {"fire_at": "0001-01-01T00:00:00+23:00"}, "fire_at: must lie in the years 1900 to 9990"),
        ("rrule", {"freq": "DAILY"}, "dtstart: is required"),
        ("rrule", {"dtstart": "2026-01-01T00:00:00Z"}, "freq: is required"),
        ("rrule", {"dtstart": "2026-01-01T00:00:00Z", "rule": "FREQ=NEVER", "freq": "DAILY"}, "rule: FREQ: must be"),
    ],
)
def test_setting_that_cannot_be_used_is_named(kind: str, params: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        read(kind, params)

    assert str(raised.value).startswith(problem)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("cron", "0 30 9 * * mon-fri", "0 30 25 * * *"),
        ("rrule", "FREQ=WEEKLY;BYDAY=MO", "FREQ=WEEKLY;BYDAY=XX"),
        ("rrule-until", "20261231T080000Z", "20261331"),
        ("time-zone", "America/New_York", "America/new_york"),
        ("local-date-time", "2026-03-01T09:00:00", "2026-03-01 9 o'clock"),
    ],
)
def test_formats_of_schemas(name: str, good: str, bad: str) -> None:
    holds = {found: check for found, check, _words in FORMATS}[name]

    assert (holds(good), holds(bad)) == (True, False)
