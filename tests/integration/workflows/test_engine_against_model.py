"""Random workflows in the database against the model of the spec; children are ended by hand, without workers."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from django.db import transaction

from apps.core import clock
from apps.executions import trees
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution
from apps.executions.states import Status
from apps.executions.transitions import Step, transition
from apps.workflows.models import WorkflowExecution
from tests.factories import make_action
from tests.workflow_graphs import random_workflow
from tests.workflow_model import Child, Model
from tests.workflow_runs import make_workflow, start_workflow

OUTCOMES = ("succeeded", "succeeded", "succeeded", "failed", "timed_out")
STATUSES = {"succeeded": Status.COMPLETED, "failed": Status.FAILED, "timed_out": Status.TIMEOUT}
WORKFLOWS = 60


@pytest.mark.django_db
def test_engine_does_what_the_model_does() -> None:
    action = make_action(ref="tests.do")
    for seed in range(WORKFLOWS):
        with transaction.atomic():
            play(seed, action.ref)


def play(seed: int, action_ref: str) -> None:
    chance = random.Random(seed)
    workflow = random_workflow(chance)
    definition = workflow.definition(action_ref)
    execution = start_workflow(make_workflow(**{"tasks": definition.pop("tasks"), **definition}))
    model = Model(workflow)
    assert start_by_engine(execution.pk)
    model.start()
    while model.status is None:
        due = running_children(execution)
        assert due.keys() == model.running(), f"seed {seed}: what runs"
        key = chance.choice(sorted(due, key=str))
        outcome, n = chance.choice(OUTCOMES), chance.randint(0, 4)
        end_child(due[key], STATUSES[outcome], {"n": n})
        model.end_child(key, outcome, n)
    execution.refresh_from_db()
    assert compared(execution) == expected(model), f"seed {seed}: the end"


def running_children(execution: Execution) -> dict[Child, int]:
    """The children that a worker would be given."""
    waiting = Execution.objects.filter(parent=execution.pk, status=Status.REQUESTED, held=False)
    return {
        (task["task_name"], task["iteration"], task["task_index"]): pk
        for pk, task in waiting.values_list("pk", "workflow_task")
    }


def end_child(child_id: int, status: Status, result: Mapping[str, Any]) -> None:
    """Bring a child through its life as a worker does."""
    with transaction.atomic():
        child = trees.locked(child_id)
        assert child is not None
        for source, target in (
            (Status.REQUESTED, Status.SCHEDULING),
            (Status.SCHEDULING, Status.SCHEDULED),
            (Status.SCHEDULED, Status.RUNNING),
        ):
            assert transition(child, Step(source=source, target=target, actor="test"))
        assert transition(
            child,
            Step(source=Status.RUNNING, target=status, actor="test"),
            result=dict(result),
            started_at=clock.now(),
        )


def compared(execution: Execution) -> dict[str, Any]:
    result = execution.result
    run = WorkflowExecution.objects.get(execution=execution.pk)
    assert run.status == execution.status
    done = ("completed", "skipped")
    return {
        "status": execution.status,
        "error": result.get("error"),
        "outputs": {name: _plain(value) for name, value in result.items() if name.startswith("out_")},
        "runs": {(task.name, task.iteration): (task.outcome, task.status in done) for task in run.tasks.all()},
    }


def expected(model: Model) -> dict[str, Any]:
    return {
        "status": model.status,
        "error": model.error,
        "outputs": {name: _plain(value) for name, value in model.outputs.items()},
        "runs": {key: (run.outcome, run.done) for key, run in model.runs.items()},
    }


def _plain(value: Any) -> Any:
    """A published result stands for itself."""
    return value if isinstance(value, int) else "whole"
