"""Clock changes (events.md 9.4): both zones, both changes, each policy."""

from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.events.schedules import zones
from apps.events.schedules.plan import read

SHIFTED, SKIPPED, REPEATED = "dst_shifted", "dst_skipped", "dst_repeated"


def dues(kind: str, start: str, number: int, **params: object) -> list[tuple[str, str | None]]:
    """Return the next due times as (UTC, note)."""
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    found = islice(read(kind, params).dues_after(moment, moment), number)
    return [(f"{due.at:%m-%dT%H:%M}", due.note) for due in found]


# zone, local time, day before the change (UTC), policy -> what is due: (UTC, note)
TABLE = [
    # Berlin: on 2026-03-29 at 02:00 the clock goes to 03:00 (01:00 UTC); on 2026-10-25 at 03:00 back to 02:00 (01:00 UTC)
    ("Europe/Berlin", "0 30 2", "2026-03-28T12:00", "shift", [("03-29T01:00", SHIFTED), ("03-30T00:30", None)]),
    ("Europe/Berlin", "0 30 2", "2026-03-28T12:00", "skip", [("03-29T01:00", SKIPPED), ("03-30T00:30", None)]),
    ("Europe/Berlin", "0 30 2", "2026-03-28T12:00", "both", [("03-29T01:00", SHIFTED), ("03-30T00:30", None)]),
    ("Europe/Berlin", "0 30 2", "2026-10-24T12:00", "shift", [("10-25T00:30", None), ("10-26T01:30", None)]),
    ("Europe/Berlin", "0 30 2", "2026-10-24T12:00", "skip", [("10-25T00:30", None), ("10-26T01:30", None)]),
    ("Europe/Berlin", "0 30 2", "2026-10-24T12:00", "both", [("10-25T00:30", None), ("10-25T01:30", REPEATED)]),
    # New York: on 2026-03-08 at 02:00 to 03:00 (07:00 UTC); on 2026-11-01 at 02:00 back to 01:00 (06:00 UTC)
    ("America/New_York", "0 30 2", "2026-03-07T12:00", "shift", [("03-08T07:00", SHIFTED), ("03-09T06:30", None)]),
    ("America/New_York", "0 30 2", "2026-03-07T12:00", "skip", [("03-08T07:00", SKIPPED), ("03-09T06:30", None)]),
    ("America/New_York", "0 30 2", "2026-03-07T12:00", "both", [("03-08T07:00", SHIFTED), ("03-09T06:30", None)]),
    ("America/New_York", "0 30 2", "2026-10-31T12:00", "shift", [("11-01T07:30", None), ("11-02T07:30", None)]),
    ("America/New_York", "0 30 2", "2026-10-31T12:00", "both", [("11-01T07:30", None), ("11-02T07:30", None)]),
    ("America/New_York", "0 30 1", "2026-10-31T12:00", "shift", [("11-01T05:30", None), ("11-02T06:30", None)]),
    ("America/New_York", "0 30 1", "2026-10-31T12:00", "skip", [("11-01T05:30", None), ("11-02T06:30", None)]),
    ("America/New_York", "0 30 1", "2026-10-31T12:00", "both", [("11-01T05:30", None), ("11-01T06:30", REPEATED)]),
]


@pytest.mark.parametrize(("zone", "clock", "start", "policy", "expected"), TABLE)
def test_cron_at_a_clock_change(
    zone: str, clock: str, start: str, policy: str, expected: list[tuple[str, str | None]]
) -> None:
    assert dues("cron", start, 2, expression=f"{clock} * * *", timezone=zone, dst_policy=policy) == expected


@pytest.mark.parametrize(("zone", "clock", "start", "policy", "expected"), TABLE)
def test_rrule_at_a_clock_change(
    zone: str, clock: str, start: str, policy: str, expected: list[tuple[str, str | None]]
) -> None:
    _second, minute, hour = clock.split()
    rule = f"FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}"

    assert (
        dues("rrule", start, 2, dtstart="2026-01-01T00:00:00", rule=rule, timezone=zone, dst_policy=policy) == expected
    )


def test_several_times_shifted_to_one_moment_fire_once() -> None:
    found = dues("cron", "2026-03-29T00:40", 3, expression="0 */15 1,2,3 * * *", timezone="Europe/Berlin")

    assert found == [("03-29T00:45", None), ("03-29T01:00", None), ("03-29T01:15", None)]


