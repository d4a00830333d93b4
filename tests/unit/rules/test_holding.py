"""What may stand in dedupe, aggregate and throttle."""

import pytest

from apps.rules.holding import holding_problems, without_nulls

WELL_FORMED = [
    ("dedupe", None),
    ("dedupe", {"key": "k", "window_seconds": 1}),
    ("dedupe", {"key": "{{ event.payload.host }}", "window_seconds": 604_800, "extend": True}),
    ("aggregate", {"count": 2, "window_seconds": 60}),
    ("aggregate", {"count": 10_000, "window_seconds": 60, "key": None}),
    ("throttle", {"max": 1, "window_seconds": 1}),
    ("throttle", {"max": 5, "window_seconds": 60, "key": "k", "on_limit": "delay", "max_delayed": 0}),
]
MALFORMED = [
    ("dedupe", [], ["dedupe"]),
    ("dedupe", {}, ["dedupe.key", "dedupe.window_seconds"]),
    ("dedupe", {"key": "", "window_seconds": 0}, ["dedupe.key", "dedupe.window_seconds"]),
    ("dedupe", {"key": "k", "window_seconds": 604_801}, ["dedupe.window_seconds"]),
    ("dedupe", {"key": "k", "window_seconds": 5.0}, ["dedupe.window_seconds"]),
    ("dedupe", {"key": "k", "window_seconds": True}, ["dedupe.window_seconds"]),
    ("dedupe", {"key": "k", "window_seconds": "5"}, ["dedupe.window_seconds"]),
    ("dedupe", {"key": 5, "window_seconds": 5, "extend": 1}, ["dedupe.key", "dedupe.extend"]),
    ("dedupe", {"key": "k", "window_second": 5}, ["dedupe.window_second", "dedupe.window_seconds"]),
    ("aggregate", {"count": 1, "window_seconds": 5}, ["aggregate.count"]),
    ("aggregate", {"count": 10_001, "window_seconds": 5}, ["aggregate.count"]),
    ("aggregate", {"window_seconds": 5, "key": "k" * 8193}, ["aggregate.count", "aggregate.key"]),
    ("throttle", {"max": 0, "window_seconds": 5}, ["throttle.max"]),
    ("throttle", {"max": 2**31, "window_seconds": 5}, ["throttle.max"]),
    ("throttle", {"max": 1, "window_seconds": 5, "on_limit": "wait"}, ["throttle.on_limit"]),
    ("throttle", {"max": 1, "window_seconds": 5, "on_limit": []}, ["throttle.on_limit"]),
    ("throttle", {"max": 1, "window_seconds": 5, "max_delayed": -1}, ["throttle.max_delayed"]),
]


@pytest.mark.parametrize("kind, settings", WELL_FORMED)
def test_well_formed_settings(kind, settings):
    assert holding_problems(kind, settings) == []


@pytest.mark.parametrize("kind, settings, fields", MALFORMED)
def test_malformed_settings_name_every_field(kind, settings, fields):
    assert sorted(field for field, _message in holding_problems(kind, settings)) == sorted(fields)


def test_a_null_member_means_the_same_as_none():
    assert without_nulls({"key": None, "max": 1}) == {"max": 1}
    assert without_nulls(None) is None
