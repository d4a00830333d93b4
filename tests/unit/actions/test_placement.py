"""Selectors, tolerations and affinity."""

import pytest

from apps.actions.placement import check_placement

TERM = {"match_labels": {"zone": "eu"}, "match_expressions": [{"key": "disk", "operator": "in", "values": ["ssd"]}]}


@pytest.mark.parametrize(
    ("selector", "tolerations", "affinity"),
    [
        (None, None, None),
        ({}, [], {}),
        (
            {"zone": "eu"},
            [{"key": "gpu"}, {"key": "gpu", "operator": "equal", "value": "a", "effect": "no_schedule"},
             {"key": "x", "operator": "exists", "value": None, "effect": None}],
            {"required": [TERM], "preferred": [{"weight": 100, "preference": TERM}], "anti_affinity": [TERM, {}]},
        ),
        ({}, [], {"required": [{"match_expressions": [{"key": "a", "operator": "exists"}]}], "preferred": None}),
    ],
)  # fmt: skip
def test_well_formed(selector, tolerations, affinity):
    assert check_placement(selector, tolerations, affinity) == []


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ([], "worker_selector must be an object of labels"),
        ("zone=eu", "worker_selector must be an object of labels"),
        ({"zone": ["eu"]}, "worker_selector.zone must be a text"),
        ({"": "x"}, "worker_selector has a label without a name"),
    ],
)
def test_malformed_selectors(selector, problem):
    assert check_placement(selector, None, None) == [problem]


@pytest.mark.parametrize(
    ("tolerations", "problem"),
    [
        ({}, "worker_tolerations must be a list"),
        (["gpu"], "worker_tolerations[0] must be an object with a key"),
        ([{}], "worker_tolerations[0].key must be a text"),
        ([{"key": "a", "operator": "Equal"}], "worker_tolerations[0].operator must be one of equal, exists"),
        ([{"key": "a", "effect": "NoSchedule"}],
         "worker_tolerations[0].effect must be one of no_schedule, prefer_no_schedule"),
        ([{"key": "a", "value": []}], "worker_tolerations[0].value must be a text"),
        ([{"key": "a", "keys": 1}], "worker_tolerations[0] has no key 'keys'"),
    ],
)  # fmt: skip
def test_malformed_tolerations(tolerations, problem):
    assert check_placement(None, tolerations, None) == [problem]


@pytest.mark.parametrize(
    ("affinity", "problem"),
    [
        ([], "worker_affinity must be an object"),
        ({"requires": []}, "worker_affinity has no key 'requires'"),
        ({"required": {}}, "worker_affinity.required must be a list"),
        ({"required": ["zone"]}, "worker_affinity.required[0] must be an object with match_labels or match_expressions"),
        ({"required": [{"labels": {}}]}, "worker_affinity.required[0] has no key 'labels'"),
        ({"anti_affinity": [{"match_labels": []}]},
         "worker_affinity.anti_affinity[0].match_labels must be an object of labels"),
        ({"preferred": [{"preference": {}}]}, "worker_affinity.preferred[0].weight must be a whole number from 1 to 100"),
        ({"preferred": [{"weight": 101, "preference": {}}]},
         "worker_affinity.preferred[0].weight must be a whole number from 1 to 100"),
        ({"preferred": [{"weight": 1}]},
         "worker_affinity.preferred[0].preference must be an object with match_labels or match_expressions"),
        ({"required": [{"match_expressions": {}}]}, "worker_affinity.required[0].match_expressions must be a list"),
        ({"required": [{"match_expressions": [{"key": "a", "operator": "In", "values": ["x"]}]}]},
         "worker_affinity.required[0].match_expressions[0].operator must be one of in, not_in, exists, does_not_exist"),
        ({"required": [{"match_expressions": [{"key": "a", "operator": "in"}]}]},
         "worker_affinity.required[0].match_expressions[0].values must not be empty"),
        ({"required": [{"match_expressions": [{"operator": "exists"}]}]},
         "worker_affinity.required[0].match_expressions[0].key must be a text"),
    ],
)  # fmt: skip
def test_malformed_affinity(affinity, problem):
    assert check_placement(None, None, affinity) == [problem]
