"""Cron expressions: croniter as oracle over 10 years, what it does not do, and what cannot be read."""

# ruff: noqa: DTZ001  # local times: a schedule on the wall clock knows no zone

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import pytest
from croniter import CroniterBadDateError, croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.events.schedules.cron import CronTimes
from apps.events.schedules.errors import InvalidSchedule

START = datetime(2023, 3, 7, 11, 2, 3)
TEN_YEARS = timedelta(days=3653)


def ours(expression: str, start: datetime, end: datetime) -> Iterator[datetime]:
    times = CronTimes(expression)
    found: datetime | None = start
    while found is not None and (found := times.next_after(found, end)) is not None:
        yield found


def theirs(expression: str, start: datetime, end: datetime) -> Iterator[datetime]:
    iterator = croniter(expression, start, ret_type=datetime, second_at_beginning=True, max_years_between_matches=50)
    try:
        while (found := iterator.get_next()) <= end:
            yield found
    except CroniterBadDateError:
        return


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 9 * * 1-5",
        "0 30 2 * * *",
        "0 0 0 1 * *",
        "0 0 0 29 2 *",
        "0 0 0 L * *",
        "0 0 0 15,L * *",
        "0 15 10 * * mon#2",
        "0 15 10 * * fri#5",
        "0 0 12 * jan-mar,dec sun",
        "0 0 0 31 * *",
        "0 0 0 13 * fri",
        "0 0 0 1-7 6 0",
        "0 0 6,18 */10 * *",
        "0 0 0 * * 7",
        "0 0 0 * * 5-7",
        "0 0 0 * nov-feb *",
        "5 4 3 2 1 * 2025,2027-2029",
        "0 0 0 1 1 ? 2026/2",
        "30 59 23 31 12 *",
        "0 0 22-3 * * sat",
        "30 6 * * *",
        "0 9 1 * 1",
        "@yearly",
        "@monthly",
        "@weekly",
        "@daily",
    ],
)
def test_times_of_ten_years_are_croniters(expression: str) -> None:
    end = START + TEN_YEARS

    assert list(ours(expression, START, end)) == list(theirs(expression, START, end))


@pytest.mark.parametrize(
    "expression",
    [
        "*/5 * * * * *",
        "0,15,30,45 * * * * *",
        "* * * * * *",
        "*/7 */11 */5 * * *",
        "0 */10 * * * *",
        "*/15 9-17 * * 1-5",
    ],
)
@pytest.mark.parametrize("start", [START, START + timedelta(days=1234, seconds=56789), datetime(2031, 12, 31, 23, 59)])
def test_frequent_times_are_croniters(expression: str, start: datetime) -> None:
    end = start + TEN_YEARS

    assert list(islice(ours(expression, start, end), 1000)) == list(islice(theirs(expression, start, end), 1000))


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    item = st.one_of(
        number.map(str),
        st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}"),
        st.tuples(number, number, st.integers(1, 9)).map(lambda t: f"{min(t[:2])}-{max(t[:2])}/{t[2]}"),
        st.integers(1, high).map(lambda step: f"*/{step}"),
    )
    return st.one_of(st.just("*"), st.lists(item, min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(_field(0, 59), _field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(0, 6)).map(
    " ".join
)


@settings(max_examples=150, deadline=None)
@given(expression=EXPRESSIONS, start=st.datetimes(datetime(2000, 1, 1), datetime(2080, 1, 1)))
def test_any_expression_has_croniters_times(expression: str, start: datetime) -> None:
    end = start + TEN_YEARS

    assert list(islice(ours(expression, start, end), 20)) == list(islice(theirs(expression, start, end), 20))


def test_either_day_field_may_match_beside_a_place_in_the_month() -> None:
    # croniter takes both together here: only a first that is a second Monday.
    found = list(islice(ours("0 0 0 1 * mon#2", datetime(2026, 11, 2), datetime(2027, 2, 1)), 4))

    assert found == [datetime(2026, 11, 9), datetime(2026, 12, 1), datetime(2026, 12, 14), datetime(2027, 1, 1)]


def test_question_mark_is_a_star_in_every_field() -> None:
    assert list(islice(ours("0 0 0 ? ? ?", START, START + TEN_YEARS), 2)) == [
        datetime(2023, 3, 8),
        datetime(2023, 3, 9),
    ]


def test_times_lie_after_the_moment_and_not_beyond_the_end() -> None:
    times = CronTimes("0 0 9 * * *")

    assert times.next_after(datetime(2026, 1, 1, 9), datetime(2026, 1, 2, 9)) == datetime(2026, 1, 2, 9)
    assert times.next_after(datetime(2026, 1, 1, 9), datetime(2026, 1, 2, 8, 59, 59)) is None
    assert times.next_after(datetime(2026, 1, 1, 8, 59, 59, 999999), datetime(2026, 1, 2)) == datetime(2026, 1, 1, 9)


@pytest.mark.parametrize("expression", ["0 0 0 30 2 *", "0 0 0 31 4,6 *", "0 0 0 1 1 * 2020"])
def test_expression_that_never_matches_is_read_and_has_no_time(expression: str) -> None:
    assert CronTimes(expression).next_after(START, START + TEN_YEARS) is None


@pytest.mark.parametrize(
    ("expression", "culprit"),
    [
        ("60 * * * * *", "second"),
        ("0 60 * * * *", "minute"),
        ("* * 24 * * *", "hour"),
        ("0 0 0 0 * *", "day-of-month"),
        ("0 0 0 32 * *", "day-of-month"),
        ("0 0 0 1 13 *", "month"),
        ("0 0 0 * * 8", "day-of-week"),
        ("0 0 0 * * mon#6", "day-of-week"),
        ("0 0 0 * * funday", "day-of-week"),
        ("0 0 0 * * * 1066", "year"),
        ("*/0 * * * * *", "second"),
        ("0 0 r * * *", "hour"),
        ("0 0 R(1-5) * * *", "hour"),
        ("0 0 h * * *", "hour"),
        ("0 0 0 15W * *", "day-of-month"),
        ("0 0 0 LW * *", "day-of-month"),
        ("0 -1 0 * * *", "minute"),
        ("0 1- 0 * * *", "minute"),
        ("0 ٣ * * * *", "minute"),
        ("0 " + "9" * 300 + " * * * *", "minute"),
    ],
)
def test_field_that_cannot_be_read_is_named(expression: str, culprit: str) -> None:
    with pytest.raises(InvalidSchedule, match=f"^expression: the field {culprit} cannot be read"):
        CronTimes(expression)


@pytest.mark.parametrize("expression", ["* * * *", "1 2 3 4 5 6 2026 8", "hello", "@reboot", "*" * 501, "{{ x }}"])
def test_other_texts_are_refused(expression: str) -> None:
    with pytest.raises(InvalidSchedule, match=r"^expression: "):
        CronTimes(expression)


@settings(max_examples=500, deadline=None)
@given(st.text("0123456789*/,-?#LlWwhr monjan@", max_size=40))
def test_no_text_does_worse_than_being_refused(expression: str) -> None:
    try:
        times = CronTimes(expression)
    except InvalidSchedule:
        return
    times.next_after(START, START + timedelta(days=366))
