"""Recurrence rules: dateutil as oracle, and the searches it would not end."""

# ruff: noqa: DTZ001  # local times: a schedule on the wall clock knows no zone

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule as dateutil
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from apps.events.schedules.errors import InvalidSchedule, SearchTooLong
from apps.events.schedules.rrule import RecurrenceTimes
from apps.events.schedules.rrule_parts import FREQUENCIES, Parts, read_rule, read_settings

UTC = ZoneInfo("UTC")
DTSTART = datetime(2021, 5, 17, 9, 30, 15)
NOW = datetime(2026, 11, 21, 11, 2, 3)
FIVE_YEARS = timedelta(days=1830)


def ours(parts: Parts, dtstart: datetime, after: datetime | None = None) -> Iterator[datetime]:
    times = RecurrenceTimes(parts, dtstart)
    found: datetime | None = after or dtstart - timedelta(seconds=1)
    while found is not None and (found := times.next_after(found, found + FIVE_YEARS)) is not None:
        yield found


def theirs(rule: str, dtstart: datetime) -> Iterator[datetime]:
    return iter(dateutil.rrulestr(rule, dtstart=dtstart))


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=DAILY;COUNT=10",
        "FREQ=DAILY;INTERVAL=3;BYHOUR=8,20",
        "FREQ=WEEKLY;BYDAY=MO,WE,FR",
        "FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,SU",
        "FREQ=WEEKLY;INTERVAL=2;WKST=MO;BYDAY=TU,SU",
        "FREQ=MONTHLY;BYDAY=-1FR",
        "FREQ=MONTHLY;BYDAY=2TU,-1SU",
        "FREQ=MONTHLY;BYMONTHDAY=-1,15",
        "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
        "FREQ=MONTHLY;INTERVAL=18;BYMONTHDAY=10,11,12",
        "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
        "FREQ=MONTHLY;BYMONTHDAY=31",
        "FREQ=YEARLY",
        "FREQ=YEARLY;BYMONTH=6,7",
        "FREQ=YEARLY;BYDAY=20MO",
        "FREQ=YEARLY;BYDAY=-1TH;BYMONTH=11",
        "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
        "FREQ=YEARLY;BYWEEKNO=1,27",
        "FREQ=YEARLY;BYWEEKNO=-1;WKST=SU",
        "FREQ=YEARLY;BYYEARDAY=1,100,200,-1",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
        "FREQ=HOURLY;INTERVAL=5",
        "FREQ=HOURLY;BYHOUR=9,10;BYMINUTE=0,30",
        "FREQ=HOURLY;BYMINUTE=5,15,25;BYSETPOS=2",
        "FREQ=MINUTELY;INTERVAL=90",
        "FREQ=MINUTELY;INTERVAL=20;BYHOUR=9,10,11,12,13,14,15,16",
        "FREQ=MINUTELY;BYSECOND=1,2,3;BYSETPOS=-1",
        "FREQ=SECONDLY;INTERVAL=86399",
        "FREQ=SECONDLY;BYHOUR=3;BYMINUTE=0;BYSECOND=7,9",
        "FREQ=DAILY;UNTIL=20210601T093015",
        "RRULE:FREQ=DAILY;UNTIL=20210601T093014;BYDAY=SA,SU",
    ],
)
def test_times_are_dateutils(rule: str) -> None:
    found = list(islice(ours(read_rule(rule, UTC), DTSTART), 60))

    assert found
    assert found == list(islice(theirs(rule, DTSTART), len(found) if "COUNT" not in rule else None))


def _some(low: int, high: int, most: int = 4) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=1, max_size=most, unique=True)


WEEKDAY = st.sampled_from(["MO", "TU", "WE", "TH", "FR", "SA", "SU"])


