"""What may stand in a queue's config, and how it is read."""

from typing import Any

import pytest

from apps.queues.config import QueueConfig, Tunable, config_problems, count_of, read_config

WHOLE = {
    "dispatch": {
        "concurrency": {"source": "literal", "value": 2},
        "batch_size": {"source": "pack_config", "path": "mail.batch", "fallback": 10},
        "retry_limit": 3,
        "inter_execution_delay_seconds": 5,
        "coalescing": {"enabled": True, "group_by_path": "customer.id", "across_priorities": False},
    },
    "ack_contract": {"version": 1},
}


def test_the_config_of_the_contract() -> None:
    assert config_problems(WHOLE, batch=True) == []
    assert read_config(WHOLE) == QueueConfig(
        concurrency=Tunable(source="literal", value=2),
        batch_size=Tunable(source="pack_config", path="mail.batch", fallback=10),
        retry_limit=3,
        delay_seconds=5.0,
        coalescing=True,
        group_by_path="customer.id",
    )


def test_an_empty_config() -> None:
    assert config_problems({}, batch=False) == []
    assert read_config({}) == QueueConfig()


def test_null_means_not_given() -> None:
    settings = {"dispatch": {"concurrency": {"source": "literal", "value": 2, "path": None}, "batch_size": None}}

    assert config_problems(settings, batch=False) == []
    assert read_config(settings).concurrency == Tunable(source="literal", value=2)


@pytest.mark.parametrize("config", [None, [], "text", {"dispatch": 5}, {"dispatch": {"retry_limit": "many"}}])
def test_what_sql_made_bad_counts_as_empty(config: Any) -> None:
    assert read_config(config) == QueueConfig()


@pytest.mark.parametrize("name", ["batch_size", "coalescing"])
def test_batches_need_the_batch_mode(name: str) -> None:
    config = {"dispatch": {name: WHOLE["dispatch"][name]}}

    assert config_problems(config, batch=True) == []
    assert config_problems(config, batch=False) == [f"config.dispatch.{name} is allowed only with batch_mode 'batch'"]


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"speed": 1}, "config.speed is unknown; known are dispatch, ack_contract"),
        ({"dispatch": []}, "config.dispatch must be an object"),
        ({"dispatch": {"retries": 1}}, "config.dispatch.retries is unknown; known are concurrency, batch_size, "
         "retry_limit, inter_execution_delay_seconds, coalescing"),
        ({"dispatch": {"retry_limit": -1}}, "config.dispatch.retry_limit must be a whole number from 0 to 1000000"),
        ({"dispatch": {"retry_limit": True}}, "config.dispatch.retry_limit must be a whole number from 0 to 1000000"),
        ({"dispatch": {"inter_execution_delay_seconds": "5"}},
         "config.dispatch.inter_execution_delay_seconds must be a number from 0 to 86400"),
        ({"dispatch": {"concurrency": 2}}, "config.dispatch.concurrency must be an object"),
        ({"dispatch": {"concurrency": {"value": 2}}}, "config.dispatch.concurrency.source is required"),
        ({"dispatch": {"concurrency": {"source": "env", "value": 2}}},
         "config.dispatch.concurrency.source must be one of literal, pack_config, keystore"),
        ({"dispatch": {"concurrency": {"source": "literal"}}},
         "config.dispatch.concurrency.value is required with source 'literal'"),
        ({"dispatch": {"concurrency": {"source": "pack_config"}}},
         "config.dispatch.concurrency.path is required with source 'pack_config'"),
        ({"dispatch": {"concurrency": {"source": "keystore", "path": "x"}}},
         "config.dispatch.concurrency.key_ref is required with source 'keystore'"),
        ({"dispatch": {"concurrency": {"source": "literal", "value": 0}}},
         "config.dispatch.concurrency.value must be a whole number from 1 to 10000"),
        ({"dispatch": {"concurrency": {"source": "literal", "value": 1, "unit": "x"}}},
         "config.dispatch.concurrency.unit is unknown; known are source, value, path, key_ref, fallback"),
        ({"dispatch": {"coalescing": {"enabled": "yes"}}}, "config.dispatch.coalescing.enabled must be true or false"),
        ({"dispatch": {"coalescing": {"by": "x"}}},
         "config.dispatch.coalescing.by is unknown; known are enabled, group_by_path, across_priorities"),
        ({"ack_contract": {"version": 2}}, "config.ack_contract.version must be 1"),
        ({"ack_contract": {"strict": True}}, "config.ack_contract.strict is unknown; known are version"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(config: dict[str, Any], problem: str) -> None:
    assert config_problems(config, batch=True) == [problem]


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1), (10_000, 10_000), ("7", 7), (" 7 ", 7), (0, None), (10_001, None), (True, None), (2.0, None), ("x", None),
     (None, None), ({}, None), ("٣", None), ("9" * 30, None)],
)  # fmt: skip
def test_count_of(value: Any, number: int | None) -> None:
    assert count_of(value) == number
