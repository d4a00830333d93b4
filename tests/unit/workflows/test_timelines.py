"""The axis and the bars of a run's timeline."""

from datetime import UTC, datetime, timedelta

import pytest

from apps.workflows.admin.runs_timeline import Span, ticks

START = datetime(2026, 1, 1, tzinfo=UTC)


def span(seconds: float) -> Span:
    return Span(start=START, end=START + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (0.001, ["0 s"]),
        (0.3, ["0 s", "0.05 s", "0.1 s", "0.15 s", "0.2 s", "0.25 s"]),
        (25, ["0 s", "5 s", "10 s", "15 s", "20 s"]),
        (400, ["0 s", "1 min", "2 min", "3 min", "4 min", "5 min", "6 min"]),
        (3 * 3600 + 60, ["0 s", "30 min", "1 h", "1 h 30 min", "2 h", "2 h 30 min"]),
        (86400 * 30, ["0 s", "4 d", "8 d", "12 d", "16 d", "20 d", "24 d", "28 d"]),
    ],
)
def test_axis_has_a_handful_of_round_times(seconds: float, labels: list[str]) -> None:
    assert [tick.label for tick in ticks(seconds)] == labels


def test_bar_is_a_share_of_the_time() -> None:
    bar = span(100).bar(START + timedelta(seconds=20), START + timedelta(seconds=70), tone="good", title="x")

    assert (bar.x, bar.width) == (20, 50)


@pytest.mark.parametrize("seconds", [-5, 0, 100, 105])
def test_bar_of_no_time_is_still_seen_and_inside(seconds: float) -> None:
    moment = START + timedelta(seconds=seconds)

    bar = span(100).bar(moment, moment, tone="good", title="x")

    assert bar.x >= 0
    assert bar.width > 0
    assert bar.x + bar.width <= 100.001
