"""What becomes of due times that were missed (events.md 9.3)."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.events.schedules.misfire import MOST_COUNTED, Decision, decide
from apps.events.schedules.plan import read

ANCHOR = datetime(2026, 11, 21, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ANCHOR + timedelta(seconds=seconds)


def decided(now: datetime, *, kind: str = "interval", at_most: int = 1000, **params: Any) -> Decision:
    params = {"interval": 60, **params} if kind == "interval" else params
    plan = read(kind, params)
    first = plan.next_after(ANCHOR, ANCHOR)
    assert first is not None
    return decide(plan, anchor=ANCHOR, next_fire_at=first, now=now, at_most=at_most)


def fired(decision: Decision) -> list[tuple[datetime, bool, int | None]]:
    return [(firing.due_at, firing.misfire, firing.missed_count) for firing in decision.firings]


@pytest.mark.parametrize("misfire", ["skip", "once", "all"])
@pytest.mark.parametrize("late", [0, 0.2, 30])
def test_on_time_fires_as_usual(misfire: str, late: float) -> None:
    decision = decided(at(60 + late), misfire=misfire)

    assert fired(decision) == [(at(60), False, None)]
    assert (decision.next_fire_at, decision.dropped, decision.last_missed_at) == (at(120), 0, None)


# 60, 120, 180 and 240 s are over; with `now` at 241 the newest is on time, at 290 it is missed too
@pytest.mark.parametrize(
    ("misfire", "now", "expected", "dropped", "last_missed"),
    [
        ("skip", 241, [(240, False, None)], 3, 180),
        ("skip", 290, [], 4, 240),
        ("once", 241, [(180, True, 3), (240, False, None)], 2, 180),
        ("once", 290, [(240, True, 4)], 3, 240),
        ("all", 241, [(60, True, None), (120, True, None), (180, True, None), (240, False, None)], 0, 180),
        ("all", 290, [(60, True, None), (120, True, None), (180, True, None), (240, True, None)], 0, 240),
    ],
)
@pytest.mark.parametrize("kind", ["interval", "cron"])
def test_missed_times(
    kind: str, misfire: str, now: int, expected: list[tuple[int, bool, int | None]], dropped: int, last_missed: int
) -> None:
    params = {} if kind == "interval" else {"expression": "0 * * * * *"}

    decision = decided(at(now), kind=kind, misfire=misfire, **params)

    assert fired(decision) == [(at(due), made_up, count) for due, made_up, count in expected]
    assert (decision.next_fire_at, decision.dropped, decision.last_missed_at) == (at(300), dropped, at(last_missed))


def test_all_makes_up_the_newest_up_to_the_limit() -> None:
    decision = decided(at(6045), misfire="all", misfire_limit=3)

    assert fired(decision) == [(at(due), True, None) for due in (5880, 5940, 6000)]
    assert decision.dropped == 97


def test_a_long_backlog_is_taken_in_parts_and_each_time_once() -> None:
    params = {"interval": 1, "misfire": "all", "misfire_limit": 1000}
    plan, now = read("interval", params), at(5000.5)
    due, dropped, made_up = at(1), 0, []
    while due <= now:
        decision = decide(plan, anchor=ANCHOR, next_fire_at=due, now=now, at_most=50)
        assert len(decision.firings) <= 50
        assert decision.next_fire_at is not None
        made_up += [firing.due_at for firing in decision.firings]
        due, dropped = decision.next_fire_at, dropped + decision.dropped

    assert made_up == [at(second) for second in range(4000, 5001)]  # a thousand missed ones, and the one on time
    assert dropped == 3999


def test_grace_is_how_late_is_still_on_time() -> None:
    assert fired(decided(at(70), misfire_grace_seconds=9)) == []
    assert fired(decided(at(69), misfire_grace_seconds=9)) == [(at(60), False, None)]


@pytest.mark.parametrize(("misfire", "expected"), [(None, [(60, True, 1)]), ("skip", []), ("all", [(60, True, None)])])
def test_missed_one_shot(misfire: str | None, expected: list[tuple[int, bool, int | None]]) -> None:
    decision = decided(at(4000), kind="datetime", fire_at="2026-11-21T10:01:00Z", misfire=misfire)

    assert fired(decision) == [(at(due), made_up, count) for due, made_up, count in expected]
    assert decision.next_fire_at is None


def test_end_at_bounds_what_was_missed() -> None:
    decision = decided(at(4000), misfire="all", end_at="2026-11-21T10:02:30Z")

    assert fired(decision) == [(at(60), True, None), (at(120), True, None)]
    assert decision.next_fire_at is None


@pytest.mark.parametrize(
    "params",
    [
        {"kind": "interval", "interval": 1},
        {"kind": "cron", "expression": "* * * * * *"},
        {"kind": "cron", "expression": "* * 3 1 1 *"},
        {"kind": "rrule", "dtstart": "1970-01-01T00:00:00Z", "rule": "FREQ=SECONDLY"},
    ],
)
def test_years_of_standing_still_are_decided_at_once(params: dict[str, Any]) -> None:
    began = time.thread_time()
    decision = decided(at(4 * 365 * 86_400 + 0.5), misfire="all", **params)

    assert time.thread_time() - began < 2
    assert len(decision.firings) >= 100
    assert decision.dropped > MOST_COUNTED / 2
    assert decision.firings == tuple(sorted(decision.firings, key=lambda firing: firing.due_at))
