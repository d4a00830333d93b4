"""Runs that were left behind, and times that are up. Any number of processes may sweep."""

import logging
from collections.abc import Callable
from datetime import datetime

from django.db import DatabaseError, transaction
from django.db.models import Min

from apps.core import clock, sql
from apps.executions import trees
from apps.executions.models import Execution
from apps.executions.states import TERMINAL, Status
from apps.workflows.engine import service
from apps.workflows.engine.runs import run_of
from apps.workflows.models import TaskStatus, WorkflowExecution, WorkflowTask

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500

# Children whose end nobody has taken in: no attempt of them is left, and their task still waits.
_MISSED = """
SELECT d.execution_id FROM workflow_task_dispatch d {running} JOIN execution e ON e.id = d.execution_id
WHERE d.outcome IS NULL AND d.released AND e.status IN ('completed', 'failed', 'cancelled', 'timeout', 'abandoned')
AND NOT EXISTS (SELECT 1 FROM execution r WHERE r.original_execution = e.id
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


def settle() -> None:
    """Take in what was missed; what fails is logged, and the next round tries again."""
    for child_id in _ids(_MISSED.format(running=sql.indexed_by("workflow_dispatch_running"))):
        _settled(child_id, _take_in)
    for execution_id in (*_ids(_IDLE), *_ids(_IDLE_CANCELING)):
        _settled(execution_id, _look)


def end_overdue() -> None:
    """Stop blocks and nested runs whose time is up."""
    now = clock.now()
    blocks = WorkflowTask.objects.filter(status=TaskStatus.RUNNING, deadline__isnull=False, deadline__lte=now)
    due = blocks.filter(error__isnull=True).values_list("workflow_execution__execution", "pk")
    for execution_id, task_id in list(due[:MOST_AT_ONCE]):
        _settled(execution_id, lambda _execution, pk=task_id: _stop_block(pk))  # type: ignore[misc]  # bound early
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


def _ids(text: str) -> list[int]:
    return [row[0] for row in sql.fetch(text, [MOST_AT_ONCE])]


def _settled(execution_id: int, step: Callable[[Execution], None]) -> None:
    """Make a step under the lock of the tree."""
    try:
        with transaction.atomic():
            execution = trees.locked(execution_id)
            if execution is not None:
                step(execution)
    except DatabaseError:
        logger.warning("Workflow of execution %s: the next round tries again", execution_id, exc_info=True)
    except Exception:  # of ours; the others go on
        logger.exception("The workflow of execution %s cannot be advanced", execution_id)


def _take_in(first: Execution) -> None:
    attempts = Execution.objects.filter(original_execution=first.pk)
    last = attempts.order_by("-retry_count", "-pk").first() or first
    if last.status in TERMINAL:
        service.child_ended(last)


def _look(execution: Execution) -> None:
    run = run_of(execution.pk)
    if run is not None:
        service.look(run.id)


def _stop_block(task_id: int) -> None:
    task = WorkflowTask.objects.get(pk=task_id)
    service.time_of_block_is_up(task.workflow_execution_id, task.name, task.iteration)


def _stop_run(execution: Execution) -> None:
    run = run_of(execution.pk)
    if run is not None:
        service.time_of_run_is_up(run.id)
