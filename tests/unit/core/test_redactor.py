"""Secrets in texts and JSON values."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.redaction import Redactor

REDACTOR = Redactor(["hunter22", "12345678", "s3cret"])


def test_text_is_returned_as_it_is_when_nothing_is_in_it() -> None:
    text = "nothing to see, \ud800 nor here"

    assert REDACTOR.redact_text(text) is text


def test_text_loses_secrets() -> None:
    assert REDACTOR.redact_text("äö hunter22, aHVudGVyMjI= and s3cret/hunter22€") == "äö ***, *** and ***/***€"


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("hunter22", "***"),
        (["a", ["hunter22"]], ["a", ["***"]]),
        ({"a": {"b": "x hunter22"}}, {"a": {"b": "x ***"}}),
        ({"hunter22": 1}, {"***": 1}),
        ({"hunter22": 1, "s3cret": 2, "***": 3}, {"***": 1, "*** (2)": 2, "*** (3)": 3}),
        (12345678, "***"),
        (-12345678.5, "***"),
        (1234567, 1234567),
        (10**4000, 10**4000),
        (float("inf"), float("inf")),
        ([True, None, 1.5], [True, None, 1.5]),
        (("hunter22",), ["***"]),
    ],
)
def test_value_loses_secrets(value: Any, clean: Any) -> None:
    assert REDACTOR.redact_json(value) == clean


def test_given_value_is_not_changed() -> None:
    value = {"a": ["hunter22", {"hunter22": 1}]}
    before = copy.deepcopy(value)

    REDACTOR.redact_json(value)

    assert value == before


def test_deep_value_is_walked_without_recursion() -> None:
    value: Any = "hunter22"
    for number in range(50_000):
        value = [value] if number % 2 else {"a": value}

    clean = REDACTOR.redact_json(value)

    while not isinstance(clean, str):
        clean = clean[0] if isinstance(clean, list) else clean["a"]
    assert clean == "***"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 999) | st.text(max_size=3),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    )
)
def test_value_without_secrets_stays_the_same(value: Any) -> None:
    assert REDACTOR.redact_json(value) == value


def test_without_secrets_everything_passes() -> None:
    redactor = Redactor([])
    stream = redactor.stream()

    assert not redactor
    assert redactor.redact_json({"a": "hunter22"}) == {"a": "hunter22"}
    assert stream.feed(b"hunter22") + stream.flush() == b"hunter22"


def test_secrets_are_not_in_the_representation() -> None:
    REDACTOR.redact_text("hunter22")
    stream = REDACTOR.stream()
    stream.feed(b"hunter22")

    assert "hunter" not in repr(REDACTOR) + repr(stream)
