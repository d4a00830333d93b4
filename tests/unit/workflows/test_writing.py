from typing import Any

import yaml
from hypothesis import given

from apps.workflows.definition.writing import in_usual_order, yaml_text
from tests.unit.workflows.test_parsing import ANY_JSON


def test_keys_in_usual_order() -> None:
    task = {"next": [{"do": ["b"], "when": "x"}], "x": 1, "action": "core.noop", "name": "a"}

    assert yaml_text(in_usual_order({"tasks": [task], "vars": {"b": 1, "a": 2}, "version": "1.0.0"})) == (
        "version: 1.0.0\nvars:\n  b: 1\n  a: 2\ntasks:\n- name: a\n  action: core.noop\n"
        "  next:\n  - when: x\n    do:\n    - b\n  x: 1\n"
    )


@given(ANY_JSON)
def test_order_changes_nothing_else(tasks: Any) -> None:
    definition = {"tasks": [tasks], "next": tasks}

    assert in_usual_order(definition) == definition
    assert in_usual_order(tasks) == tasks or tasks != tasks


def test_the_same_value_twice_is_written_twice() -> None:
    shared = {"a": 1}

    assert yaml.safe_load(yaml_text([shared, shared])) == [shared, shared]
    assert "&" not in yaml_text([shared, shared])
