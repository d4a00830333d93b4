"""What expressions of a workflow read of tasks that have ended (workflows.md 6.5)."""

from typing import Any

import pytest

from apps.workflows.definition.parsing import parse
from apps.workflows.engine.dry_run import dry_run
from apps.workflows.engine.memory import Surroundings

RESULTS = {"a": {"result": {"data": {"x": 1}, "x": 2}}, "own": {"result": {"result": "mine"}}}
A = {"data": {"x": 1}, "x": 2}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ task.a }}", A),
        ("{{ task.a.result }}", A),
        ("{{ tasks['a']['result'].data.x }}", 1),
        ("{{ task.a.result.result.x }}", 2),
        ("{{ task.a == task.a.result }}", True),
        ("{{ keys(task.a) }}", ["data", "x"]),
        ("{{ 'result' in task.a }}", False),
        ("{{ task.own.result }}", "mine"),
        ("{{ task.block }}", {"c": {"n": 3}, "d": None}),
        ("{{ task.block.result.c.n }}", 3),
        ("{{ task.d }}", None),
        ("{{ task.late is defined }}", False),
    ],
)
def test_task_is_its_view_and_result_the_same_again(template: str, value: Any) -> None:
    block = {
        "name": "block",
        "type": "parallel",
        "tasks": [{"name": "c", "action": "t.do"}, {"name": "d", "action": "t.do", "when": "false"}],
    }
    others = [{"name": name, "action": "t.do"} for name in ("a", "own")]
    late = {"name": "late", "action": "t.do", "next": [{"do": "late"}]}
    graph = parse({"tasks": [*others, block, late], "output_map": {"out": template}})

    paper = dry_run(graph, Surroundings(), {**RESULTS, "c": {"result": {"n": 3}}})

    assert paper["result"]["out"] == value


@pytest.mark.parametrize(
    ("when", "place"),
    [
        ("result().nix", "line 1, column 1"),
        ("{{ result().nix }}", "line 1, column 4"),
        ("{{ 1 }}\n{{ result().nix }}", "line 2, column 4"),
    ],
)
def test_condition_that_cannot_be_evaluated_names_the_place_in_its_text(when: str, place: str) -> None:
    graph = parse({"tasks": [{"name": "a", "action": "t.do", "next": [{"when": when}]}]})

    paper = dry_run(graph, Surroundings(), {})

    (transition,) = paper["steps"][0]["transitions"]
    assert (transition["fired"], transition["error"]) == (True, f"'result().nix' is undefined ({place})")
