"""Which worker fits what is demanded (execution.md section 4)."""

from typing import Any

import pytest

from apps.workers.fitness import Offer, misfit, read_capabilities, score


def offer(**fields: Any) -> Offer:
    defaults: dict[str, Any] = {
        "worker_id": 1,
        "name": "w",
        "role": "action",
        "is_active": True,
        "lease_valid": True,
        "cordoned": False,
        "draining": False,
        "slots": 10,
        "runtimes": {"shell": [], "python": ["3.11.7", "3.12.4"]},
        "labels": {"zone": "eu1", "disk": "ssd"},
        "taints": [],
    }
    return Offer(**{**defaults, **fields})


def demand(**fields: Any) -> dict[str, Any]:
    return {
        "runtime": ["shell"], "version": None, "required": {}, "selector": {}, "tolerations": [], "affinity": {}, **fields
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "offered", "expected"),
    [
        ({}, {}, None),
        ({"runtime": None}, {"runtimes": {}}, None),
        ({}, {"role": "sensor"}, "role"),
        ({}, {"role": "hybrid"}, None),
        ({"runtime": ["ruby"]}, {}, "runtime"),
        ({"runtime": ["python3", "python"]}, {}, None),
        ({"runtime": ["python"], "version": ">=3.12,<4.0"}, {}, None),
        ({"runtime": ["python"], "version": ">=3.13"}, {}, "runtime_version"),
        ({"required": {"Python": "*"}}, {}, None),
        ({"required": {"java": "*"}}, {}, "runtime"),
        ({"required": {"python": ">=4"}}, {}, "runtime_version"),
        ({"selector": {"zone": "eu1"}}, {}, None),
        ({"selector": {"zone": "us1"}}, {}, "selector"),
        ({"selector": {"gpu": "1"}}, {}, "selector"),
        ({}, {"taints": [{"key": "gpu", "effect": "no_schedule"}]}, "taint"),
        ({}, {"taints": [{"key": "gpu", "effect": "prefer_no_schedule"}]}, None),
        (
            {"tolerations": [{"key": "gpu", "operator": "exists"}]},
            {"taints": [{"key": "gpu", "value": "a", "effect": "no_schedule"}]},
            None,
        ),
        (
            {"tolerations": [{"key": "gpu", "value": "b"}]},
            {"taints": [{"key": "gpu", "value": "a", "effect": "no_schedule"}]},
            "taint",
        ),
        (
            {"tolerations": [{"key": "gpu", "operator": "exists", "effect": "prefer_no_schedule"}]},
            {"taints": [{"key": "gpu", "effect": "no_schedule"}]},
            "taint",
        ),
        ({"affinity": {"required": [{"match_labels": {"zone": "us1"}}, {"match_labels": {"disk": "ssd"}}]}}, {}, None),
        ({"affinity": {"required": [{"match_labels": {"zone": "us1"}}]}}, {}, "affinity"),
        ({"affinity": {"anti_affinity": [{"match_labels": {"zone": "eu1"}}]}}, {}, "affinity"),
        ({}, {"is_active": False}, "offline"),
        ({}, {"lease_valid": False}, "offline"),
        ({}, {"cordoned": True}, "cordoned"),
        ({}, {"draining": True}, "draining"),
    ],
)
def test_misfit_names_the_first_demand_that_is_not_met(
    wanted: dict[str, Any], offered: dict[str, Any], expected: str | None
) -> None:
    assert misfit(demand(**wanted), offer(**offered)) == expected


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ({"key": "zone", "operator": "in", "values": ["eu1", "eu2"]}, True),
        ({"key": "zone", "operator": "in", "values": ["us1"]}, False),
        ({"key": "gpu", "operator": "not_in", "values": ["a"]}, True),
        ({"key": "zone", "operator": "not_in", "values": ["eu1"]}, False),
        ({"key": "zone", "operator": "exists"}, True),
        ({"key": "gpu", "operator": "exists"}, False),
        ({"key": "gpu", "operator": "does_not_exist"}, True),
        ({"key": "zone", "operator": "no such operator"}, False),
    ],
)
def test_match_expressions(expression: dict[str, Any], holds: bool) -> None:
    wanted = demand(affinity={"required": [{"match_expressions": [expression]}]})

    assert (misfit(wanted, offer()) is None) is holds


def test_score_adds_the_weights_that_hold_and_puts_soft_taints_last() -> None:
    preferred = [
        {"weight": 30, "preference": {"match_labels": {"zone": "eu1"}}},
        {"weight": 50, "preference": {"match_labels": {"zone": "us1"}}},
        {"weight": 5, "preference": {"match_labels": {"disk": "ssd"}}},
    ]
    wanted = demand(affinity={"preferred": preferred})
    tainted = offer(taints=[{"key": "old", "effect": "prefer_no_schedule"}])

    assert score(wanted, offer()) == 35
    assert score(wanted, tainted) < score(demand(), offer(labels={}))


@pytest.mark.parametrize(
    "capabilities",
    [
        {"runtimes": ["Shell", "python"], "runtime_versions": {"python": ["3.12.4"]}},
        {"runtimes": [{"name": "shell"}, {"name": "Python", "versions": ["3.12.4"]}]},
    ],
)
def test_capabilities_are_read_in_both_forms(capabilities: dict[str, Any]) -> None:
    runtimes, labels, taints = read_capabilities(capabilities)

    assert (runtimes, labels, taints) == ({"shell": [], "python": ["3.12.4"]}, {}, [])
