"""How a run is written down when others came first (execution.md sections 1 and 15)."""

from typing import Any, cast
from uuid import uuid4

import pytest

from apps.actions.models import Action
from apps.executions.models import ArtifactVersion, Execution
from apps.executions.runner import claim, record
from apps.executions.states import Status
from apps.workers.agent import WorkerAgent
from apps.workers.job_spec import JobReport
from apps.workers.models import Worker
from tests.factories import make_execution, make_request, make_worker

pytestmark = pytest.mark.django_db


class Held:
    """As much of an agent as a claim and a record need: whose lease it is."""

    def __init__(self, worker: Worker) -> None:
        self.worker_id = worker.pk
        self.holder = worker.lease.holder


def agent_of(worker: Worker) -> WorkerAgent:
    return cast(WorkerAgent, Held(worker))


def report(**result: Any) -> JobReport:
    return JobReport(outcome="completed" if result["succeeded"] else "failed", result=result)


def test_cancel_that_came_after_the_end_of_the_process_counts() -> None:
    worker = make_worker()
    execution = make_execution(status=Status.CANCELING, worker=worker, epoch=1, max_retries=3)
    ended = report(exit_code=-1, succeeded=False, duration_ms=5, error="x", signal="SIGKILL", stdout="a", data={})

    assert record(execution, ended, agent_of(worker))

    execution.refresh_from_db()
    assert execution.status == Status.CANCELLED
    assert execution.result == {
        "exit_code": -1,
        "succeeded": False,
        "cancelled": True,
        "duration_ms": 5,
        "error": "Execution cancelled by user",
        "signal": "SIGKILL",
        "stdout": "a",
    }
    assert not Execution.objects.filter(retry_of=execution).exists()


@pytest.mark.parametrize("max_retries", [0, 1])
def test_end_of_a_run_whose_action_was_deleted_meanwhile_is_recorded(max_retries: int) -> None:
    worker = make_worker()
    execution = make_execution(status=Status.RUNNING, worker=worker, epoch=1, max_retries=max_retries)
    Action.objects.get(pk=execution.action_id).delete()
    ended = JobReport(outcome="failed", result={"exit_code": 1, "succeeded": False, "duration_ms": 5}, stdout_bytes=5)

    assert record(execution, ended, agent_of(worker))

    execution = Execution.objects.get(pk=execution.pk)
    assert (execution.status, execution.action_id, execution.exit_code) == (Status.FAILED, None, 1)
    assert ArtifactVersion.objects.filter(execution=execution.pk).count() == 1
    assert [row.action_id for row in Execution.objects.filter(retry_of=execution.pk)] == [None] * max_retries


def test_refused_result_leaves_nothing_behind() -> None:
    worker = make_worker()
    execution = make_execution(status=Status.RUNNING, worker=worker, epoch=1)
    Execution.objects.filter(pk=execution.pk).update(status=Status.ABANDONED, epoch=2)
    late = report(exit_code=0, succeeded=True, duration_ms=5, data="x" * 100_000)

    assert not record(execution, late, agent_of(worker))

    execution = Execution.objects.get(pk=execution.pk)
    assert (execution.status, execution.result) == (Status.ABANDONED, None)
    assert not ArtifactVersion.objects.exists()


def test_claim_of_a_lease_that_is_another_s_takes_nothing() -> None:
    worker = make_worker()
    execution = make_execution(status=Status.SCHEDULED, worker=worker, epoch=1)
    agent = agent_of(worker)
    cast(Held, agent).holder = uuid4()

    assert claim(execution.pk, 1, agent) is None

    execution.refresh_from_db()
    assert execution.status == Status.SCHEDULED


@pytest.mark.parametrize("state", ["canceling", "expired"])
def test_slot_that_a_claim_frees_is_given_on_at_once(
    announced: list[tuple[int, int, int]], django_capture_on_commit_callbacks: Any, state: str
) -> None:
    worker = make_worker(slots=1)
    fields: dict[str, Any] = {"status": Status.SCHEDULED, "worker": worker, "epoch": 1}
    if state == "canceling":
        fields["status"] = Status.CANCELING
    else:
        fields["expires_at"] = worker.created
    over = make_execution(**fields)
    waiting = make_request(action=over.action)

    with django_capture_on_commit_callbacks(execute=True):
        assert claim(over.pk, 1, agent_of(worker)) is None

    assert announced == [(worker.pk, waiting.pk, 1)]