def test_skipped_times_do_not_hide_one_that_is_due_at_the_change_itself() -> None:
    params = {"expression": "0 0,30 2,3 * * *", "timezone": "Europe/Berlin", "dst_policy": "skip"}

    assert dues("cron", "2026-03-29T00:00", 2, **params) == [("03-29T01:00", None), ("03-29T01:30", None)]


def test_several_times_come_again_in_order_with_both() -> None:
    params = {"expression": "0 0,30 2 * * *", "timezone": "Europe/Berlin", "dst_policy": "both"}

    assert dues("cron", "2026-10-25T00:00", 4, **params) == [
        ("10-25T00:30", None),
        ("10-25T01:00", REPEATED),
        ("10-25T01:30", REPEATED),
        ("10-26T01:00", None),
    ]


@pytest.mark.parametrize("policy", ["shift", "skip", "both"])
@pytest.mark.parametrize("start", ["2026-03-28T22:00", "2026-10-24T22:00"])
def test_hours_that_begin_with_a_star_follow_elapsed_time(policy: str, start: str) -> None:
    params = {"expression": "0 */10 * * * *", "timezone": "Europe/Berlin", "dst_policy": policy}
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)

    found = list(islice(read("cron", params).dues_after(moment, moment), 40))

    assert [due.at for due in found] == [moment + timedelta(minutes=10 * n) for n in range(1, 41)]
    assert {due.note for due in found} == {None}


def test_seconds_that_come_twice_are_passed_over_at_once() -> None:
    params = {"dtstart": "2026-01-01T00:00:00", "rule": "FREQ=SECONDLY", "timezone": "Europe/Berlin"}
    plan, last = read("rrule", params), datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC)

    assert plan.next_after(last, last) == datetime(2026, 10, 25, 2, tzinfo=UTC)


def test_half_hour_change_and_a_day_that_never_was() -> None:
    # Lord Howe goes back by half an hour; Samoa left out 2011-12-30.
    lord_howe = dues(
        "cron", "2026-04-04T12:00", 2, expression="0 45 1 * * *", timezone="Australia/Lord_Howe", dst_policy="both"
    )
    samoa = dues("cron", "2011-12-29T20:00", 2, expression="0 0 9 * * *", timezone="Pacific/Apia")

    assert lord_howe == [("04-04T14:45", None), ("04-04T15:15", REPEATED)]
    assert samoa == [("12-30T10:00", SHIFTED), ("12-30T19:00", None)]


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "America/St_Johns", "UTC"]


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    policy=st.sampled_from(["shift", "both", "skip"]),
    hours=st.lists(st.integers(0, 23), min_size=1, max_size=6, unique=True),
    minutes=st.lists(st.integers(0, 59), min_size=1, max_size=4, unique=True),
    day=st.integers(0, 3 * 365),
)
def test_due_times_are_those_of_a_walk_minute_by_minute(
    zone: str, policy: str, hours: list[int], minutes: list[int], day: int
) -> None:
    """Within 3 days: every minute of UTC whose local time matches, and the changes that leave a match out."""
    expression = f"0 {','.join(map(str, minutes))} {','.join(map(str, hours))} * * *"
    plan = read("cron", {"expression": expression, "timezone": zone, "dst_policy": policy})
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day)
    end = start + timedelta(days=3)
    expected, seen = set(), set()
    info = zones.read_zone(zone)
    # Local times before the start may come again after it.
    seen.update(zones.to_local(start - timedelta(minutes=n), info) for n in range(180))
    before = zones.to_local(start, info)
    moment = start
    while (moment := moment + timedelta(minutes=1)) <= end:
        local = zones.to_local(moment, info)
        if local.hour in hours and local.minute in minutes and (policy == "both" or local not in seen):
            expected.add(moment)
        left_out = before + timedelta(minutes=1)
        while left_out < local and policy != "skip":
            if left_out.hour in hours and left_out.minute in minutes:
                expected.add(moment)
            left_out += timedelta(minutes=1)
        seen.add(local)
        before = local

    found = set()
    for due in plan.dues_after(start, start):
        if due.at > end:
            break
        found |= {due.at} if due.fires else set()

    assert found == expected
