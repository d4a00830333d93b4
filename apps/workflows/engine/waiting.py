"""What a running workflow waits for, for ``why`` (api.md 13.5)."""

from typing import Any

from apps.core import clock
from apps.executions.models import Execution
from apps.executions.states import UNFINISHED
from apps.workflows.models import TaskStatus, WorkflowTask

_MOST_SHOWN = 20


def reasons(execution: Execution) -> list[dict[str, Any]]:
    """Return the children that have not ended, the first twenty, and the tasks that wait for their join."""
    unfinished = Execution.objects.filter(parent=execution.pk, status__in=UNFINISHED, held=False).order_by("pk")
    children = [
        {"id": pk, "task_name": (task or {}).get("task_name"), "status": status}
        for pk, task, status in unfinished.values_list("pk", "workflow_task", "status")[:_MOST_SHOWN]
    ]
    tasks = WorkflowTask.objects.filter(workflow_execution__execution=execution.pk, status=TaskStatus.PENDING)
    joins = list(tasks.order_by("pk").values_list("name", flat=True)[:_MOST_SHOWN])
    names = ", ".join(dict.fromkeys(str(child["task_name"]) for child in children))
    return [
        {
            "code": "children_running",
            "message": f"Waits for its tasks: {names}" if names else "Waits for its tasks",
            "since": clock.as_text(execution.started_at or execution.updated),
            "details": {"children": children, "joins_waiting": joins},
        }
    ]