@st.composite
def rules(draw: st.DrawFn) -> str:
    freq = draw(st.sampled_from(FREQUENCIES))
    parts: dict[str, Any] = {"FREQ": freq}
    if draw(st.booleans()):
        parts["INTERVAL"] = draw(st.integers(1, 100))
    if draw(st.booleans()):
        parts["BYDAY"] = draw(st.lists(WEEKDAY, min_size=1, max_size=4, unique=True))
        if freq in ("MONTHLY", "YEARLY") and draw(st.booleans()):
            places = draw(_some(1, 4, 2))
            parts["BYDAY"] = [f"{draw(st.sampled_from(['', '-']))}{n}{draw(WEEKDAY)}" for n in places]
    for name, numbers in {
        "BYMONTH": _some(1, 12),
        "BYMONTHDAY": st.lists(st.sampled_from([*range(1, 32), *range(-31, 0)]), min_size=1, max_size=6),
        "BYHOUR": _some(0, 23),
        "BYMINUTE": _some(0, 59),
        "BYSECOND": _some(0, 59),
    }.items():
        if draw(st.integers(0, 3)) == 0:
            parts[name] = draw(numbers)
    if freq == "YEARLY" and draw(st.integers(0, 3)) == 0:
        parts["BYYEARDAY"] = draw(st.lists(st.sampled_from([*range(1, 367), *range(-366, 0)]), min_size=1, max_size=9))
    if freq == "YEARLY" and "BYDAY" not in parts and draw(st.integers(0, 3)) == 0:
        parts["BYWEEKNO"] = draw(st.lists(st.sampled_from([*range(1, 52), *range(-51, 0)]), min_size=1, max_size=5))
    if draw(st.integers(0, 4)) == 0:
        parts["BYSETPOS"] = draw(st.lists(st.sampled_from([*range(1, 9), *range(-8, 0)]), min_size=1, max_size=3))
    if draw(st.booleans()):
        parts["WKST"] = draw(WEEKDAY)
    return ";".join(f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}" for k, v in parts.items())


@settings(max_examples=120, deadline=None)
@given(
    rule=rules(),
    dtstart=st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(lambda t: t.replace(microsecond=0)),
)
def test_any_rule_has_dateutils_times(rule: str, dtstart: datetime) -> None:
    try:
        found = list(islice(ours(read_rule(rule, UTC), dtstart), 12))
    except SearchTooLong:
        found = []
    assume(found)  # dateutil walks to the year 9999 for what never matches

    assert found == list(islice(theirs(rule, dtstart), len(found)))


@settings(max_examples=50, deadline=None)
@given(rule=rules(), later=st.integers(1, 40_000_000), count=st.integers(1, 500))
def test_a_search_from_later_finds_the_same(rule: str, later: int, count: int) -> None:
    parts = read_rule(f"{rule};COUNT={count}", UTC)
    after = DTSTART + timedelta(seconds=later)
    try:
        from_the_start = list(islice(ours(parts, DTSTART), 600))
        # Only what lies within 5 years of the one before is found at all.
        assume(from_the_start and len(from_the_start) == count)
        found = list(islice(ours(parts, DTSTART, after), 5))
    except SearchTooLong:
        assume(False)

    assert found == [moment for moment in from_the_start if moment > after][:5]


@pytest.mark.parametrize("week", [1, 2, 51, 52, 53])
def test_weeks_are_those_of_iso(week: int) -> None:
    # dateutil takes the first days of 2022, in week 52 of 2021, for week 53: it uses the length of the wrong year.
    dtstart, end = datetime(2000, 1, 1), datetime(2030, 12, 31)
    times = RecurrenceTimes(read_rule(f"FREQ=YEARLY;BYWEEKNO={week}", UTC), dtstart)
    found, moment = set(), times.next_after(dtstart - timedelta(seconds=1), end)
    while moment is not None:
        found.add(moment)
        moment = times.next_after(moment, end)
    days = (dtstart + timedelta(days=number) for number in range((end - dtstart).days + 1))

    assert found == {day for day in days if day.isocalendar().week == week}


