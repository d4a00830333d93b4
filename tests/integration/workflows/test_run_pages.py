"""The page of a workflow's execution, and the list of runs."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.core import clock
from apps.executions import trees
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution
from apps.executions.retries import repeat_after_end
from apps.executions.states import Status
from apps.executions.transitions import Step, transition
from apps.workflows.models import WorkflowExecution, WorkflowTask
from tests.factories import grant, make_action, make_admin, make_execution, make_holder
from tests.integration.workflows.test_engine_against_model import end_child, running_children
from tests.workflow_runs import make_workflow, start_workflow

pytestmark = pytest.mark.django_db

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True)
def artifacts(settings: Any, tmp_path: Any) -> None:
    """Logs of their own: the rows of the next test have the same ids."""
    settings.ARTIFACTS_DIR = tmp_path


def signed_in(identity: Any) -> Client:
    client = Client()
    client.force_login(identity)
    return client


@pytest.fixture
def console() -> Client:
    return signed_in(make_admin())


def begun(*tasks: Any, parameters: Any = None, **definition: Any) -> Execution:
    execution = start_workflow(make_workflow(tasks, **definition), **(parameters or {}))
    assert start_by_engine(execution.pk)
    execution.refresh_from_db()
    return execution


def fail_and_repeat(child_id: int) -> None:
    """End an attempt as a worker does of which its task allows another."""
    with transaction.atomic():
        child = trees.locked(child_id)
        assert child is not None
        Execution.objects.filter(pk=child_id).update(status=Status.RUNNING, started_at=clock.now())
        child.refresh_from_db()
        step = Step(source=Status.RUNNING, target=Status.FAILED, actor="test")
        assert transition(child, step, repeated=True, result={"error": "no luck"})
        assert repeat_after_end(child) is not None


def page_of(execution: Any) -> str:
    return reverse("admin:executions_execution_change", args=[execution.pk if hasattr(execution, "pk") else execution])


def shown(client: Client, execution: Execution) -> str:
    answer = client.get(page_of(execution))
    assert answer.status_code == 200
    return str(answer.content.decode())


def section_of(client: Client, execution: Execution) -> Any:
    (section,) = client.get(page_of(execution)).context["sections"]
    return section.context


def branching() -> Execution:
    """A run in which ``a`` has succeeded, ``b`` fails and is handled, ``each`` has items, and ``j`` waits for its join."""
    action = make_action()
    return begun(
        {
            "name": "a",
            "action": action.ref,
            "next": [
                {"when": "{{ succeeded() }}", "publish": [{"x": "{{ result().n }}"}], "do": ["b", "each"]},
                {"when": "{{ failed() }}", "do": ["never"]},
            ],
        },
        {"name": "b", "action": action.ref, "next": [{"when": "{{ failed() }}", "do": ["j"]}]},
        {"name": "each", "action": action.ref, "with_items": [1, 2, 3], "concurrency": 3, "next": [{"do": ["j"]}]},
        {"name": "never", "action": action.ref},
        {"name": "j", "action": action.ref, "join": "all"},
        vars={"y": 1},
    )


def advanced(execution: Execution) -> dict[Any, int]:
    """Bring ``branching`` on; return its children."""
    children = running_children(execution)
    end_child(children["a", None, None], Status.COMPLETED, {"n": 5})
    children |= running_children(execution)
    end_child(children["b", None, None], Status.FAILED, {"error": "no luck"})
    end_child(children["each", None, 1], Status.COMPLETED, {})
    return children


def test_graph_shows_states_items_and_ways_taken(console: Client) -> None:
    execution = branching()
    children = advanced(execution)

    picture = section_of(console, execution)["picture"]

    marks = {task.box.name: task.mark for task in picture.tasks}
    assert {name: mark.tone for name, mark in marks.items()} == {
        "a": "good", "b": "warn", "each": "busy", "never": "none", "j": "wait",
    }  # fmt: skip
    assert marks["each"].text.startswith("▸ running · 1/3")
    assert marks["each"].share == pytest.approx(1 / 3)
    assert marks["a"].url == page_of(children["a", None, None])
    assert "parent=" in marks["each"].url
    taken = {line.title.split(" when ")[0].split("\n")[0]: line.taken for line in picture.lines}
    assert taken == {"a to b": 1, "a to each": 1, "a to never": 0, "b to j": 1, "each to j": 0}


def test_table_tells_of_transitions_published_values_and_joins(console: Client) -> None:
    execution = branching()
    advanced(execution)

    rows = {row.name: row for row in section_of(console, execution)["tasks"]}

    assert [(step.fired, step.why, step.targets) for step in rows["a"].steps] == [
        (True, "succeeded()", "b, each"),
        (False, "failed()", "never"),
    ]
    assert rows["a"].published == [("x", "5")]
    assert (rows["b"].look.word, rows["each"].count) == ("failed, handled", "1/3")
    assert (rows["j"].waits_for, rows["j"].needs, rows["j"].came_from) == ("each", "1 of 2", "after b")
    text = shown(console, execution)
    assert "waits for each (1 of 2)" in text
    assert re.search(r"Task &#x27;?a|Workflow started|started", text[text.index('id="log-workflow"') :])


def test_timeline_puts_attempts_side_by_side(console: Client) -> None:
    action = make_action()
    execution = begun({"name": "a", "action": action.ref, "retry": {"count": 2, "delay": 60}})
    (first,) = running_children(execution).values()
    fail_and_repeat(first)

    timeline = section_of(console, execution)["timeline"]

    (row,) = timeline.rows
    retry = Execution.objects.get(retry_of=first)
    assert (row.label, row.note, row.url, row.look.word) == ("a", "attempt 2", page_of(retry), "pending")
    assert [(bar.tone, bar.waiting) for bar in row.bars] == [("bad", True), ("bad", False), ("wait", True)]
    assert "to start not before" in row.bars[-1].title
    assert all(0 <= bar.x < 100 and bar.x + bar.width <= 100.5 for bar in row.bars)
    (task,) = section_of(console, execution)["tasks"]
    assert [link.text for link in task.attempts] == ["attempt 1", "attempt 2"]


def test_loop_counts_its_runs(console: Client) -> None:
    action = make_action()
    execution = begun(
        {"name": "begin", "action": action.ref, "next": [{"do": ["again"]}]},
        {"name": "again", "action": action.ref, "next": [{"do": ["again"]}]},
    )
    for _round in range(4):
        (child,) = running_children(execution).values()
        end_child(child, Status.COMPLETED, {})

    section = section_of(console, execution)

    again = next(task for task in section["picture"].tasks if task.box.name == "again")
    assert "run 4" in again.mark.text
    assert [row.name for row in section["tasks"]] == ["begin", "again [0]", "again [1]", "again [2]", "again [3]"]
    assert {line.title.split("\n")[-1] for line in section["picture"].lines} == {"taken", "taken 3 times"}


def test_refresh_stops_at_the_end_and_the_log_stays(console: Client) -> None:
    execution = begun({"name": "a", "action": make_action().ref})
    assert "hx-trigger" in shown(console, execution)
    running = [line.text for line in section_of(console, execution)["log"]]
    (child,) = running_children(execution).values()
    end_child(child, Status.FAILED, {"error": "no luck"})
    execution.refresh_from_db()

    live = console.get(reverse("admin:executions_execution_live", args=[execution.pk])).content.decode()

    assert execution.status == "failed"
    assert 'data-status="failed"' in live
    assert 'id="run-graph"' in live
    assert "hx-trigger" not in live
    lines = section_of(console, execution)["log"]
    assert [line.text for line in lines][: len(running)] == running
    assert (lines[-1].level, "Workflow failed" in lines[-1].text) == ("ERROR", True)


def test_what_is_hostile_comes_out_as_text(console: Client) -> None:
    action = make_action()
    execution = begun(
        {
            "name": HOSTILE,
            "action": action.ref,
            "next": [{"when": "{{ '" + HOSTILE + "' }}", "publish": [{"x": HOSTILE}], "do": ["b"]}],
        },
        {"name": "b", "action": HOSTILE, "join": 1},
        {"name": "c", "action": HOSTILE},
        vars={HOSTILE: HOSTILE},
    )
    for child in running_children(execution).values():
        end_child(child, Status.COMPLETED, {"error": HOSTILE})

    assert HOSTILE not in shown(console, execution)


def test_secret_that_is_published_is_not_shown(console: Client) -> None:
    action = make_action()
    execution = begun(
        {"name": "a", "action": action.ref, "next": [{"publish": [{"t": "{{ parameters.token }}"}]}]},
        {"name": "b", "action": action.ref},
        param_schema={"token": {"type": "string", "secret": True}},
        parameters={"token": "correct horse battery"},
    )
    end_child(running_children(execution)["a", None, None], Status.COMPLETED, {})

    text = shown(console, execution)

    assert "t = &quot;(secret)&quot;" in text
    assert "correct horse" not in text


def test_rights_are_those_of_the_execution() -> None:
    execution = branching()
    children = advanced(execution)
    refs = [execution.action_ref]
    stranger = signed_in(make_holder(grant("packs:read")))
    reader = signed_in(make_holder(grant("executions:read", refs=refs)))
    listed = reverse("admin:workflows_workflowexecution_changelist")
    run = WorkflowExecution.objects.get()
    own_page = reverse("admin:workflows_workflowexecution_change", args=[run.pk])

    assert stranger.get(page_of(execution)).headers["Location"] == reverse("admin:executions_execution_changelist")
    assert execution.action_ref not in stranger.get(listed).content.decode()
    assert stranger.get(own_page).headers["Location"] == listed
    assert execution.action_ref in reader.get(listed).content.decode()
    assert reader.get(own_page).headers["Location"] == page_of(execution)
    text = shown(reader, execution)
    assert 'id="run-timeline"' in text
    # The children are of another action, which this reader may not look at.
    assert page_of(children["a", None, None]) not in text


def test_execution_that_is_no_workflow_has_no_section(console: Client) -> None:
    assert 'id="run-graph"' not in shown(console, make_execution())
    waiting = start_workflow(make_workflow([{"name": "a", "action": make_action().ref}]))
    assert 'id="run-graph"' not in shown(console, waiting)


def test_queries_do_not_grow_with_the_tasks(console: Client) -> None:
    action = make_action()

    def queries_of(count: int) -> int:
        joins = [{"name": f"j{n}", "action": action.ref, "join": "all"} for n in range(count)]
        starts = [{"name": f"a{n}", "action": action.ref, "next": [{"do": [f"j{n}"]}]} for n in range(count)]
        others = [{"name": f"b{n}", "action": action.ref, "next": [{"do": [f"j{n}"]}]} for n in range(count)]
        execution = begun(*starts, *others, *joins, {"name": "i", "action": action.ref, "with_items": [0] * count})
        for (name, _, _), child in running_children(execution).items():
            if name.startswith("a"):
                end_child(child, Status.COMPLETED, {})
        shown(console, execution)  # reads the snapshot, and what else is read once
        with CaptureQueriesContext(connection) as made:
            shown(console, execution)
        return len([query for query in made.captured_queries if "clock_timestamp" not in query["sql"]])

    assert queries_of(1) == queries_of(7)


def test_thousand_items_are_one_row(console: Client) -> None:
    execution = begun(
        {"name": "first", "action": make_action().ref},
        {"name": "each", "action": make_action().ref, "with_items": list(range(1000)), "concurrency": 5},
    )

    section = section_of(console, execution)

    assert section["timeline"].folded
    assert [(row.label, row.note) for row in section["timeline"].rows] == [("first", ""), ("each", "0/1000 items")]
    with CaptureQueriesContext(connection) as made:
        text = shown(console, execution)
    assert len(made.captured_queries) < 60
    assert len(text) < 200_000


def test_long_loop_shows_its_newest_runs(console: Client) -> None:
    execution = begun(
        {"name": "begin", "action": make_action().ref, "next": [{"do": ["again"]}]},
        {"name": "again", "action": make_action().ref, "next": [{"do": ["again"]}]},
    )
    run = WorkflowExecution.objects.get(execution=execution.pk)
    WorkflowTask.objects.filter(workflow_execution=run).update(status="completed", outcome="succeeded")
    moment = timezone.now()
    WorkflowTask.objects.bulk_create(
        WorkflowTask(
            workflow_execution=run, name="again", iteration=number, status="completed", outcome="succeeded",
            started_at=moment, finished_at=moment + timedelta(seconds=1),
        )
        for number in range(900)
    )  # fmt: skip

    section = section_of(console, execution)

    marks = {task.box.name: task.mark for task in section["picture"].tasks}
    assert (marks["begin"].tone, "run 900" in marks["again"].text) == ("good", True)
    assert (len(section["tasks"]), section["older_tasks"], section["tasks"][-1].name) == (200, 701, "again [899]")
    assert len(section["timeline"].rows) == 200
    assert section["timeline"].left_out == 701


def test_nested_run_is_linked_and_listed(console: Client) -> None:
    inner = make_workflow([{"name": "x", "action": make_action().ref}])
    execution = begun({"name": "deploy", "action": inner.ref})
    (child,) = running_children(execution).values()
    start_by_engine(child)

    text = shown(console, execution)
    listed = console.get(reverse("admin:workflows_workflowexecution_changelist")).content.decode()

    assert "nested workflow" in text
    assert page_of(child) in text
    assert page_of(execution) in listed
    assert page_of(child) in listed


def test_owner_sees_the_run_without_a_grant() -> None:
    anna = make_holder(grant("packs:read"))
    workflow = make_workflow([{"name": "a", "action": make_action().ref}])
    execution = start_workflow(workflow)
    start_by_engine(execution.pk)
    Execution.objects.update(executor=anna)

    assert 'id="run-graph"' in shown(signed_in(anna), execution)
