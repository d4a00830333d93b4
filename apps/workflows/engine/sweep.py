"""Runs that were left behind, and times that are up. Any number of processes may sweep."""

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Min, Q

from apps.core import clock, sql
from apps.core.collisions import despite_others
from apps.executions import trees
from apps.executions.cancelling import cancel_locked
from apps.executions.models import Execution
from apps.executions.states import TERMINAL, UNFINISHED, Status
from apps.executions.transitions import Step, transition
from apps.workflows.engine import service
from apps.workflows.engine.runs import run_of
from apps.workflows.models import TaskOutcome, TaskStatus, WorkflowExecution, WorkflowTask, WorkflowTaskDispatch

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500
_MOST_RUNS_AT_ONCE = 5
_OPEN = (TaskStatus.PENDING, TaskStatus.RUNNING)

# Children whose end nobody has taken in: no attempt of them is left, and their task still waits.
_MISSED = """
SELECT w.execution, d.execution_id FROM workflow_task_dispatch d {running}
JOIN execution e ON e.id = d.execution_id JOIN workflow_execution w ON w.id = d.workflow_execution
WHERE d.outcome IS NULL AND d.released AND e.status IN ('completed', 'failed', 'cancelled', 'timeout', 'abandoned')
AND NOT EXISTS (SELECT 1 FROM execution r WHERE r.original_execution = e.id AND r.workflow_task IS NOT NULL
    AND r.status NOT IN ('completed', 'failed', 'cancelled', 'timeout', 'abandoned'))
ORDER BY d.id LIMIT %s
"""
# Runs in which nothing is to be waited for.
_IDLE = """
SELECT w.execution FROM workflow_execution w WHERE w.status = 'running' AND NOT EXISTS (
    SELECT 1 FROM workflow_task_dispatch d WHERE d.workflow_execution = w.id AND d.outcome IS NULL)
ORDER BY w.id LIMIT %s
"""
_IDLE_CANCELING = """
SELECT w.execution FROM execution e JOIN workflow_execution w ON w.execution = e.id
WHERE e.status = 'canceling' AND e.workflow_def IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM workflow_task_dispatch d WHERE d.workflow_execution = w.id AND d.outcome IS NULL)
ORDER BY w.id LIMIT %s
"""
# Runs in which tasks have ended that nobody has finished yet: more than one transaction should.
_PUT_OFF = """
SELECT DISTINCT w.execution FROM workflow_task t {put_off} JOIN workflow_execution w ON w.id = t.workflow_execution
WHERE t.status = 'running' AND t.outcome IS NOT NULL LIMIT %s
"""
# Runs in which tasks are being stopped whose children still wait: more than one transaction should cancel.
_STOPPING = """
SELECT DISTINCT w.execution FROM workflow_task t {stopping} JOIN workflow_execution w ON w.id = t.workflow_execution
WHERE t.status = 'running' AND t.error IS NOT NULL AND t.outcome IS NULL AND EXISTS (
    SELECT 1 FROM workflow_task_dispatch d JOIN execution e ON e.id = d.execution_id
    WHERE d.workflow_execution = t.workflow_execution AND d.task_name = t.name
    AND coalesce(d.iteration, -1) = coalesce(t.iteration, -1) AND d.outcome IS NULL
    AND e.status = 'requested' AND e.held)
LIMIT %s
"""


def go_on() -> None:
    """Finish some of the tasks that were put off, and cancel some of the children, in each run."""
    for execution_id in _put_off(_MOST_RUNS_AT_ONCE):
        _settled(execution_id, _go_on)
    for execution_id in _stopping(_MOST_RUNS_AT_ONCE):
        _settled(execution_id, _go_on_stopping)


def next_put_off() -> float | None:
    """Return 0 as long as there are such tasks or children, else None."""
    return 0.0 if _put_off(1) or _stopping(1) else None


def _stopping(most: int) -> list[int]:
    text = _STOPPING.format(stopping=sql.indexed_by("workflow_task_stopping"))
    return [row[0] for row in sql.fetch(text, [most])]


def _put_off(most: int) -> list[int]:
    return [row[0] for row in sql.fetch(_PUT_OFF.format(put_off=sql.indexed_by("workflow_task_put_off")), [most])]


def settle() -> None:
    """Take in what was missed; what fails is logged, and the next round tries again."""
    missed = _MISSED.format(running=sql.indexed_by("workflow_dispatch_running"))
    for execution_id, child_id in sql.fetch(missed, [MOST_AT_ONCE]):
        _settled(execution_id, partial(_take_in, child_id))
    for (execution_id,) in (*sql.fetch(_IDLE, [MOST_AT_ONCE]), *sql.fetch(_IDLE_CANCELING, [MOST_AT_ONCE])):
        _settled(execution_id, _look)


