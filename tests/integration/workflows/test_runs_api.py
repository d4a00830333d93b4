"""Runs of workflows over the API: one as it is, and one on paper."""

from typing import Any

import pytest

from apps.executions.cancelling import cancel_execution
from apps.executions.dispatch import start_by_engine
from apps.executions.states import Status
from apps.workflows.models import WorkflowDefinition
from tests.clients import signed_in
from tests.factories import make_action, make_execution
from tests.integration.workflows.test_engine_against_model import end_child, running_children
from tests.workflow_runs import make_workflow, start_workflow

pytestmark = pytest.mark.django_db
SECRET = "correct horse battery"
MARKER = {"$attune_secret": True, "redacted": True}


def post(ref: str, **body: Any) -> Any:
    response = signed_in().post(f"/api/v1/workflows/{ref}/dry-run", body, format="json")
    assert response.status_code == 200, response.json()
    return response.json()["data"]


def test_run_tells_of_each_task() -> None:
    action = make_action()
    workflow = make_workflow(
        [
            {"name": "a", "action": action.ref, "next": [{"publish": [{"x": "{{ result().n }}"}], "do": ["j"]}]},
            {"name": "b", "action": action.ref, "next": [{"do": ["j"]}]},
            {"name": "j", "action": action.ref, "join": 2},
        ],
        vars={"y": 1},
    )
    execution = start_workflow(workflow)
    start_by_engine(execution.pk)
    children = running_children(execution)
    end_child(children["a", None, None], Status.COMPLETED, {"n": 5})

    run = signed_in().get(f"/api/v1/executions/{execution.pk}/workflow").json()["data"]

    told = ("status", "variables", "current_tasks", "completed_tasks", "failed_tasks", "skipped_tasks")
    assert {name: run[name] for name in told} == {
        "status": "running",
        "variables": {"x": 5, "y": 1},
        "current_tasks": ["b", "j"],
        "completed_tasks": ["a"],
        "failed_tasks": [],
        "skipped_tasks": [],
    }
    tasks = {task["name"]: task for task in run["tasks"]}
    assert tasks["a"]["executions"] == [children["a", None, None]]
    assert tasks["a"]["transitions"] == [{"index": 0, "when": None, "fired": True, "error": None}]
    assert (tasks["j"]["status"], tasks["j"]["waiting_for"]) == ("pending", ["b"])


def test_failed_items_name_the_one_that_failed() -> None:
    workflow = make_workflow([{"name": "a", "action": make_action().ref, "with_items": [1, 2, 3], "concurrency": 3}])
    execution = start_workflow(workflow)
    start_by_engine(execution.pk)
    children = running_children(execution)
    cancel_execution(children["a", None, 0], by=None)
    end_child(children["a", None, 1], Status.FAILED, {"error": "full"})
    end_child(children["a", None, 2], Status.COMPLETED, {"n": 1})

    execution.refresh_from_db()

    failed = {"task": "a", "execution": children["a", None, 1], "error": "full"}
    assert execution.result["failed_tasks"] == [failed]


def test_why_of_a_running_workflow_names_its_children() -> None:
    workflow = make_workflow([{"name": "a", "action": make_action().ref}])
    execution = start_workflow(workflow)
    start_by_engine(execution.pk)

    why = signed_in().get(f"/api/v1/executions/{execution.pk}/why").json()["data"]

    (child,) = running_children(execution).values()
    assert why["reasons"][0]["code"] == "children_running"
    assert why["reasons"][0]["details"]["children"] == [{"id": child, "task_name": "a", "status": "requested"}]


def test_workflow_of_an_ordinary_execution_is_a_bad_request() -> None:
    assert signed_in().get(f"/api/v1/executions/{make_execution().pk}/workflow").status_code == 400


