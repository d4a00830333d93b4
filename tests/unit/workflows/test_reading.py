from typing import Any

import pytest

from apps.workflows.definition.reading import (
    condition_expressions,
    reads_of,
    reads_of_condition,
    tasks_read,
    variables_read,
)


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"a": "{{ task.build.image }}", "b": ["{{ tasks['test'].x }}"]}, {"build", "test"}),
        ("{{ task }}", None),
        ("{{ task[parameters.name] }}", None),
        ("{{ task[task.a.b].c }}", None),
        ("{{ tasks | length }}", None),
        ("{{ get(task, 'a.b') }}", None),
        ("{{ workflow.task }} task.b", set()),
        ("{{ ( }}", set()),
        (7, set()),
    ],
)
def test_tasks_read(document: Any, expected: set[str] | None) -> None:
    assert tasks_read(document) == expected


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ("{{ workflow.a ~ vars.b ~ variables['c'] ~ d }}", {"a", "b", "c", "d"}),
        ("{{ workflow }}", None),
        ("{{ workflow[parameters.x] }}", None),
        ("{{ parameters.x ~ config.y ~ system.z ~ task.a ~ result().b }}", set()),
        ("{{ item.x }}", {"item"}),
        ({"a": {"b": ["{{ xs[0] }}"]}}, {"xs"}),
    ],
)
def test_variables_read(document: Any, expected: set[str] | None) -> None:
    assert variables_read(document) == expected


def test_functions_and_roots_read() -> None:
    reads = reads_of("{{ result().x if succeeded() else parameters.y }}")

    assert (reads.functions, reads.roots) == ({"result", "succeeded"}, {"parameters"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a and b", [("a and b", 0)]),
        (" {{ a }} ", [(" a ", 3)]),
        ("{{ a }}{{ b }}", [(" a ", 2), (" b ", 9)]),
        ("x is {{ a }}", [(" a ", 7)]),
        ("{'k': {'l': 1}}.k", [("{'k': {'l': 1}}.k", 0)]),
        ("not (", [("not (", 0)]),
        ("", [("", 0)]),
    ],
)
def test_expressions_of_a_condition(text: str, expected: list[tuple[str, int]]) -> None:
    assert condition_expressions(text) == expected


def test_condition_reads() -> None:
    assert reads_of_condition("task.a.ok and limit > 3").tasks == {"a"}
    assert reads_of_condition("{{ task.a }}/{{ limit }}").variables == {"limit"}
