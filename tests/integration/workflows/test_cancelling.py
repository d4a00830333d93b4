"""What is cancelled with a workflow, by which policy; and children that are cancelled alone (workflows.md section 12)."""

import itertools

import pytest
from django.db import transaction

from apps.executions import trees
from apps.executions.cancelling import cancel_execution, force_close_execution
from apps.executions.changes import RetryChanges, retry_execution
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution
from apps.executions.retries import repeat_after_end
from apps.executions.states import Status
from apps.executions.transitions import Step, transition
from apps.executions.why import explain
from apps.workflows.engine import sweep
from tests.factories import make_action, make_admin
from tests.integration.workflows.test_engine_against_model import running_children
from tests.workflow_runs import children_of, make_workflow, start_workflow

pytestmark = pytest.mark.django_db
PARENT_CANCELLED = "Cancelled: parent workflow execution was cancelled"


def started(*tasks: dict, **definition: object) -> Execution:  # type: ignore[type-arg]  # JSON
    execution = start_workflow(make_workflow(tasks, **definition))
    assert start_by_engine(execution.pk)
    return execution


def begin(child_id: int) -> None:
    """Let a child run, as a worker does."""
    with transaction.atomic():
        child = trees.locked(child_id)
        assert child is not None
        steps = (Status.REQUESTED, Status.SCHEDULING, Status.SCHEDULED, Status.RUNNING)
        for source, target in itertools.pairwise(steps):
            assert transition(child, Step(source=source, target=target, actor="test"))


def end(child_id: int, source: Status, target: Status) -> None:
    with transaction.atomic():
        child = trees.locked(child_id)
        assert child is not None
        assert transition(child, Step(source=source, target=target, actor="test"), result={"n": 1})


def statuses(execution: Execution) -> list[str]:
    return [child.status for child in children_of(execution)]


@pytest.mark.parametrize(
    ("policy", "running", "last_step"),
    [("allow_finish", "running", Status.RUNNING), ("cancel_running", "canceling", Status.CANCELING)],
)
def test_cancel_by_policy(policy: str, running: str, last_step: Status) -> None:
    action = make_action()
    execution = started(
        {"name": "a", "action": action.ref, "next": [{"do": ["later"]}]},
        {"name": "b", "action": action.ref, "with_items": [1, 2, 3], "retry": {"count": 3}},
        {"name": "later", "action": action.ref},
        cancellation_policy=policy,
    )
    first = running_children(execution)["a", None, None]
    begin(first)

    cancel_execution(execution.pk, by=make_admin())

    execution.refresh_from_db()
    assert (execution.status, statuses(execution)) == ("canceling", [running, *["cancelled"] * 3])
    waiting = children_of(execution)[1]
    assert waiting.result["error"] == PARENT_CANCELLED
    assert explain(waiting)["reasons"][0]["details"]["ended_by"] == "parent"
    assert [reason["code"] for reason in explain(execution)["reasons"]] == ["canceling", "children_running"]
    end(first, last_step, Status.CANCELLED if policy == "cancel_running" else Status.COMPLETED)
    execution.refresh_from_db()
    assert (execution.status, len(children_of(execution))) == ("cancelled", 4)
    assert execution.result == {"error": "Workflow cancelled", "succeeded": False}
    assert execution.workflow_execution.status == "cancelled"


def test_cancel_goes_down_into_nested_workflows_each_by_its_policy() -> None:
    action = make_action()
    inner = make_workflow([{"name": "x", "action": action.ref}], cancellation_policy="cancel_running")
    execution = started({"name": "inner", "action": inner.ref}, {"name": "own", "action": action.ref})
    children = running_children(execution)
    assert start_by_engine(children["inner", None, None])
    nested = Execution.objects.get(pk=children["inner", None, None])
    (grandchild,) = running_children(nested).values()
    begin(grandchild)
    begin(children["own", None, None])

    cancel_execution(execution.pk, by=None)

    assert (statuses(execution), statuses(nested)) == (["canceling", "running"], ["canceling"])
    end(grandchild, Status.CANCELING, Status.CANCELLED)
    assert statuses(execution) == ["cancelled", "running"]
    end(children["own", None, None], Status.RUNNING, Status.COMPLETED)
    execution.refresh_from_db()
    assert execution.status == "cancelled"


