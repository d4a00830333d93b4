"""What a running workflow waits for, for ``why``."""

from typing import Any

from apps.core import clock
from apps.executions.models import Execution
from apps.workflows.models import TaskStatus, WorkflowTask

_MOST_SHOWN = 20


def reasons(execution: Execution) -> list[dict[str, Any]]:
    """Return one reason for each task that runs or waits for its join, the first twenty; at least one."""
    tasks = WorkflowTask.objects.filter(
        workflow_execution__execution=execution.pk, status__in=[TaskStatus.PENDING, TaskStatus.RUNNING]
    )
    found = [_reason(task) for task in tasks.order_by("-status", "id")[:_MOST_SHOWN]]
    return found or [
        {
            "code": "workflow_running",
            "message": "The workflow is being advanced",
            "since": clock.as_text(execution.started_at),
            "details": {},
        }
    ]


def _reason(task: WorkflowTask) -> dict[str, Any]:
    waits = task.status == TaskStatus.PENDING
    return {
        "code": "workflow_join" if waits else "workflow_task",
        "message": f"Task '{task}' waits for its join" if waits else f"Task '{task}' is running",
        "since": clock.as_text(task.started_at or task.created),
        "details": {"task": task.name, "iteration": task.iteration},
    }
