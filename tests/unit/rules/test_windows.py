"""Dedupe, aggregate, throttle (events.md section 6), on the store of the back-test."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from apps.rules.windows import LONGEST_KEY, Entry, Group, MemoryWindows, Passage, Windows, kept_key, pass_windows

START = datetime(2030, 1, 1, tzinfo=UTC)


class Matches:
    """Matches of one rule, at chosen seconds."""

    def __init__(self, **settings: Any) -> None:
        self.windows = Windows(**settings)
        self.store = MemoryWindows()
        self.count = 0

    def at(self, second: float, key: str = "", *, seconds_old: float = 0) -> Passage:
        self.count += 1
        moment = START + timedelta(seconds=second)
        return pass_windows(
            self.windows,
            rule_id=1,
            entry=Entry(at=moment, event_id=self.count),
            created=moment - timedelta(seconds=seconds_old),
            store=self.store,
            render_key=lambda _template: key,
        )

    def outcomes(self, *seconds: float) -> list[str | None]:
        return [self.at(second).outcome for second in seconds]


def test_dedupe_drops_what_comes_too_soon_after_an_accepted_one() -> None:
    matches = Matches(dedupe={"key": "k", "window_seconds": 10})

    assert matches.outcomes(0, 5, 9.9, 10, 15) == [None, "deduplicated", "deduplicated", None, "deduplicated"]


def test_dedupe_that_extends_is_silent_until_it_is_quiet() -> None:
    matches = Matches(dedupe={"key": "k", "window_seconds": 10, "extend": True})

    assert matches.outcomes(0, 8, 16, 24, 34) == [None, "deduplicated", "deduplicated", "deduplicated", None]


def test_dedupe_tells_keys_apart_and_says_until_when() -> None:
    matches = Matches(dedupe={"key": "k", "window_seconds": 10})
    matches.at(0, "a")

    assert matches.at(1, "b").outcome is None
    dropped = matches.at(2, "a")
    assert (dropped.outcome, dropped.key) == ("deduplicated", "a")
    assert dropped.reason is not None
    assert dropped.reason.endswith("until 2030-01-01T00:00:10.000Z")


def test_aggregate_fires_with_the_last_of_its_number_and_starts_at_zero() -> None:
    matches = Matches(aggregate={"count": 3, "window_seconds": 10, "key": "k"})

    assert matches.outcomes(0, 1) == ["aggregating", "aggregating"]
    fired = matches.at(2)
    assert fired.outcome is None
    assert fired.aggregated is not None
    assert (fired.aggregated.count, fired.aggregated.event_ids) == (3, (1, 2, 3))
    assert (fired.aggregated.first_created, fired.aggregated.last_created) == (START, START + timedelta(seconds=2))
    assert matches.outcomes(3, 4, 5) == ["aggregating", "aggregating", None]


def test_aggregate_shows_when_its_events_were_created() -> None:
    matches = Matches(aggregate={"count": 3, "window_seconds": 10})

    matches.at(5, seconds_old=1)
    matches.at(6, seconds_old=0.5)
    aggregated = matches.at(7, seconds_old=2).aggregated  # created before the second and counted after it

    assert aggregated is not None
    assert aggregated.event_ids == (1, 2, 3)
    assert (aggregated.first_created, aggregated.last_created) == (
        START + timedelta(seconds=4), START + timedelta(seconds=5.5),
    )  # fmt: skip


def test_aggregate_forgets_what_is_older_than_its_window() -> None:
    matches = Matches(aggregate={"count": 3, "window_seconds": 10})

    assert matches.outcomes(0, 9, 11, 12) == ["aggregating", "aggregating", "aggregating", None]


def test_aggregate_says_until_when_its_first_event_counts() -> None:
    matches = Matches(aggregate={"count": 3, "window_seconds": 10})

    reasons = [matches.at(second).reason for second in (0, 9, 11)]

    assert reasons == [
        "1 of 3 events within 10 s so far; the first of them counts until 2030-01-01T00:00:10.000Z",
        "2 of 3 events within 10 s so far; the first of them counts until 2030-01-01T00:00:10.000Z",
        "2 of 3 events within 10 s so far; the first of them counts until 2030-01-01T00:00:19.000Z",
    ]


def test_throttle_drops_above_its_rate() -> None:
    matches = Matches(throttle={"max": 2, "window_seconds": 10})

    assert matches.outcomes(0, 1, 2, 9.9, 10.5, 10.6, 11.5) == [
        None, None, "throttled", "throttled", None, "throttled", None,
    ]  # fmt: skip


def test_throttle_delays_so_that_the_rate_holds() -> None:
    matches = Matches(throttle={"max": 1, "window_seconds": 10, "on_limit": "delay", "max_delayed": 2})

    passages = [matches.at(second) for second in (0, 1, 2, 3)]

    assert [passage.outcome for passage in passages] == [None, "delayed", "delayed", "throttled"]
    assert [passage.not_before for passage in passages[1:3]] == [
        START + timedelta(seconds=10), START + timedelta(seconds=20),
    ]  # fmt: skip


def test_throttle_says_from_when_on_it_delays_again() -> None:
    matches = Matches(throttle={"max": 1, "window_seconds": 10, "on_limit": "delay", "max_delayed": 2})
    matches.outcomes(0, 1, 2)

    reason = matches.at(3).reason

    assert reason is not None
    assert reason.endswith("2 executions are delayed already; the next one is taken from 2030-01-01T00:00:10.000Z on")
    assert matches.outcomes(9.9, 10) == ["throttled", "delayed"]


def test_throttle_that_delays_none_says_when_the_next_one_passes() -> None:
    matches = Matches(throttle={"max": 1, "window_seconds": 10, "on_limit": "delay", "max_delayed": 0})
    matches.at(0)

    reason = matches.at(1).reason

    assert reason is not None
    assert reason.endswith("from 2030-01-01T00:00:10.000Z on")
    assert matches.outcomes(10) == [None]


def test_windows_act_in_their_order() -> None:
    matches = Matches(
        dedupe={"key": "k", "window_seconds": 5},
        aggregate={"count": 2, "window_seconds": 100},
        throttle={"max": 1, "window_seconds": 1000},
    )

    assert matches.outcomes(0, 1, 6, 12, 18) == ["aggregating", "deduplicated", None, "aggregating", "throttled"]


@given(
    seconds=st.lists(st.floats(0, 100), max_size=60).map(sorted),
    most=st.integers(1, 5),
    window_seconds=st.integers(1, 30),
    on_limit=st.sampled_from(["drop", "delay"]),
)
def test_throttle_never_lets_more_pass_than_it_says(
    seconds: list[float], most: int, window_seconds: int, on_limit: str
) -> None:
    matches = Matches(throttle={"max": most, "window_seconds": window_seconds, "on_limit": on_limit})

    passed = []
    for second in seconds:
        passage = matches.at(second)
        if not passage.held_back:
            passed.append(passage.not_before or START + timedelta(seconds=second))

    span = timedelta(seconds=window_seconds)
    assert all(later - earlier >= span - timedelta(milliseconds=1) for earlier, later in _apart(sorted(passed), most))


def _apart(moments: list[datetime], distance: int) -> list[tuple[datetime, datetime]]:
    return list(zip(moments, moments[distance:], strict=False))


@given(seconds=st.lists(st.floats(0, 100), min_size=2, max_size=60).map(sorted), window_seconds=st.integers(1, 30))
def test_accepted_ones_lie_a_window_apart(seconds: list[float], window_seconds: int) -> None:
    matches = Matches(dedupe={"key": "k", "window_seconds": window_seconds})

    accepted = [second for second in seconds if matches.at(second).outcome is None]

    assert all(later - earlier >= window_seconds - 0.001 for earlier, later in pairwise(accepted))


def test_long_keys_are_kept_by_their_digest() -> None:
    long, other = "x" * 5000, "x" * 4999 + "y"

    assert len(kept_key(long)) < LONGEST_KEY
    assert kept_key(long) != kept_key(other)
    assert Group(rule_id=1, kind="dedupe", key=long) != Group(rule_id=1, kind="dedupe", key=other)
    assert "\0" not in kept_key("a\0b")
