"""What stays of executions when what they name is deleted (model.md sections 1.2 and 7)."""

from datetime import timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.executions import sweep
from apps.executions.dispatch import dispatch_waiting
from apps.executions.models import Execution
from apps.executions.services import update_execution
from apps.executions.states import Status
from apps.workers.models import WorkerLease
from tests.factories import make_action, make_execution, make_identity, make_request, make_worker

pytestmark = pytest.mark.django_db


def ended(**fields: Any) -> Execution:
    execution = make_execution(status=Status.COMPLETED, **fields)
    long_ago = clock.now() - timedelta(days=1)
    Execution.objects.filter(pk=execution.pk).update(updated=long_ago, finished_at=long_ago)
    execution.refresh_from_db()
    return execution


def test_nothing_moves_the_moment_at_which_an_execution_ended() -> None:
    action, worker, person = make_action(), make_worker(), make_identity()
    execution = ended(action=action, worker=worker, executor=person, cancelled_by=person)
    child = ended(parent=execution, retry_of=execution, original_execution=execution)

    action.pack.delete()
    worker.delete()
    person.delete()
    update_execution(execution.pk, actor="identity:1", pinned=True)
    sweep.sweep()
    updated = execution.updated

    execution.refresh_from_db()
    assert (execution.action_id, execution.action_ref, execution.pinned) == (None, action.ref, True)
    assert (execution.worker_id, execution.executor_id, execution.cancelled_by_id) == (None, None, None)
    assert (execution.updated, execution.finished_at) == (updated, updated)
    assert not WorkerLease.objects.exists()

    ended_at = child.updated
    execution.delete()  # retention
    child.refresh_from_db()
    assert (child.parent_id, child.retry_of_id, child.original_execution_id) == (None, None, None)
    assert child.updated == ended_at


def test_executions_of_a_deleted_worker_are_settled(announced: list[tuple[int, int, int]]) -> None:
    worker = make_worker()
    states = [Status.SCHEDULED, Status.RUNNING, Status.CANCELING]
    executions = [make_execution(status=status, worker=worker, epoch=1) for status in states]

    worker.delete()
    sweep.settle_lost()

    found = [Execution.objects.get(pk=execution.pk).status for execution in executions]
    assert found == [Status.REQUESTED, Status.ABANDONED, Status.CANCELLED]


def test_what_waits_for_a_deleted_action_is_handed_over_and_fails_with_the_reason(
    announced: list[tuple[int, int, int]],
) -> None:
    make_worker()
    execution = make_request()
    assert execution.action is not None

    execution.action.delete()
    dispatch_waiting()

    execution.refresh_from_db()
    assert (execution.status, execution.action_id) == (Status.SCHEDULED, None)
