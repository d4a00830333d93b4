"""Merge patches and groups."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.queues.merging import group_key, merge_patch


# Appendix A of RFC 7396.
@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Any, patch: Any, merged: Any) -> None:
    assert merge_patch(target, patch) == merged


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(_JSON, _JSON)
def test_a_patch_twice_changes_no_more_than_once(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)

    assert merge_patch(once, patch) == once


@given(_JSON)
def test_an_empty_patch_keeps_an_object(target: Any) -> None:
    assert merge_patch(target, {}) == (target if isinstance(target, dict) else {})


@pytest.mark.parametrize(
    ("payload", "path", "key"),
    [
        ({"customer": {"id": 7}}, "customer.id", "7"),
        ({"customer": {"id": "7"}}, "customer.id", '"7"'),
        ({"customer": {}}, "customer.id", "null"),
        ({"customer": {"id": None}}, "customer.id", "null"),
        ("text", "customer.id", "null"),
        ({"tags": ["a", "b"]}, "tags.1", '"b"'),
        ({"a": {"y": 1, "x": 2}}, "a", '{"x":2,"y":1}'),
        ({"a": {"y": 1, "x": [2.0, 2.5]}}, "a", '{"x":[2,2.5],"y":1}'),
        ({"a": 1.0}, "a", "1"),
        ({"a": True}, "a", "true"),
        ({"a": 1}, None, "null"),
    ],
)
def test_group_key(payload: Any, path: str | None, key: str) -> None:
    assert group_key(payload, path) == key


def test_a_long_group_key_fits_into_an_index() -> None:
    first, second = group_key({"a": "x" * 10_000}, "a"), group_key({"a": "x" * 9_999}, "a")

    assert first != second
    assert first.startswith("sha256:")
    assert len(first) == 71
