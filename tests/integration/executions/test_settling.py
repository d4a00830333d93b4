"""What becomes of a lost worker's executions, and of time that passes (execution.md sections 3 and 5)."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.actions.models import OnWorkerLost
from apps.executions import sweep
from apps.executions.models import Execution
from apps.executions.settling import LOST_TEXT, settle_worker, take_back_unclaimed
from apps.executions.states import Status
from tests.factories import make_execution, make_request, make_worker

pytestmark = pytest.mark.django_db


def lost(**fields: object) -> Execution:
    worker = make_worker(lease_seconds=-1)
    execution = make_execution(worker=worker, epoch=1, scheduled_at=timezone.now(), **fields)
    sweep.settle_lost()
    execution.refresh_from_db()
    return execution


def test_scheduled_execution_of_a_lost_worker_goes_back_in_line() -> None:
    execution = lost(status=Status.SCHEDULED)

    assert (execution.status, execution.worker_id, execution.epoch, execution.lost_count) == ("requested", None, 1, 1)


def test_third_worker_lost_before_the_claim_abandons_it() -> None:
    execution = lost(status=Status.SCHEDULED, lost_count=2)

    assert (execution.status, execution.lost_count) == (Status.ABANDONED, 3)


def test_canceling_execution_of_a_lost_worker_is_cancelled() -> None:
    execution = lost(status=Status.CANCELING)

    assert execution.status == Status.CANCELLED
    assert execution.result == {"error": "Execution cancelled by user", "succeeded": False, "cancelled": True}


def test_running_execution_of_a_lost_worker_is_abandoned_by_default() -> None:
    execution = lost(status=Status.RUNNING)

    assert execution.status == Status.ABANDONED
    assert execution.result["error"] == LOST_TEXT
    assert execution.result["abandoned_by"] == "execution_timeout_monitor"
    assert execution.result["original_status"] == "running"
    assert set(execution.result["worker"]) == {"id", "name", "status", "last_heartbeat"}
    assert not Execution.objects.filter(retry_of=execution).exists()


def test_on_worker_lost_fail() -> None:
    execution = lost(status=Status.RUNNING, on_worker_lost=OnWorkerLost.FAIL)

    assert (execution.status, execution.result["failed_by"]) == (Status.FAILED, "execution_timeout_monitor")
    assert "abandoned_by" not in execution.result


def test_on_worker_lost_retry_makes_the_next_attempt_until_the_limit() -> None:
    first = lost(status=Status.RUNNING, on_worker_lost=OnWorkerLost.RETRY)

    second = Execution.objects.get(retry_of=first)
    assert first.status == Status.ABANDONED
    assert (second.status, second.lost_count, second.retry_reason) == ("requested", 1, "worker_heartbeat_stale")
    assert (second.original_execution_id, second.retry_count, second.attempt) == (first.pk, 1, 2)

    worker = make_worker(lease_seconds=-1)
    Execution.objects.filter(pk=second.pk).update(status=Status.RUNNING, worker=worker)
    sweep.settle_lost()
    second.refresh_from_db()
    assert second.status == Status.ABANDONED
    assert not Execution.objects.filter(retry_of=second).exists()


def test_worker_with_a_valid_lease_is_left_alone() -> None:
    execution = make_execution(status=Status.RUNNING, worker=make_worker())

    assert sweep.settle_lost() == 0
    execution.refresh_from_db()
    assert execution.status == Status.RUNNING


def test_execution_whose_worker_row_is_gone_is_settled() -> None:
    execution = make_execution(status=Status.RUNNING, worker=None)

    assert sweep.settle_lost() == 1
    execution.refresh_from_db()
    assert execution.status == Status.ABANDONED


def test_drain_takes_back_what_is_not_claimed_without_counting_it_as_lost() -> None:
    worker = make_worker()
    waiting = make_execution(status=Status.SCHEDULED, worker=worker, epoch=1)
    running = make_execution(status=Status.RUNNING, worker=worker, epoch=1)

    assert take_back_unclaimed(worker, actor="worker:1") == 1

    waiting.refresh_from_db()
    running.refresh_from_db()
    assert (waiting.status, waiting.lost_count, running.status) == (Status.REQUESTED, 0, Status.RUNNING)


def test_not_picked_up_in_time_fails() -> None:
    execution = make_execution(
        status=Status.SCHEDULED, worker=make_worker(), scheduled_at=timezone.now() - timedelta(seconds=301)
    )

    assert sweep.fail_unclaimed() == 1

    execution.refresh_from_db()
    assert execution.status == Status.FAILED
    assert execution.result["error"].startswith("Execution timeout: worker did not pick up task within 300 seconds")
    assert (execution.result["timeout_seconds"], execution.result["original_status"]) == (300, "scheduled")


def test_claim_of_a_dispatcher_that_is_gone_goes_back() -> None:
    execution = make_execution(status=Status.SCHEDULING)
    Execution.objects.filter(pk=execution.pk).update(updated=timezone.now() - timedelta(seconds=31))

    assert sweep.free_stuck_claims() == 1

    execution.refresh_from_db()
    assert execution.status == Status.REQUESTED


def test_delayed_execution_joins_the_line_when_its_time_has_come() -> None:
    execution = make_request(not_before=timezone.now() + timedelta(seconds=60))
    assert sweep.put_in_line() == 0
    due = sweep.next_due()
    assert due is not None
    assert 58 < due <= 60

    Execution.objects.filter(pk=execution.pk).update(not_before=timezone.now() - timedelta(seconds=1))
    assert sweep.put_in_line() == 1
    execution.refresh_from_db()
    assert execution.demand_id is not None
    assert sweep.next_due() is None


def test_expired_before_its_start_is_a_timeout() -> None:
    execution = make_request(expires_at=timezone.now() + timedelta(seconds=30))
    assert sweep.expire_due() == 0
    Execution.objects.filter(pk=execution.pk).update(expires_at=timezone.now() - timedelta(seconds=1))

    assert sweep.expire_due() == 1

    execution.refresh_from_db()
    assert execution.status == Status.TIMEOUT
    assert execution.result == {"error": "Execution expired before it started", "succeeded": False}


def test_what_is_handed_over_meanwhile_is_left_alone() -> None:
    """The root of its tree is not locked."""
    worker = make_worker()
    root = make_execution(status=Status.RUNNING)
    early = make_execution(worker=worker, status=Status.RUNNING, parent=root, root=root.pk)
    late = make_execution(status=Status.SCHEDULED, parent=root, root=root.pk)
    handed_over = False

    def hand_over(execute, sql, params, many, context):  # type: ignore[no-untyped-def]  # as Django calls it
        nonlocal handed_over
        answer = execute(sql, params, many, context)
        if not handed_over and "FOR NO KEY UPDATE" in sql:
            handed_over = True
            Execution.objects.filter(pk=late.pk).update(worker=worker, status=Status.RUNNING)
        return answer

    with transaction.atomic(), connection.execute_wrapper(hand_over):
        settle_worker(worker, reason="worker_unavailable")

    early.refresh_from_db()
    late.refresh_from_db()
    assert early.status == Status.ABANDONED
    assert handed_over is connection.features.has_select_for_update
    assert late.status == (Status.RUNNING if handed_over else Status.SCHEDULED)
