"""Which policies are about an action, and the groups they make."""

from typing import Any

import pytest

from apps.actions.policies.applying import Limit, LimitedAction, applying
from apps.actions.policies.groups import group_key, names_in, shown_key, stored_key
from apps.actions.policies.rules import limits_problem

PLAIN = LimitedAction(ref="lab.one", pack_ref="lab", semaphores=("db",), by_engine=False)
WORKFLOW = LimitedAction(ref="lab.flow", pack_ref="lab", semaphores=(), by_engine=True)


def limit(pk: int, **fields: Any) -> Limit:
    empty: dict[str, Any] = {
        "ref": f"lab.p{pk}", "action_ref": None, "pack_ref": None, "action_refs": (), "semaphore": None, "parameters": (),
        "cancels": False, "threshold": None, "max_executions": None, "window_seconds": None, "max_waiting": None,
    }  # fmt: skip
    return Limit(id=pk, **{**empty, **fields})


def applied(action: LimitedAction, *limits: Limit) -> dict[int, str]:
    return {one.limit.id: one.kinds for one in applying(limits, action)}


def test_most_specific_counts_for_each_kind() -> None:
    everything = limit(1, threshold=1, max_executions=1, window_seconds=1, max_waiting=1)
    of_pack = limit(2, pack_ref="lab", threshold=1, max_executions=1, window_seconds=1)
    of_action = limit(3, action_ref="lab.one", threshold=1)
    assert applied(PLAIN, everything, of_pack, of_action) == {1: "w", 2: "r", 3: "c"}


def test_all_of_the_same_level_count_and_shared_ones_besides() -> None:
    limits = [
        limit(1, action_ref="lab.one", threshold=1),
        limit(2, action_ref="lab.one", threshold=2, parameters=("a",)),
        limit(3, action_refs=("lab.one", "lab.two"), threshold=3),
        limit(4, semaphore="db", max_waiting=3),
        limit(5, semaphore="other", threshold=1),
        limit(6, action_ref="lab.two", threshold=1),
        limit(7, pack_ref="other", threshold=1),
    ]
    assert applied(PLAIN, *limits) == {1: "c", 2: "c", 3: "c", 4: "w"}


def test_what_engines_run_is_limited_by_its_own_name_only() -> None:
    limits = [
        limit(1, threshold=1),
        limit(2, pack_ref="lab", threshold=1),
        limit(3, action_ref="lab.flow", threshold=1),
        limit(4, action_refs=("lab.flow",), threshold=1),
    ]
    assert applied(WORKFLOW, *limits) == {3: "c", 4: "c"}


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": [1.0, {"b": 2.0}]}, {"a": [1, {"b": 2}]}, True),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, True),
        ({}, {"a": None}, True),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 0}, {"a": False}, False),
        ({"a": None}, {"a": ""}, False),
        ({"a": "null"}, {"a": None}, False),
        ({"a": "x" * 5000}, {"a": "x" * 5001}, False),
        ({"a": "\ud800" * 500}, {"a": "y" * 500}, False),
    ],
)
def test_values_make_groups(one: dict[str, Any], other: dict[str, Any], alike: bool) -> None:
    assert (group_key(["a"], one) == group_key(["a"], other)) is alike


def test_key_tells_the_names_and_hides_secrets() -> None:
    key = group_key(["b", "a", "b"], {"a": "s3cret", "b": "x" * 1000, "c": 1}, {"a"})
    assert names_in(key) == ["a", "b"]
    assert "s3cret" not in key
    assert len(key) < 500
    assert shown_key(key)["a"] == {"$attune_secret": True, "redacted": True}
    assert shown_key(key)["b"].startswith('"xxx')
    assert group_key([], {"a": 1}) == "{}"
    assert key != group_key(["a", "b"], {"a": "s3cret2", "b": "x" * 1000}, {"a"})


def test_stored_key_fits_an_index() -> None:
    long = group_key([f"{number}" * 100 for number in range(20)], {})
    assert len(stored_key(long)) < 100
    assert stored_key("{}") == "{}"


@pytest.mark.parametrize(
    ("limits", "fine"),
    [
        ({"threshold": 1}, True), ({"max_waiting": 1}, True), ({"max_executions": 1, "window_seconds": 1}, True),
        ({}, False), ({"max_executions": 1}, False), ({"threshold": 1, "window_seconds": 1}, False),
    ],
)  # fmt: skip
def test_limits_are_complete(limits: dict[str, int], fine: bool) -> None:
    assert (limits_problem(limits) is None) is fine