def test_weekdays_with_and_without_a_place_are_alternatives() -> None:
    # dateutil wants both at once, which never is.
    found = list(islice(ours(read_rule("FREQ=MONTHLY;BYDAY=SU,1WE", UTC), datetime(2026, 4, 1, 8)), 3))

    assert found == [datetime(2026, 4, 1, 8), datetime(2026, 4, 5, 8), datetime(2026, 4, 12, 8)]


ALL_HOURS = "BYHOUR=" + ",".join(map(str, range(24)))
ALL_MINUTES = "BYMINUTE=" + ",".join(map(str, range(60)))
ALL_SECONDS = "BYSECOND=" + ",".join(map(str, range(60)))
ALL_DAYS = "BYYEARDAY=" + ",".join(map(str, range(1, 367)))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", None),
        ("FREQ=SECONDLY", datetime(2026, 11, 21, 11, 2, 4)),
        ("FREQ=SECONDLY;INTERVAL=1000000000", None),
        ("FREQ=SECONDLY;INTERVAL=999999999999999999", None),
        ("FREQ=YEARLY;INTERVAL=999999999999999999", None),
        ("FREQ=SECONDLY;COUNT=999999999999999999", datetime(2026, 11, 21, 11, 2, 4)),
        ("FREQ=SECONDLY;COUNT=1000", None),
        ("FREQ=MINUTELY;BYHOUR=9,10;COUNT=100000000", datetime(2026, 11, 22, 9, 0)),
        ("FREQ=DAILY;COUNT=1000000", datetime(2026, 11, 22)),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", None),
        ("FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6", None),
        ("FREQ=SECONDLY;BYSECOND=60", None),
        (f"FREQ=YEARLY;{ALL_HOURS};{ALL_MINUTES};{ALL_SECONDS};{ALL_DAYS}", datetime(2026, 11, 21, 11, 2, 4)),
        (f"FREQ=YEARLY;BYSETPOS=-1;{ALL_HOURS};{ALL_MINUTES};{ALL_SECONDS};{ALL_DAYS}", datetime(2026, 12, 31, 23, 59, 59)),
        (f"FREQ=SECONDLY;INTERVAL=2;{ALL_MINUTES};BYSECOND=1,3,5,7,9", None),
    ],
)  # fmt: skip
def test_hostile_rules_since_1970_are_answered_within_a_second(rule: str, expected: datetime | None) -> None:
    times = RecurrenceTimes(read_rule(rule, UTC), datetime(1970, 1, 1))
    began = time.thread_time()

    try:
        found = times.next_after(NOW, NOW + FIVE_YEARS)
    except SearchTooLong:
        found = None

    assert found == expected
    assert time.thread_time() - began < 2  # of its own: how busy the machine is does not count


def test_parts_as_settings_are_the_rule_they_spell() -> None:
    params = {
        "freq": "monthly", "interval": 2.0, "count": 5, "by_day": ["MO", "-1FR"], "by_month_day": [1, -1],
        "by_hour": 9, "by_set_pos": [1], "week_start": "SU", "by_month": None,
    }  # fmt: skip
    rule = "FREQ=MONTHLY;INTERVAL=2;COUNT=5;BYDAY=MO,-1FR;BYMONTHDAY=1,-1;BYHOUR=9;BYSETPOS=1;WKST=SU"

    assert read_settings(params, UTC) == read_rule(rule, UTC)


