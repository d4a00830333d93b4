"""A run as clients see it (workflows.md section 4): put together on reading, from one row for each task."""

from collections import defaultdict
from typing import Any

from apps.core import clock
from apps.executions.models import Execution
from apps.workflows.definition.graph import Graph
from apps.workflows.engine.runs import run_of, snapshot_of
from apps.workflows.engine.task_rows import TaskRows
from apps.workflows.engine.variables import read_variables
from apps.workflows.models import TaskStatus, WorkflowExecution, WorkflowTask

_LISTS = {
    "current_tasks": (TaskStatus.RUNNING, TaskStatus.PENDING),
    "completed_tasks": (TaskStatus.COMPLETED,),
    "failed_tasks": (TaskStatus.FAILED,),
    "skipped_tasks": (TaskStatus.SKIPPED,),
}


def run_data(execution: Execution) -> dict[str, Any]:
    """Return the run beside a workflow's execution; one that has not begun has no tasks."""
    stored = WorkflowExecution.objects.filter(execution=execution.pk).first()
    tasks = list(WorkflowTask.objects.filter(workflow_execution=stored.pk).order_by("pk")) if stored else []
    return {
        "id": stored.pk if stored else None,
        "execution": execution.pk,
        "workflow_def": stored.workflow_def_id if stored else execution.workflow_def,
        "task_graph": stored.task_graph if stored else None,
        "variables": {**stored.variables, **read_variables(stored.pk, None, real=False)} if stored else {},
        **{name: _names(tasks, statuses) for name, statuses in _LISTS.items()},
        "status": stored.status if stored else execution.status,
        "error_message": stored.error_message if stored else None,
        "paused": stored.paused if stored else False,
        "pause_reason": stored.pause_reason if stored else None,
        "created": clock.as_text(stored.created if stored else execution.created),
        "updated": clock.as_text(stored.updated if stored else execution.updated),
        "tasks": _tasks(execution, tasks),
    }


def _names(tasks: list[WorkflowTask], statuses: tuple[TaskStatus, ...]) -> list[str]:
    return list(dict.fromkeys(task.name for task in tasks if task.status in statuses))


def _tasks(execution: Execution, tasks: list[WorkflowTask]) -> list[dict[str, Any]]:
    run = run_of(execution.pk) if tasks else None
    if run is None:
        return []
    graph = snapshot_of(run).graph
    rows = TaskRows(run.id, graph)
    children: defaultdict[tuple[str, int | None], list[int]] = defaultdict(list)
    dispatched = Execution.objects.filter(parent=execution.pk, workflow_task__isnull=False).order_by("pk")
    for pk, task in dispatched.values_list("pk", "workflow_task"):
        if task is not None:
            children[task["task_name"], task.get("iteration")].append(pk)
    return [_task(task, children[task.name, task.iteration], _waiting_for(task, graph, rows)) for task in tasks]


def _waiting_for(task: WorkflowTask, graph: Graph, rows: TaskRows) -> list[str]:
    """The predecessors of a waiting task that have not completed."""
    if task.status != TaskStatus.PENDING:
        return []
    before = graph.predecessors[task.name]
    cycle = graph.cycle_of.get(task.name, frozenset())
    inside, outside = [name for name in before if name in cycle], [name for name in before if name not in cycle]
    done = rows.completed(inside, task.iteration) if inside else set()
    done |= rows.ever_completed(outside) if outside else set()
    return [name for name in before if name not in done]


def _task(task: WorkflowTask, executions: list[int], waiting_for: list[str]) -> dict[str, Any]:
    shown = {
        "name": task.name,
        "iteration": task.iteration,
        "status": task.status,
        "outcome": task.outcome,
        "executions": executions,
        "waiting_for": waiting_for,
        "transitions": task.transitions,
        "published": task.published,
        "triggered_by": task.triggered_by,
        "block": task.block,
        "error": task.error,
        "started_at": clock.as_text(task.started_at),
        "finished_at": clock.as_text(task.finished_at),
    }
    return shown if task.reused_from is None else {**shown, "reused_from": task.reused_from}
