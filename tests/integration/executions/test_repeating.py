"""Attempts that the engine makes for executions that never ran, or lost their worker (execution.md sections 5 and 16)."""

from datetime import timedelta
from typing import Any

import pytest

from apps.actions.models import OnWorkerLost
from apps.core import clock
from apps.executions import sweep
from apps.executions.artifacts import NewArtifact, Origin, allocate_file, create_artifact
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.states import Status
from apps.executions.storage import BLOCK_BYTES
from tests.factories import make_execution, make_worker

pytestmark = pytest.mark.django_db


def unclaimed(**fields: object) -> Execution:
    long_ago = clock.now() - timedelta(seconds=301)
    return make_execution(status=Status.SCHEDULED, worker=make_worker(), epoch=1, scheduled_at=long_ago, **fields)


def test_what_was_not_picked_up_is_repeated() -> None:
    execution = unclaimed(max_retries=1)

    assert sweep.fail_unclaimed() == 1

    attempt = Execution.objects.get(retry_of=execution)
    assert (attempt.retry_reason, attempt.retry_count, attempt.attempt) == ("queue_timeout", 1, 2)
    created = ExecutionHistory.objects.get(entity_id=attempt.pk)
    assert created.new_values["retry_at"] == created.new_values["not_before"]


def test_what_was_not_picked_up_ends_there_without_retries() -> None:
    execution = unclaimed()

    assert sweep.fail_unclaimed() == 1

    assert not Execution.objects.filter(retry_of=execution).exists()


def test_attempt_after_a_lost_worker_waits_like_any_retry() -> None:
    worker = make_worker(lease_seconds=-1)
    execution = make_execution(
        status=Status.RUNNING, worker=worker, epoch=1, on_worker_lost=OnWorkerLost.RETRY, max_lost_attempts=2
    )

    sweep.settle_lost()

    execution.refresh_from_db()
    attempt = Execution.objects.get(retry_of=execution)
    assert execution.finished_at is not None
    assert attempt.not_before is not None
    assert 0.7 <= (attempt.not_before - execution.finished_at).total_seconds() <= 1.3
    assert (execution.lost_count, attempt.lost_count, attempt.demand_id) == (1, 1, None)


@pytest.mark.parametrize(
    ("worker", "reason"),
    [
        ({"lease_seconds": -1}, "worker_heartbeat_stale"),
        ({"status": "inactive"}, "worker_unavailable"),
        ({"status": "error", "lease_seconds": -1}, "worker_unavailable"),
    ],
)
def test_the_reason_says_how_the_worker_was_lost(worker: dict[str, Any], reason: str) -> None:
    execution = make_execution(
        status=Status.RUNNING,
        worker=make_worker(**worker),
        epoch=1,
        on_worker_lost=OnWorkerLost.RETRY,
    )

    sweep.settle_lost()

    assert Execution.objects.get(retry_of=execution).retry_reason == reason


def test_worker_that_never_held_a_lease_is_stale_or_was_never_there() -> None:
    reasons = []
    for last_heartbeat in (clock.now() - timedelta(seconds=91), None):
        worker = make_worker(last_heartbeat=last_heartbeat)
        worker.lease.delete()
        execution = make_execution(status=Status.RUNNING, worker=worker, epoch=1, on_worker_lost=OnWorkerLost.RETRY)
        sweep.settle_lost()
        reasons.append(Execution.objects.get(retry_of=execution).retry_reason)

    assert reasons == ["worker_heartbeat_stale", "worker_unavailable"]


def test_one_that_no_worker_claimed_says_so() -> None:
    worker = make_worker(lease_seconds=-1)
    execution = make_execution(status=Status.SCHEDULED, worker=worker, epoch=3, lost_count=2)

    sweep.settle_lost()

    execution.refresh_from_db()
    assert execution.status == Status.ABANDONED
    assert (
        execution.result["error"] == "Execution abandoned because 3 workers in a row were lost before one claimed it"
    )


def test_sizes_of_allocated_files_are_known_though_the_worker_was_lost(tmp_path, settings) -> None:  # type: ignore[no-untyped-def]  # fixtures
    settings.ARTIFACTS_DIR = tmp_path
    execution = make_execution(
        status=Status.RUNNING, worker=make_worker(lease_seconds=-1), epoch=1, permission_set_refs=["core.admin"]
    )
    artifact = create_artifact(NewArtifact(ref="a.b", scope="system", owner="", type="file_text"))
    version = allocate_file(artifact.pk, Origin(execution=execution.pk))
    assert version.file_path is not None
    (tmp_path / version.file_path).write_bytes(b"x" * BLOCK_BYTES)

    sweep.settle_lost()

    version.refresh_from_db()
    assert version.size_bytes == BLOCK_BYTES
