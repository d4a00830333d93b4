"""Runs that were left behind, and times that are up."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from apps.core import clock
from apps.executions.changes import RetryChanges, retry_execution
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution
from apps.executions.states import Status
from apps.executions.why import explain
from apps.workflows.engine import service, sweep
from apps.workflows.engine.runs import forget_runs
from apps.workflows.models import WorkflowExecution, WorkflowTask, WorkflowTaskDispatch
from tests.factories import make_action, make_admin
from tests.integration.workflows.test_engine_against_model import end_child, running_children
from tests.racing import together
from tests.workflow_runs import children_of, make_workflow, start_workflow, tasks_of

pytestmark = pytest.mark.django_db


def started(*tasks: dict, **definition: object) -> Execution:  # type: ignore[type-arg]  # JSON
    execution = start_workflow(make_workflow(tasks, **definition))
    start_by_engine(execution.pk)  # where the request commits dispatch may have done so already
    execution.refresh_from_db()
    assert execution.status == Status.RUNNING
    return execution


def chain() -> tuple[Execution, int]:
    """A run of two tasks, and the child of the first."""
    action = make_action()
    execution = started(
        {"name": "a", "action": action.ref, "retry": {"count": 1}, "next": [{"do": ["b"]}]},
        {"name": "b", "action": action.ref},
    )
    return execution, running_children(execution)["a", None, None]


def end_unheard(child_id: int, status: Status = Status.COMPLETED) -> None:
    """End a child so that its workflow does not hear of it, as after a fault."""
    Execution.objects.filter(pk=child_id).update(status=status, result={}, finished_at=clock.now())


def test_missed_end_is_taken_in() -> None:
    execution, first = chain()
    end_unheard(first)

    sweep.settle()
    sweep.settle()

    assert tasks_of(execution) == {"a": "completed", "b": "running"}
    assert len(children_of(execution)) == 2


@pytest.mark.postgresql  # SQLite lets nobody else write meanwhile
@pytest.mark.django_db(transaction=True)
def test_action_that_is_deleted_while_its_task_begins_is_only_that_task_s_misfortune() -> None:
    """PostgreSQL refuses the child only when all is to be committed, and the end of the task before it with it."""
    other = make_action()
    execution = started(
        {"name": "a", "action": make_action().ref, "next": [{"do": ["b", "c"]}]},
        {"name": "b", "action": other.ref},
        {"name": "c", "action": make_action().ref},
    )
    end_unheard(running_children(execution)["a", None, None])
    inserted: list[str] = []

    def delete_meanwhile(execute: Any, statement: str, *further: Any) -> Any:
        answer = execute(statement, *further)
        if statement.startswith('INSERT INTO "execution" ') and not inserted:
            inserted.append(statement)
            together(other.delete)
        return answer

    with connection.execute_wrapper(delete_meanwhile):
        sweep.settle()

    assert inserted
    assert tasks_of(execution) == {"a": "completed", "b": "failed", "c": "running"}


def test_failed_attempt_whose_retry_waits_is_not_taken_in() -> None:
    execution, first = chain()
    end_unheard(first, Status.FAILED)
    Execution.objects.create(
        parent=execution,
        original_execution_id=first,
        retry_count=1,
        action_ref="x",
        status=Status.REQUESTED,
        workflow_task={},
    )

    sweep.settle()

    assert tasks_of(execution)["a"] == "running"


def test_retry_by_hand_is_no_attempt_of_the_task() -> None:
    execution, first = chain()
    end_unheard(first, Status.FAILED)
    retry_execution(first, by=make_admin(), changes=RetryChanges())

    sweep.settle()

    assert tasks_of(execution) == {"a": "completed", "b": "running"}  # failed, and handled


def test_end_that_is_told_again_changes_nothing() -> None:
    execution, first = chain()
    end_child(first, Status.COMPLETED, {"n": 1})

    service.child_ended(Execution.objects.get(pk=first))

    assert len(children_of(execution)) == 2


def test_run_in_which_nothing_is_left_ends() -> None:
    execution = started({"name": "a", "action": make_action().ref})
    end_unheard(children_of(execution)[0].pk)
    WorkflowTaskDispatch.objects.update(outcome="succeeded")
    WorkflowTask.objects.update(status="completed", outcome="succeeded")

    sweep.settle()

    execution.refresh_from_db()
    assert execution.status == "completed"


def test_run_that_cannot_be_advanced_fails_with_its_children() -> None:
    action = make_action()
    execution = started({"name": "a", "action": action.ref}, {"name": "b", "action": action.ref})
    first, second = children_of(execution)
    WorkflowExecution.objects.update(task_graph={"definition": {}, "ref": "x", "pack_ref": "x"})
    forget_runs()
    end_unheard(first.pk)

    sweep.settle()

    execution.refresh_from_db()
    second.refresh_from_db()
    assert (execution.status, second.status) == ("failed", "cancelled")
    assert execution.result["error"].startswith("The workflow cannot go on: InvalidDefinition")
    assert tasks_of(execution) == {"a": "cancelled", "b": "cancelled"}
    assert not WorkflowTaskDispatch.objects.filter(outcome=None).exists()  # else every round would try again


def test_time_of_a_block_is_up() -> None:
    action = make_action()
    execution = started(
        {
            "name": "block",
            "type": "parallel",
            "timeout": 60,
            "concurrency": 1,
            "tasks": [{"name": "x", "action": action.ref}, {"name": "y", "action": action.ref}],
            "next": [{"when": "{{ failed() }}", "do": ["after"]}],
        },
        {"name": "after", "action": action.ref},
    )
    left = sweep.next_due()
    assert left is not None
    assert 50 < left <= 60
    sweep.end_overdue()
    assert tasks_of(execution)["block"] == "running"

    WorkflowTask.objects.filter(name="block").update(deadline=clock.now() - timedelta(seconds=1))
    sweep.end_overdue()

    assert tasks_of(execution) == {"block": "completed", "x": "failed", "after": "running"}
    assert [child.status for child in children_of(execution)] == ["cancelled", "requested"]
    assert sweep.next_due() is None


def test_time_of_a_nested_run_is_up() -> None:
    inner = make_workflow([{"name": "x", "action": make_action().ref, "with_items": [1, 2]}])
    execution = started({"name": "inner", "action": inner.ref, "timeout": 60})
    (nested,) = children_of(execution)
    assert start_by_engine(nested.pk)
    WorkflowExecution.objects.filter(execution=nested.pk).update(deadline=clock.now())

    sweep.end_overdue()

    execution.refresh_from_db()
    nested.refresh_from_db()
    assert (execution.status, nested.status) == ("failed", "failed")
    assert nested.result["error"] == "Execution timed out after 60 seconds"
    assert nested.workflow_task["timed_out"] is True
    assert explain(nested)["reasons"][0]["details"]["ended_by"] == "timeout"
    assert [child.status for child in children_of(nested)] == ["cancelled", "cancelled"]