def test_one_child_cancelled_is_a_failed_task() -> None:
    action = make_action()
    execution = started(
        {"name": "a", "action": action.ref, "retry": {"count": 2}, "next": [{"when": "failed()", "do": ["b"]}]},
        {"name": "b", "action": action.ref},
    )

    cancel_execution(running_children(execution)["a", None, None], by=None)

    assert running_children(execution).keys() == {("b", None, None)}
    assert statuses(execution) == ["cancelled", "requested"]


def test_items_stopped_by_a_failure_say_so() -> None:
    execution = started(
        {"name": "a", "action": make_action().ref, "with_items": [1, 2], "concurrency": 2, "fail_fast": True}
    )
    first = running_children(execution)["a", None, 0]

    begin(first)
    end(first, Status.RUNNING, Status.FAILED)

    stopped = children_of(execution)[1]
    assert stopped.result["error"] == "Cancelled: Stopped after the first failure"
    assert explain(stopped)["reasons"][0]["details"]["ended_by"] == "parent"


def test_held_item_that_is_cancelled_makes_no_room() -> None:
    execution = started({"name": "a", "action": make_action().ref, "with_items": [1, 2, 3]})
    held = children_of(execution)[2]

    cancel_execution(held.pk, by=None)

    assert running_children(execution).keys() == {("a", None, 0)}


def test_force_closed_workflow_takes_its_children_along() -> None:
    execution = started({"name": "a", "action": make_action().ref, "with_items": [1, 2]})

    force_close_execution(execution.pk, by=make_admin())

    execution.refresh_from_db()
    assert (execution.status, statuses(execution)) == ("abandoned", ["cancelled", "cancelled"])
    assert execution.workflow_execution.status == "abandoned"


def test_workflow_that_has_not_started_is_cancelled_at_once() -> None:
    execution = start_workflow(make_workflow([{"name": "a", "action": make_action().ref}]))

    cancel_execution(execution.pk, by=None)

    execution.refresh_from_db()
    assert (execution.status, children_of(execution)) == ("cancelled", [])


def test_attempt_made_by_hand_is_not_cancelled_with_the_workflow() -> None:
    execution = started({"name": "a", "action": make_action().ref, "retry": {"count": 2, "delay": 600}})
    first = children_of(execution)[0]
    begin(first.pk)
    with transaction.atomic():
        child = trees.locked(first.pk)
        assert child is not None
        transition(
            child, Step(source=Status.RUNNING, target=Status.FAILED, actor="test"), repeated=True, result={"n": 1}
        )
        assert repeat_after_end(child) is not None
    by_hand = retry_execution(first.pk, by=make_admin(), changes=RetryChanges())

    cancel_execution(execution.pk, by=None)

    execution.refresh_from_db()
    by_hand.refresh_from_db()
    assert (execution.status, statuses(execution), by_hand.status) == (
        "cancelled", ["failed", "cancelled"], "requested",
    )  # fmt: skip


@pytest.mark.parametrize("concurrency", [1, 2, 7])
def test_many_children_are_cancelled_in_several_transactions(
    monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    """None of those that are left starts meanwhile."""
    monkeypatch.setattr("apps.workflows.engine.children.MOST_CANCELLED_AT_ONCE", 3)
    task = {"name": "many", "action": make_action().ref, "with_items": list(range(7)), "concurrency": concurrency}
    execution = started(task)

    cancel_execution(execution.pk, by=make_admin())

    execution.refresh_from_db()
    left = [child for child in children_of(execution) if child.status == "requested"]
    assert (execution.status, len(left)) == ("canceling", 4)
    assert all(child.held and child.demand_id is None for child in left)
    for _round in range(2):
        assert sweep.next_put_off() == 0
        sweep.go_on()
    execution.refresh_from_db()
    assert (execution.status, statuses(execution)) == ("cancelled", ["cancelled"] * 7)
    assert {child.result["error"] for child in children_of(execution)} == {PARENT_CANCELLED}
    assert sweep.next_put_off() is None