def test_dry_run_takes_the_given_results() -> None:
    workflow = make_workflow(
        [
            {
                "name": "poll",
                "action": "c.poll",
                "next": [
                    {
                        "when": "{{ result().state == 'ready' }}",
                        "publish": [{"at": "{{ result().state }}"}],
                        "do": "use",
                    },
                    {"when": "{{ result().state != 'ready' }}", "do": "pause"},
                ],
            },
            {"name": "pause", "action": "c.pause", "next": [{"do": "poll"}]},
            {"name": "begin", "action": "c.begin", "next": [{"do": "poll"}]},
            {"name": "use", "action": "c.use", "with_items": [1, 2], "input": {"n": "{{ item }}"}},
        ],
        output_map={"at": "{{ workflow.at }}"},
    )
    results = {
        "poll": [{"result": {"state": "new"}}, {"result": {"data": {"state": "ready"}}}],
        "use": [{}, {"status": "failed", "result": {"error": "full"}}],
    }

    paper = post(workflow.ref, results=results)

    assert [(step["task"], step["iteration"], step["outcome"]) for step in paper["steps"]] == [
        ("begin", None, "succeeded"),
        ("poll", 0, "succeeded"),
        ("pause", 0, "succeeded"),
        ("poll", 1, "succeeded"),
        ("use", None, "failed"),
    ]
    assert paper["steps"][-1]["input"] == [{"n": 1}, {"n": 2}]
    assert (paper["status"], paper["result"]["error"]) == ("failed", "Workflow failed: 1 task(s) failed: use")
    assert paper["result"]["failed_tasks"] == [{"task": "use", "execution": None, "error": "full"}]
    assert paper["variables"] == {"at": "ready"}


def test_dry_run_stops_after_a_thousand_steps() -> None:
    loop = [
        {"name": "begin", "action": "c.begin", "next": [{"do": "again"}]},
        {"name": "again", "action": "c.again", "next": [{"do": "again"}]},
    ]

    paper = post(make_workflow(loop, max_iterations=5000).ref)

    assert len(paper["steps"]) == 1000
    assert paper["errors"] == ["The dry run was stopped after 1000 steps"]


def test_dry_run_shows_no_secret() -> None:
    sends = make_action(param_schema={"password": {"type": "string", "secret": True}})
    workflow = make_workflow(
        [
            {
                "name": "send",
                "action": sends.ref,
                "input": {"password": "{{ parameters.token }}"},
                "next": [{"publish": [{"kept": "{{ parameters.token }}"}], "do": "leak"}],
            },
            {"name": "leak", "action": sends.ref, "input": {"text": "{{ workflow.kept }}"}},
        ],
        param_schema={"token": {"type": "string", "secret": True}},
    )

    paper = post(workflow.ref, parameters={"token": SECRET})

    assert SECRET not in str(paper)
    assert paper["steps"][1]["outcome"] == "failed"
    assert "Secret value cannot be assigned to non-secret parameter path(s): text" in paper["errors"][0]


def test_dry_run_shows_no_secret_of_the_given_results() -> None:
    secret = {"key": {"type": "string", "secret": True}}
    kept = {"kept": "{{ result() }}"}
    asks = {"prompt": "Key?", "response_schema": secret}
    uses = {"password": "{{ task.a.key }}{{ task.ask.response.key }}"}
    sends = make_action(param_schema={"password": {"type": "string", "secret": True}})
    workflow = make_workflow(
        [
            {"name": "a", "action": make_action(out_schema=secret).ref, "next": [{"publish": [kept], "do": ["ask"]}]},
            {"name": "ask", "action": "core.ask", "input": asks, "next": [{"publish": ["answer"], "do": ["use"]}]},
            {"name": "use", "action": sends.ref, "input": uses, "when": f"{{{{ task.a.key == '{SECRET}' }}}}"},
        ],
        out_schema={"pin": {"type": "string", "secret": True}},
        output_map={"key": "{{ workflow.kept.key }}", "pin": "{{ task.a.pin }}"},
    )
    for result in ({"key": SECRET, "pin": SECRET[:7]}, {"data": {"key": SECRET}, "pin": SECRET[:7]}):
        results = {"a": {"result": result}, "ask": {"result": {"response": {"key": SECRET}}}}

        paper = post(workflow.ref, results=results)

        assert SECRET not in str(paper)
        assert paper["steps"][2]["input"] == {"password": MARKER}
        assert paper["result"] == {"succeeded": True, "key": MARKER, "pin": MARKER}


def test_dry_run_refuses_what_is_no_result() -> None:
    workflow = make_workflow([{"name": "a", "action": "c.a"}])

    response = signed_in().post(
        f"/api/v1/workflows/{workflow.ref}/dry-run", {"results": {"a": {"status": "great"}}}, format="json"
    )

    assert response.status_code == 422


def test_run_of_a_workflow_that_is_gone_fails() -> None:
    execution = start_workflow(make_workflow([{"name": "a", "action": "core.noop"}]))
    WorkflowDefinition.objects.all().delete()

    assert start_by_engine(execution.pk)

    execution.refresh_from_db()
    assert execution.status == "failed"
    assert execution.result["error"] == f"Workflow '{execution.action_ref}' does not exist any more"