def test_until_is_a_moment_in_the_zone_when_it_says_so() -> None:
    berlin = ZoneInfo("Europe/Berlin")

    assert read_rule("FREQ=DAILY;UNTIL=20260701T080000Z", berlin).until == datetime(2026, 7, 1, 10)
    assert read_rule("FREQ=DAILY;UNTIL=20260701T080000", berlin).until == datetime(2026, 7, 1, 8)
    assert read_rule("FREQ=DAILY;UNTIL=20260701", berlin).until == datetime(2026, 7, 1)
    assert read_settings({"freq": "DAILY", "until": "2026-07-01T08:00:00Z"}, berlin).until == datetime(2026, 7, 1, 10)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("", "rule: must be the parts of an RRULE"),
        ("INTERVAL=2", "rule: FREQ: is required"),
        ("FREQ=FORTNIGHTLY", "rule: FREQ: must be one of"),
        ("FREQ=DAILY;INTERVAL=0", "rule: INTERVAL: must be at least 1"),
        ("FREQ=DAILY;INTERVAL=x", "rule: INTERVAL: must be a whole number"),
        ("FREQ=DAILY;COUNT=1;UNTIL=20260101", "rule: UNTIL: cannot be given together with count"),
        ("FREQ=DAILY;UNTIL=20261301", "rule: UNTIL: is no date"),
        ("FREQ=DAILY;UNTIL=soon", "rule: UNTIL: must be a time"),
        ("FREQ=DAILY;UNTIL=99991231", "rule: UNTIL: must lie in the years"),
        ("FREQ=DAILY;BYHOUR=24", "rule: BYHOUR: must be numbers from 0 to 23"),
        ("FREQ=DAILY;BYHOUR=", "rule: BYHOUR: must be numbers"),
        ("FREQ=DAILY;BYMONTHDAY=0", "rule: BYMONTHDAY: must be numbers from 1 to 31 or -31 to -1"),
        ("FREQ=DAILY;BYDAY=XX", "rule: BYDAY: must be weekdays"),
        ("FREQ=DAILY;BYDAY=0MO", "rule: BYDAY: must be weekdays"),
        ("FREQ=DAILY;BYDAY=54MO", "rule: BYDAY: must be weekdays"),
        ("FREQ=DAILY;FREQ=DAILY", "rule: FREQ is given twice"),
        ("FREQ=DAILY;BYEASTER=1", "rule: must be the parts of an RRULE"),
        ("DTSTART:20260101T000000\nRRULE:FREQ=DAILY", "rule: DTSTART is given as the setting dtstart"),
        ("FREQ=DAILY;DTSTART=20260101", "rule: DTSTART is given as the setting dtstart"),
        ("FREQ=DAILY;BYHOUR=" + "9" * 5000, "rule: BYHOUR: must be numbers"),
        ("FREQ=DAILY;" + "X" * 10_000, "rule: must have at most"),
    ],
)
def test_rule_that_cannot_be_read_says_which_part(rule: str, problem: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        read_rule(rule, UTC)

    assert str(raised.value).startswith(problem)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "freq"),
        ({"freq": 7}, "freq"),
        ({"freq": "DAILY", "interval": True}, "interval"),
        ({"freq": "DAILY", "count": 1, "until": "20260101"}, "until"),
        ({"freq": "DAILY", "by_day": "MON"}, "by_day"),
        ({"freq": "DAILY", "by_day": []}, "by_day"),
        ({"freq": "DAILY", "by_month": [13]}, "by_month"),
        ({"freq": "DAILY", "by_month": ["1"]}, "by_month"),
        ({"freq": "DAILY", "by_set_pos": [0]}, "by_set_pos"),
        ({"freq": "DAILY", "week_start": "Monday"}, "week_start"),
    ],
)
def test_setting_that_cannot_be_read_is_named(params: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSchedule) as raised:
        read_settings(params, UTC)

    assert raised.value.field == field


def test_thousand_values_are_no_trouble() -> None:
    params = {"freq": "SECONDLY", "by_hour": [9] * 1000, "by_minute": [30] * 1000, "by_second": [0] * 1000}
    times = RecurrenceTimes(read_settings(params, UTC), datetime(1970, 1, 1))

    assert times.next_after(NOW, NOW + FIVE_YEARS) == datetime(2026, 11, 22, 9, 30)
