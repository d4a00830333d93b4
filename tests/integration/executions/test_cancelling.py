"""Cancel, force-close, retry and change, in every state (execution.md sections 15 and 16)."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.executions.errors import AlreadyFinished, ExecutionNotFound, NotWaiting, ParentFinished
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.services import (
    RetryChanges,
    cancel_execution,
    force_close_execution,
    retry_execution,
    update_execution,
)
from apps.executions.states import PENDING, TERMINAL, Status
from tests.factories import make_action, make_execution, make_identity, make_request, make_worker

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("status", sorted(PENDING))
def test_cancel_before_the_claim_is_immediate(status: Status) -> None:
    execution = make_execution(status=status)

    cancelled = cancel_execution(execution.pk, by=make_identity())

    execution.refresh_from_db()
    assert cancelled.status == execution.status == Status.CANCELLED
    assert execution.result == {
        "error": "Cancelled by user before execution started",
        "succeeded": False,
        "cancelled": True,
    }
    assert execution.finished_at == execution.updated


def test_cancel_of_a_running_execution_goes_through_canceling_and_once_is_enough() -> None:
    by = make_identity()
    execution = make_execution(status=Status.RUNNING, worker=make_worker(), epoch=1)

    cancel_execution(execution.pk, by=by)
    cancel_execution(execution.pk, by=by)

    execution.refresh_from_db()
    assert (execution.status, execution.cancelled_by_id, execution.epoch) == (Status.CANCELING, by.pk, 1)
    assert ExecutionHistory.objects.filter(entity_id=execution.pk).count() == 1


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_cancel_of_a_finished_execution_is_a_conflict(status: Status) -> None:
    execution = make_execution(status=status)
    updated = execution.updated

    with pytest.raises(
        AlreadyFinished, match=f"Execution {execution.pk} is in status '{status}' and cannot be cancelled"
    ):
        cancel_execution(execution.pk, by=None)

    execution.refresh_from_db()
    assert (execution.status, execution.updated) == (status, updated)


def test_cancel_of_an_unknown_execution() -> None:
    with pytest.raises(ExecutionNotFound, match="Execution with ID 4711 not found"):
        cancel_execution(4711, by=None)


def test_cancel_reaches_what_the_program_started() -> None:
    parent = make_execution(status=Status.RUNNING, worker=make_worker())
    child = make_request(parent=parent)
    grandchild = make_execution(status=Status.RUNNING, parent=child, worker=make_worker())
    task = make_execution(parent=parent, workflow_task={"task_name": "one"})

    cancel_execution(parent.pk, by=None)

    statuses = [Execution.objects.get(pk=row.pk).status for row in (child, grandchild, task)]
    assert statuses == [Status.CANCELLED, Status.CANCELING, Status.REQUESTED]


@pytest.mark.parametrize("status", [Status.CANCELING, Status.COMPLETED])
def test_parent_that_ends_gets_no_more_children(status: Status) -> None:
    parent = make_execution(status=status)

    with pytest.raises(ParentFinished):
        make_request(parent=parent)


def test_child_takes_root_depth_priority_and_correlation_of_its_parent() -> None:
    grandparent = make_request(priority=7)
    parent = make_request(parent=grandparent)
    child = make_request(parent=parent, priority=1)

    assert (parent.root, parent.depth, parent.priority) == (grandparent.pk, 1, 7)
    assert (child.root, child.depth, child.priority) == (grandparent.pk, 2, 1)
    assert child.correlation_id == grandparent.correlation_id


def test_nesting_without_end_fails() -> None:
    parent = make_execution(depth=50)

    child = make_request(parent=parent)

    child.refresh_from_db()
    assert (child.status, child.result["succeeded"]) == (Status.FAILED, False)


@pytest.mark.parametrize(
    ("status", "asked", "expected"),
    [
        (Status.REQUESTED, "abandoned", "abandoned"),
        (Status.SCHEDULED, "failed", "failed"),
        (Status.RUNNING, "cancelled", "cancelled"),
        (Status.CANCELING, "abandoned", "cancelled"),
    ],
)
def test_force_close_ends_anything_unfinished(status: Status, asked: str, expected: str) -> None:
    by = make_identity(login="anna")
    execution = make_execution(status=status, epoch=3)

    force_close_execution(execution.pk, by=by, status=asked)

    execution.refresh_from_db()
    assert (execution.status, execution.epoch) == (expected, 4)
    assert execution.result == {"error": "Execution force-closed by anna", "succeeded": False}
    with pytest.raises(AlreadyFinished):
        force_close_execution(execution.pk, by=by)


def test_retry_links_the_attempts_and_leaves_the_old_one() -> None:
    by = make_identity()
    action = make_action()
    old = make_execution(action=action, status=Status.FAILED, config={"a": 1}, env_vars={"X": "y"}, enforcement=5)

    second = retry_execution(old.pk, by=by, changes=RetryChanges())
    Execution.objects.filter(pk=second.pk).update(status=Status.FAILED)
    third = retry_execution(second.pk, by=by, changes=RetryChanges(parameters={"a": 2}, priority=9))

    assert [(row.retry_count, row.retry_of_id, row.original_execution_id) for row in (second, third)] == [
        (1, old.pk, old.pk),
        (2, second.pk, old.pk),
    ]
    assert (second.config, second.env_vars, second.executor_id) == ({"a": 1}, {"X": "y"}, by.pk)
    assert (third.config, third.priority, third.retry_reason) == ({"a": 2}, 9, "manual_retry")
    assert (second.enforcement, second.parent_id) == (5, None)


@pytest.mark.parametrize(("status", "force"), [(Status.RUNNING, True), (Status.COMPLETED, False)])
def test_retry_of_what_has_not_failed_is_a_conflict(status: Status, force: bool) -> None:
    execution = make_execution(status=status)

    with pytest.raises(AlreadyFinished, match="cannot be retried"):
        retry_execution(execution.pk, by=make_identity(), changes=RetryChanges(force=force))


def test_update_moves_a_waiting_execution_in_and_out_of_line() -> None:
    execution = make_request()
    later = timezone.now() + timedelta(hours=1)

    moved = update_execution(execution.pk, actor="identity:1", not_before=later, priority=3)
    assert (moved.demand_id, moved.priority) == (None, 3)
    back = update_execution(execution.pk, actor="identity:1", not_before=None)
    assert back.demand_id is not None
    history = ExecutionHistory.objects.filter(entity_id=execution.pk, operation="UPDATE").order_by("id")
    assert [row.changed_fields for row in history] == [["not_before", "priority"], ["not_before"]]


@pytest.mark.parametrize("change", [{"priority": 1}, {"expires_at": timezone.now()}])
def test_only_pinned_can_be_changed_after_the_start(change: dict[str, Any]) -> None:
    execution = make_execution(status=Status.COMPLETED)
    updated = execution.updated

    with pytest.raises(NotWaiting):
        update_execution(execution.pk, actor="identity:1", **change)
    update_execution(execution.pk, actor="identity:1", pinned=True)

    execution.refresh_from_db()
    assert (execution.pinned, execution.updated) == (True, updated)
