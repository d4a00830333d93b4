"""Definitions, values and moments that nobody means well with: the run ends, and says why."""

import pytest
from django.db import transaction

from apps.core import clock
from apps.executions import trees
from apps.executions.cancelling import cancel_execution, force_close_execution
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution
from apps.executions.retries import repeat_after_end
from apps.executions.states import Status
from apps.executions.transitions import Step, transition
from apps.workflows.engine import service, sweep
from apps.workflows.models import WorkflowTask
from tests.factories import make_action, make_admin, make_policy
from tests.integration.workflows.test_cancelling import begin
from tests.integration.workflows.test_engine_against_model import end_child, running_children
from tests.workflow_runs import children_of, make_workflow, start_workflow, tasks_of

pytestmark = pytest.mark.django_db


def started(*tasks: dict, **definition: object) -> Execution:  # type: ignore[type-arg]  # JSON
    execution = start_workflow(make_workflow(tasks, **definition))
    assert start_by_engine(execution.pk)
    execution.refresh_from_db()
    return execution


def test_entry_tasks_that_a_policy_cancels_at_once() -> None:
    action = make_action()
    make_policy(action=action, max_waiting=1)

    execution = started(*({"name": name, "action": action.ref} for name in "abc"))

    assert tasks_of(execution) == {"a": "running", "b": "failed", "c": "failed"}
    assert [child.status for child in children_of(execution)] == ["requested", "cancelled", "cancelled"]
    end_child(children_of(execution)[0].pk, Status.COMPLETED, {})
    execution.refresh_from_db()
    assert execution.result["error"] == "Workflow failed: 2 task(s) failed: b, c"


def test_run_ends_when_a_policy_cancels_all_of_it() -> None:
    action = make_action()
    make_policy(action=action, max_waiting=1)
    waiting = started({"name": "a", "action": action.ref})

    execution = started(*({"name": name, "action": action.ref} for name in "ab"))

    assert running_children(waiting)
    assert (execution.status, tasks_of(execution)) == ("failed", {"a": "failed", "b": "failed"})


@pytest.mark.parametrize("text", [r"\u0000", r"\ud800"])
def test_characters_that_no_database_takes(text: str) -> None:
    value = f"{{{{ '{text}' }}}}"
    action = make_action()
    task = {"name": "a", "action": action.ref, "next": [{"publish": [{"v": value}], "do": ["b", "c"]}]}
    execution = started(
        task,
        {"name": "b", "action": action.ref, "input": {"x": value}},
        {"name": "c", "action": action.ref, "with_items": [value], "input": {"x": 1}, "next": [{"do": ["d"]}]},
        {"name": "d", "action": action.ref},
    )

    for _round in range(2):
        for child in running_children(execution).values():
            end_child(child, Status.COMPLETED, {})

    execution.refresh_from_db()
    error = "a text holds neither U+0000 nor half a surrogate pair (x, line 1, column 4)"
    assert execution.result["failed_tasks"] == [{"task": "b", "execution": None, "error": error}]


def long_loop() -> Execution:
    """It has no child, only tasks that are skipped: 1000 of them."""
    again = {"name": "a", "action": make_action().ref, "when": "{{ false }}", "next": [{"do": ["a"]}]}
    begin = {"name": "s", "action": make_action().ref, "when": "{{ false }}", "next": [{"do": ["a"]}]}
    return started(begin, again, max_iterations=1000)


def test_long_loop_takes_many_short_transactions() -> None:
    execution = long_loop()

    rounds = 0
    while sweep.next_put_off() is not None:
        before = WorkflowTask.objects.count()
        sweep.go_on()
        rounds += 1
        assert WorkflowTask.objects.count() - before <= service.MOST_AT_ONCE

    execution.refresh_from_db()
    assert rounds == 5
    assert execution.result["error"] == "Loop limit reached: task 'a' would run more than 1000 times"


@pytest.mark.parametrize("ended", ["cancelled", "abandoned"])
def test_long_loop_is_stopped_in_the_middle(ended: str) -> None:
    execution = long_loop()

    if ended == "cancelled":
        cancel_execution(execution.pk, by=None)
    else:
        force_close_execution(execution.pk, by=make_admin())
    sweep.settle()
    sweep.go_on()

    execution.refresh_from_db()
    assert (execution.status, execution.workflow_execution.status) == (ended, ended)
    assert WorkflowTask.objects.count() == service.MOST_AT_ONCE + 1
    assert sweep.next_put_off() is None


def test_items_that_are_too_much_in_all() -> None:
    big = {"text": "x" * 900_000}
    execution = started(
        {
            "name": "a",
            "action": make_action().ref,
            "with_items": "{{ range(10000) }}",
            "input": {"x": "{{ workflow.big }}"},
        },
        vars={"big": big},
    )

    assert execution.result["failed_tasks"][0]["error"] == "The input of 117 items is more than 100 MiB in all"
    assert children_of(execution) == []


@pytest.mark.parametrize("delay", [10**30, 1e300])
def test_retry_that_waits_for_ever_waits_ten_years(delay: float) -> None:
    retry = {"count": 3, "delay": delay, "backoff": "exponential"}
    execution = started({"name": "a", "action": make_action().ref, "retry": retry})
    child = children_of(execution)[0]
    begin(child.pk)

    with transaction.atomic():
        locked = trees.locked(child.pk)
        assert locked is not None
        step = Step(source=Status.RUNNING, target=Status.FAILED, actor="test")
        assert transition(locked, step, repeated=True, result={})
        attempt = repeat_after_end(locked)

    assert attempt is not None
    assert attempt.not_before is not None
    assert (attempt.not_before - clock.now()).days in (3649, 3650)
