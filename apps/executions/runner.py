"""
Drive one execution on this worker: claim it, run its program, record what came of it.

The worker is the only writer of an execution between its claim and its end, and every write carries the epoch it was
handed. While the program runs no database connection is held.
"""

import logging
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError, connection, transaction

from apps.actions.cached import current_action
from apps.core import clock, sql
from apps.core.collisions import despite_others
from apps.executions import trees
from apps.executions.artifacts import record_allocated_sizes
from apps.executions.dispatch import dispatch_on_commit
from apps.executions.jobs import ActionMissing, job_of
from apps.executions.log_versions import keys_of_logs_on_disk, register_logs
from apps.executions.models import Execution
from apps.executions.results import store_result
from apps.executions.retries import is_repeated, repeat_after_end
from apps.executions.secrets import clean_files, take_out_of_result
from apps.executions.states import Status
from apps.executions.transitions import Step, record_step, transition
from apps.workers.agent import WorkerAgent
from apps.workers.job_spec import JobReport
from apps.workers.jobs import RunControl, run_job
from apps.workers.models import WorkerLease
from apps.workers.results import as_cancelled

logger = logging.getLogger(__name__)

OUTCOMES = {"completed": Status.COMPLETED, "failed": Status.FAILED, "timeout": Status.TIMEOUT}
EXPIRED_TEXT = "Execution expired before it started"
_Answer = TypeVar("_Answer")


def run(execution_id: int, epoch: int, agent: WorkerAgent) -> None:
    """
    Run one execution that was handed to this worker, and return when it is recorded.

    A message that came twice, too late, or for another worker finds nothing to claim and does nothing.
    """
    control = RunControl()
    if not agent.runs.add(execution_id, epoch, control):
        return  # it is running here already: the message came twice
    try:
        execution = _until_the_lease_ends(agent, lambda: claim(execution_id, epoch, agent))
        if execution is not None:
            _run_claimed(execution, control, agent)
    except LeaseOver:
        logger.warning("Execution %s: the lease ended before it was recorded; the sweep settles it", execution_id)
    finally:
        agent.runs.remove(execution_id)
        release_connection()


def _run_claimed(execution: Execution, control: RunControl, agent: WorkerAgent) -> None:
    report = _program(execution, control, agent)
    if report.stop_reason in ("lost", "superseded"):
        logger.warning("Execution %s was stopped: %s", execution.pk, report.stop_reason)
        return  # it is no longer ours to write
    recording = partial(despite_others, lambda: record(execution, report, agent))
    if not _until_the_lease_ends(agent, recording):
        logger.warning("The result of execution %s was refused: its epoch %s is over", execution.pk, execution.epoch)


def _program(execution: Execution, control: RunControl, agent: WorkerAgent) -> JobReport:
    try:
        job = _until_the_lease_ends(
            agent, lambda: job_of(execution, agent, called_off=lambda: control.reason is not None)
        )
        release_connection()
        return clean_files(execution, run_job(job, control, agent.services), job.log_dir)
    except LeaseOver:
        raise
    except Exception as error:  # our own mistake must not leave the row running for ever
        if isinstance(error, ActionMissing):  # deleted meanwhile, which is nobody's fault
            logger.warning("Execution %s could not be prepared: %s", execution.pk, error)
        else:
            logger.exception("Execution %s could not be prepared", execution.pk)
        reason = f"{type(error).__name__}: {error}" if str(error) else "Execution failed during preparation"
        return JobReport(
            outcome="failed",
            result={"succeeded": False, "error": reason, **keys_of_logs_on_disk(execution.pk)},
            stop_reason=None,
            stdout_bytes=0,
            stderr_bytes=0,
        )


class LeaseOver(Exception):
    """This worker's lease ended while the database did not answer; others settle what it was running."""


def _until_the_lease_ends(agent: WorkerAgent, work: Callable[[], _Answer]) -> _Answer:
    """Do database work, again while the database is away, as long as this worker may still write."""
    pause = 0.05
    while True:
        if not agent.lease_valid():
            raise LeaseOver
        try:
            return work()
        except (OperationalError, InterfaceError) as error:
            logger.warning("The database does not answer (%s); trying again", error)
            connection.close()
            time.sleep(pause * random.uniform(0.5, 1.5))  # spreads the retries, no secret
            pause = min(pause * 2, 2.0)


def claim(execution_id: int, epoch: int, agent: WorkerAgent) -> Execution | None:
    """
    Take a scheduled execution with this epoch for this worker, and return it; None when there is nothing to take.

    A claim needs a valid lease of this very process. One that is ``canceling`` and was never started is cancelled.
    """
    with transaction.atomic():
        claimed = _claim_row(execution_id, epoch, agent)
        if claimed is not None:
            return claimed
        mine = _claim_nothing(execution_id, epoch, agent)
    return sql.get(Execution, "id = %s AND epoch = %s", [execution_id, epoch]) if mine else None


_CLAIM = """
id = %s AND status = 'scheduled' AND epoch = %s AND worker = %s
AND (expires_at IS NULL OR expires_at > {now})
AND EXISTS (SELECT 1 FROM worker_lease WHERE worker = %s AND holder = %s AND expires_at > {now})
"""


