"""What a process may say about its items, and what is understood of it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.queues.acknowledgement import STATUSES, Said, read_acknowledgement, status_after


def _ack(*items: Any, version: Any = 1) -> dict[str, Any]:
    return {"queue_ack": {"version": version, "items": list(items)}}


def test_every_item_is_named_once() -> None:
    result = _ack(
        {"id": 17, "status": "completed", "summary": "sent"}, {"id": 18, "status": "retry", "error": "mailbox busy"}
    )

    found = read_acknowledgement(result, [17, 18])

    assert found.error is None
    assert found.items == {
        17: Said(status="completed", summary="sent"),
        18: Said(status="retry", error="mailbox busy"),
    }


@pytest.mark.parametrize("result", [None, "text", [], {}, {"queue_ack": None}, {"data": _ack()}])
def test_a_missing_acknowledgement(result: Any) -> None:
    assert read_acknowledgement(result, [1]).error == "The result has no queue_ack"


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ({"queue_ack": []}, "it must be an object"),
        ({"queue_ack": {"items": []}}, "its version must be 1"),
        (_ack(version=2), "its version must be 1"),
        (_ack(version=True), "its version must be 1"),
        ({"queue_ack": {"version": 1}}, "its items must be a list"),
        ({"queue_ack": {"version": 1, "items": {"1": "completed"}}}, "its items must be a list"),
        (_ack(1), "every item must be an object with an id"),
        (_ack({"status": "completed"}), "every item must be an object with an id"),
        (_ack({"id": "1", "status": "completed"}), "every item must be an object with an id"),
        (_ack({"id": True, "status": "completed"}), "every item must be an object with an id"),
        (_ack({"id": 1}), "the status of item 1 must be one of completed, retry, failed, skipped"),
        (_ack({"id": 1, "status": "done"}), "the status of item 1 must be one of completed, retry, failed, skipped"),
        (_ack({"id": 1, "status": "cancelled"}), "the status of item 1 must be one of completed, retry, failed, skipped"),
        (_ack({"id": 1, "status": ["retry"]}), "the status of item 1 must be one of completed, retry, failed, skipped"),
        (_ack({"id": 1, "status": "retry", "error": 5}), "the error of item 1 must be a text"),
        (_ack({"id": 1, "status": "retry"}, {"id": 1, "status": "retry"}), "items named more than once: 1"),
        (_ack({"id": 1, "status": "retry"}, {"id": 9, "status": "retry"}), "items that were not leased: 9"),
        (_ack(), "no entry for items 1"),
    ],
)  # fmt: skip
def test_a_malformed_acknowledgement(result: Any, problem: str) -> None:
    found = read_acknowledgement(result, [1])

    assert (found.error, found.items) == (f"The queue_ack is not valid: {problem}", {})


def test_many_ids_are_not_all_named() -> None:
    assert read_acknowledgement(_ack(), range(100, 130)).error == (
        "The queue_ack is not valid: no entry for items 100, 101, 102, 103, 104, 105, 106, 107, 108, 109 and 20 more"
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
_ENTRY = st.fixed_dictionaries(
    {"id": st.integers(1, 4) | _JSON, "status": st.sampled_from([*STATUSES, "done"])},
    optional={"summary": _JSON, "error": st.none() | st.text(max_size=3) | st.integers()},
)


@given(
    st.fixed_dictionaries({"version": st.just(1) | _JSON, "items": st.lists(_ENTRY | _JSON, max_size=5) | _JSON})
    | _JSON,
    st.sets(st.integers(1, 4), min_size=1),
)
def test_either_each_leased_item_has_one_entry_or_there_is_an_error(given_ack: Any, leased: set[int]) -> None:
    found = read_acknowledgement({"queue_ack": given_ack}, leased)

    assert set(found.items) == (leased if found.error is None else set())
    assert all(said.status in STATUSES for said in found.items.values())


@pytest.mark.parametrize(
    ("said", "attempt_count", "retry_limit", "status"),
    [
        ("retry", 1, 0, "failed"),
        ("retry", 1, 1, "retry"),
        ("retry", 2, 1, "failed"),
        ("retry", 3, 3, "retry"),
        ("completed", 9, 0, "completed"),
        ("skipped", 9, 0, "skipped"),
        ("failed", 1, 5, "failed"),
    ],
)
def test_a_retry_beyond_the_limit_has_failed(said: str, attempt_count: int, retry_limit: int, status: str) -> None:
    assert status_after(said, attempt_count=attempt_count, retry_limit=retry_limit) == status
