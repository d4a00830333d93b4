"""Reruns on a real worker: what failed is mended by hand, and only that runs again."""

from typing import Any

import pytest

from apps.executions.models import Execution
from apps.executions.states import Status
from tests.clients import signed_in
from tests.factories import make_action
from tests.workflow_runs import children_of, finished, make_workflow, start_workflow, tasks_of

pytestmark = pytest.mark.usefixtures("worker")

SECRET = "swordfish under water"
# Says what it was given, and fails unless it is told that all is well.
JUDGE = """python3 -c '
import json, sys
given = json.load(sys.stdin)
print(json.dumps({"x": given["x"]}))
sys.exit(given["ok"] != "yes")
'"""


def judge(**fields: Any) -> str:
    return make_action(entrypoint=JUDGE, output_format="json", parameter_format="json", **fields).ref


def rerun(execution: Execution, **body: Any) -> Execution:
    response = signed_in().post(f"/api/v1/executions/{execution.pk}/rerun", body, format="json")
    assert response.status_code == 201, response.json()
    return finished(Execution.objects.get(pk=response.json()["data"]["id"]))


def names_of(execution: Execution) -> list[str]:
    return sorted(child.workflow_task["task_name"] for child in children_of(execution))


def test_from_the_failed_task_with_other_inputs() -> None:
    action = judge(param_schema={"token": {"type": "string", "secret": True}, "x": {}, "ok": {}})
    ok = {"x": "{{ parameters.x }}", "ok": "yes"}
    nested = make_workflow([{"name": "deep", "action": action, "input": {"x": "deep", "ok": "{{ parameters.ok }}"}}])
    old = finished(
        start_workflow(
            make_workflow(
                [
                    {"name": "a", "action": action, "input": ok, "next": [
                        {"publish": [{"from_a": "{{ result().x }}", "t": "{{ parameters.token }}"}], "do": ["b", "n"]},
                    ]},
                    {"name": "b", "action": action, "next": [{"when": "{{ succeeded() }}", "do": ["j"]}],
                     "input": {"x": "{{ workflow.from_a }}", "ok": "no", "token": "{{ workflow.t }}"}},
                    {"name": "n", "action": nested.ref, "input": {"ok": "yes"}, "next": [{"do": ["j"]}]},
                    {"name": "j", "action": action, "join": "all",
                     "input": {"x": "{{ task.b.x ~ task.a.x }}", "ok": "yes"}},
                ],
                output_map={"x": "{{ task.j.x }}", "from_a": "{{ workflow.from_a }}"},
                param_schema={"token": {"type": "string", "secret": True}, "x": {"type": "string"}},
            ),
            x="first",
            token=SECRET,
        )
    )  # fmt: skip
    assert (old.status, names_of(old)) == (Status.FAILED, ["a", "b", "n"])

    new = rerun(old, inputs={"b": {"ok": "yes"}})

    assert (new.status, new.result) == (Status.COMPLETED, {"succeeded": True, "x": "firstfirst", "from_a": "first"})
    assert names_of(new) == ["b", "j"]
    assert tasks_of(new) == dict.fromkeys(["a", "n", "b", "j"], "completed")
    shown = signed_in().get(f"/api/v1/executions/{new.pk}/workflow").content.decode()
    rows = [str((each.config, each.result)) for each in (new, *children_of(new))]
    assert SECRET not in shown + "".join(rows)


def test_items_that_failed_and_a_cycle() -> None:
    each = judge()
    tasks = [
        {"name": "each", "action": each, "with_items": ["yes", "no", "yes"], "concurrency": 3,
         "input": {"x": "{{ index }}", "ok": "{{ item }}"}, "next": [{"when": "{{ succeeded() }}", "do": ["loop"]}]},
        {"name": "loop", "action": each, "input": {"x": "{{ system.iteration }}", "ok": "{{ parameters.ok }}"}, "next": [
            {"when": "{{ succeeded() and system.iteration < 2 }}", "do": ["loop"]},
        ]},
    ]  # fmt: skip
    workflow = make_workflow(tasks, output_map={"xs": "{{ task.each.items | length }}"})
    old = finished(start_workflow(workflow, ok="no"))
    assert (old.status, names_of(old)) == (Status.FAILED, ["each"] * 3)

    second = rerun(old, inputs={"each": {"ok": "yes"}})
    third = rerun(second, parameters={"ok": "yes"})

    assert (second.status, names_of(second)) == (Status.FAILED, ["each", "loop"])
    assert (third.status, third.result, names_of(third)) == (
        Status.COMPLETED,
        {"succeeded": True, "xs": 3},
        ["loop"] * 3,
    )
    assert [child.config["x"] for child in children_of(second)] == [1, 0]