def _claim_row(execution_id: int, epoch: int, agent: WorkerAgent) -> Execution | None:
    """The one UPDATE of a claim, with its history row."""
    now = clock.now()
    values = {"status": Status.RUNNING.value, "started_at": now, "updated": now}
    holder = sql.adapt(WorkerLease, "holder", agent.holder)
    where = _CLAIM.format(now=sql.now_text())
    claimed = sql.update_returning(
        Execution, values, where, [execution_id, epoch, agent.worker_id, agent.worker_id, holder]
    )
    if claimed is not None:
        step = Step(source=Status.SCHEDULED, target=Status.RUNNING, actor=f"worker:{agent.worker_id}", epoch=epoch)
        record_step(execution_id, claimed.action_ref, step, now, started_at=now)
    return claimed


def _claim_nothing(execution_id: int, epoch: int, agent: WorkerAgent) -> bool:
    """See why there was nothing to claim; return True when it is this process's run after all."""
    execution = trees.locked(execution_id)
    if execution is None or execution.epoch != epoch or execution.worker_id != agent.worker_id:
        return False
    actor = f"worker:{agent.worker_id}"
    match execution.status:
        case Status.RUNNING:
            # This process holds the run (see runs.add) and has not started it: the answer to its own claim got lost.
            return True
        case Status.CANCELING:
            step = Step(source=Status.CANCELING, target=Status.CANCELLED, actor=actor, epoch=epoch)
            transition(execution, step, result=as_cancelled({}), succeeded=False)
            dispatch_on_commit()
        case Status.SCHEDULED if execution.expires_at is not None and execution.expires_at <= clock.now():
            expire(execution, actor=actor)
            dispatch_on_commit()
        case _:
            logger.info("Execution %s is %s; there is nothing to claim", execution_id, execution.status)
    return False


def expire(execution: Execution, *, actor: str) -> bool:
    """End an execution whose ``expires_at`` has passed before it started."""
    step = Step(source=Status(execution.status), target=Status.TIMEOUT, actor=actor, reason="expires_at")
    return transition(execution, step, result={"error": EXPIRED_TEXT, "succeeded": False}, succeeded=False)


@transaction.atomic
def record(execution: Execution, report: JobReport, agent: WorkerAgent) -> bool:
    """
    Write how a run ended, with its logs and the retry it is owed; return False when it is no longer this worker's.

    A run that was cancelled meanwhile ends ``cancelled``, whatever its program came to.
    """
    actor = f"worker:{agent.worker_id}"
    trees.lock_root(execution)
    target = OUTCOMES.get(report.outcome, Status.CANCELLED)
    fields = _columns(execution, report.result)
    if target == Status.TIMEOUT and _by_its_task(execution):
        target, fields["workflow_task"] = Status.FAILED, {**(execution.workflow_task or {}), "timed_out": True}
    step = Step(source=Status.RUNNING, target=target, actor=actor, epoch=execution.epoch)
    repeated = is_repeated(execution, target)
    ended = target != Status.CANCELLED and transition(execution, step, repeated=repeated, **fields)
    if not ended and not _record_cancelled(execution, report, actor):
        recorded = _is_recorded(execution)
        transaction.set_rollback(True)  # a long result may have been stored already
        return recorded
    register_logs(execution, {"stdout": report.stdout_bytes, "stderr": report.stderr_bytes})
    if execution.permission_set_refs:  # only a program with a token can have allocated files
        record_allocated_sizes(execution.pk)
    repeat_after_end(execution)
    dispatch_on_commit()
    return True


def _by_its_task(execution: Execution) -> bool:
    """Whether the time limit is that of the workflow's task: such a child has failed (workflows.md section 9)."""
    return execution.workflow_task is not None and execution.workflow_task.get("timeout_seconds") is not None


def _record_cancelled(execution: Execution, report: JobReport, actor: str) -> bool:
    step = Step(source=Status.CANCELING, target=Status.CANCELLED, actor=actor, epoch=execution.epoch)
    return transition(execution, step, **_columns(execution, as_cancelled(report.result)))


def _is_recorded(execution: Execution) -> bool:
    """True when an earlier try of this very process was committed and only its answer got lost."""
    row = Execution.objects.filter(pk=execution.pk).values_list("epoch", "finished_at", "status").first()
    return row is not None and row[0] == execution.epoch and row[1] is not None and row[2] in OUTCOMES.values()


def _columns(execution: Execution, result: dict[str, Any]) -> dict[str, Any]:
    action = current_action(execution.action_id) if "data" in result and execution.action_id is not None else None
    return {
        **store_result(execution, take_out_of_result(execution, action, result)),
        "exit_code": result.get("exit_code"),
        "duration_ms": result.get("duration_ms"),
        "succeeded": result.get("succeeded", False),
    }


def release_connection() -> None:
    """Give the connection back to the pool; SQLite's stays with its thread."""
    if connection.vendor == "postgresql":
        connection.close()