def end_overdue() -> None:
    """Stop blocks and nested runs whose time is up."""
    now = clock.now()
    blocks = WorkflowTask.objects.filter(status=TaskStatus.RUNNING, deadline__isnull=False, deadline__lte=now)
    due = blocks.filter(error__isnull=True).values_list("workflow_execution__execution", "pk")
    for execution_id, task_id in list(due[:MOST_AT_ONCE]):
        _settled(execution_id, partial(_stop_block, task_id))
    runs = WorkflowExecution.objects.filter(status=Status.RUNNING, deadline__isnull=False, deadline__lte=now)
    for execution_id in list(
        runs.filter(error_message__isnull=True).values_list("execution", flat=True)[:MOST_AT_ONCE]
    ):
        _settled(execution_id, _stop_run)


def next_due(now: datetime | None = None) -> float | None:
    """Return how many seconds it is until the next of these times, None when there is none."""
    now = now or clock.now()
    blocks = WorkflowTask.objects.filter(status=TaskStatus.RUNNING, deadline__isnull=False, error__isnull=True)
    runs = WorkflowExecution.objects.filter(status=Status.RUNNING, deadline__isnull=False, error_message__isnull=True)
    moments = [rows.aggregate(at=Min("deadline"))["at"] for rows in (blocks, runs)]
    left = [(moment - now).total_seconds() for moment in moments if moment is not None]
    return max(0.0, min(left)) if left else None


def _settled(execution_id: int, step: Callable[[Execution], None]) -> None:
    """Make a step with a run, under the lock of its tree; ``execution_id`` is the workflow's own."""
    try:
        despite_others(partial(_step, execution_id, step))
    except (OperationalError, InterfaceError, OSError):
        logger.warning("Workflow of execution %s: the next round tries again", execution_id, exc_info=True)
    except Exception as error:  # a mistake of ours: it would come again in each round
        logger.exception("The workflow of execution %s cannot be advanced", execution_id)
        _give_up(execution_id, f"The workflow cannot go on: {type(error).__name__}: {error}")


@transaction.atomic
def _step(execution_id: int, step: Callable[[Execution], None]) -> None:
    execution = trees.locked(execution_id)
    if execution is not None:
        step(execution)


@transaction.atomic
def _give_up(execution_id: int, error: str) -> None:
    """Fail a workflow that nothing can advance, rather than let it hang; its children are cancelled."""
    execution = trees.locked(execution_id)
    if execution is None or execution.status in TERMINAL:
        return
    children = Execution.objects.filter(parent=execution_id, workflow_task__isnull=False, status__in=UNFINISHED)
    WorkflowExecution.objects.filter(execution=execution_id).update(status=Status.FAILED, error_message=error)
    of_run = {"workflow_execution__execution": execution_id}
    WorkflowTask.objects.filter(**of_run, status__in=_OPEN).update(status=TaskStatus.CANCELLED)
    WorkflowTaskDispatch.objects.filter(**of_run, outcome__isnull=True).update(outcome=TaskOutcome.FAILED)
    for child in children.select_for_update(no_key=True).order_by("pk"):
        cancel_locked(child, by=None, actor="workflow", reason=error)
    step = Step(source=Status(execution.status), target=Status.FAILED, actor="workflow", reason=error)
    transition(execution, step, result={"error": error, "succeeded": False, "failed_tasks": []}, succeeded=False)


def _take_in(child_id: int, _execution: Execution) -> None:
    """Take in the end of a child whose first attempt is named."""
    attempts = Execution.objects.filter(Q(pk=child_id) | Q(original_execution=child_id), workflow_task__isnull=False)
    last = attempts.order_by("-retry_count", "-pk").first()
    if last is not None and last.status in TERMINAL:
        service.child_ended(last)


def _look(execution: Execution) -> None:
    run = run_of(execution.pk)
    if run is not None:
        service.look(run.id)


def _go_on(execution: Execution) -> None:
    run = run_of(execution.pk)
    if run is not None:
        service.go_on(run.id)


def _go_on_stopping(execution: Execution) -> None:
    run = run_of(execution.pk)
    if run is not None:
        service.go_on_stopping(run.id)


def _stop_block(task_id: int, _execution: Execution) -> None:
    task = WorkflowTask.objects.get(pk=task_id)
    service.time_of_block_is_up(task.workflow_execution_id, task.name, task.iteration)


def _stop_run(execution: Execution) -> None:
    run = run_of(execution.pk)
    if run is not None:
        service.time_of_run_is_up(run.id)
