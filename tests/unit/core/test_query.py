from datetime import UTC, datetime

import pytest

from apps.core.api import query
from apps.core.errors import BadRequest, NotFound


@pytest.mark.parametrize(
    ("value", "found"), [("true", True), ("TRUE", True), ("1", True), ("False", False), ("0", False)]
)
def test_boolean_takes_four_words_in_any_case(value, found):
    assert query.boolean({"x": value}, "x") is found


@pytest.mark.parametrize("value", ["yes", "2", "on", " true"])
def test_boolean_refuses_other_words(value):
    with pytest.raises(BadRequest):
        query.boolean({"x": value}, "x")


@pytest.mark.parametrize("value", ["abc", "1.5", "1e3", "٣", "0x10", "-", "--1", "-+1", "9" * 5000, " 1", "1_000"])
def test_integer_refuses_what_is_no_whole_number(value):
    with pytest.raises(BadRequest):
        query.integer({"x": value}, "x")


def test_integer_outside_of_64_bits_is_refused():
    with pytest.raises(BadRequest):
        query.integer({"x": str(2**63)}, "x")


def test_identifier_that_no_row_can_have_finds_nothing():
    assert query.identifier({"x": "9" * 30}, "x") == 0


def test_path_id_that_no_row_can_have_is_not_found():
    for value in ("0", "-1", str(2**63)):
        with pytest.raises(NotFound):
            query.path_id(value)


def test_path_id_that_is_no_number_is_a_bad_request():
    with pytest.raises(BadRequest):
        query.path_id("stats")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T13:00:00+01:00",
        "2026-01-31T13:00:00 01:00",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00",
        "2026-01-31T12:00:00.000Z",
        "2026-01-31t12:00:00z",
    ],
)
def test_moment_is_utc_when_it_has_no_offset(text):
    assert query.moment({"x": text}, "x") == datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_moment_of_a_day_is_its_midnight():
    assert query.moment({"x": "2026-01-31"}, "x") == datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        *("yesterday", "2026-02-30", "2026-13-01T00:00:00Z", "12:00", "0001-01-01T00:00:00+14:00", "1700000000"),
        *("2026-W05-6", "20260131", "20260131T120000Z", "2026-01-31T12"),
    ],
)
def test_moment_refuses_what_is_no_time(text):
    with pytest.raises(BadRequest):
        query.moment({"x": text}, "x")


def test_choices_of_a_comma_list():
    assert query.choices({"status": "running, failed"}, "status", ["running", "failed"]) == ["running", "failed"]
    with pytest.raises(BadRequest):
        query.choices({"status": "running,nonsense"}, "status", ["running", "failed"])


def test_absent_and_empty_values_are_none():
    assert query.integer({}, "x") is None
    assert query.moment({"x": ""}, "x") is None
