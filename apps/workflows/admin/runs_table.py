"""The task runs of a run as a table: what each came to, which ways it opened and why, what it published."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.markers import is_marker
from apps.executions.models import Execution
from apps.workflows.admin.runs_graph import count_of, link_to_child, link_to_children, ran_for
from apps.workflows.admin.runs_reading import RunOnPage
from apps.workflows.admin.runs_states import Look, look_of
from apps.workflows.definition.drawing import condition_label
from apps.workflows.models import WorkflowTask

SHOWN_ROWS = 200
_VALUE_CHARACTERS = 80
_SHOWN_VALUES = 12
_SHOWN_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class Step:
    """One transition: ``why`` is its condition; ``error`` why that could not be decided, or what it published failed."""

    fired: bool
    why: str
    targets: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Link:
    text: str
    url: str | None


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    name: str
    look: Look
    action: str
    url: str | None
    nested: bool
    count: str
    failed: int
    attempts: Sequence[Link]
    ran: str
    waits_for: str
    needs: str
    error: str
    came_from: str
    steps: Sequence[Step]
    published: Sequence[tuple[str, str]]


def rows_of(page: RunOnPage) -> list[TaskRow]:
    """Return the newest task runs, oldest first."""
    return [_row(page, task) for task in page.tasks[-SHOWN_ROWS:]]


def _row(page: RunOnPage, task: WorkflowTask) -> TaskRow:
    defined, attempts = page.graph.tasks[task.name], page.attempts_of(task)
    missing = page.waits_for(task)
    return TaskRow(
        name=str(task),
        look=look_of(task),
        action="parallel block" if defined.type == "parallel" else defined.action or "",
        url=link_to_children(page, task),
        nested=any(attempt.workflow_def is not None for attempt in attempts),
        count=count_of(page, task),
        failed=page.children_of(task).failed,
        attempts=_attempts(page, attempts) if task.item_count is None else [],
        ran=ran_for(page, task),
        waits_for=", ".join(missing),
        needs=f"{len(page.graph.predecessors[task.name]) - len(missing)} of {defined.join}" if missing else "",
        error=task.error or "",
        came_from=_came_from(task),
        steps=[_step(page, task, transition) for transition in task.transitions],
        published=[(name, short(value)) for name, value in list(task.published.items())[:_SHOWN_VALUES]],
    )


def _came_from(task: WorkflowTask) -> str:
    if task.block is not None:
        return f"in {task.block}"
    if task.triggered_by is None:
        return ""
    suffix = "" if task.triggered_iteration is None else f" [{task.triggered_iteration}]"
    return f"after {task.triggered_by}{suffix}"


def _attempts(page: RunOnPage, attempts: Sequence[Execution]) -> list[Link]:
    """Return links to the attempts of a task's child, when there were several."""
    if len(attempts) < 2:
        return []
    return [
        Link(text=f"attempt {attempt.attempt}", url=link_to_child(page, attempt.pk))
        for attempt in attempts[-_SHOWN_ATTEMPTS:]
    ]


def _step(page: RunOnPage, task: WorkflowTask, transition: Mapping[str, Any]) -> Step:
    steps = page.graph.tasks[task.name].next
    index = transition["index"]
    return Step(
        fired=transition["fired"],
        why=condition_label(transition["when"]) or "always",
        targets=", ".join(steps[index].do) if index < len(steps) else "",
        error=transition.get("error") or "",
    )


def short(value: Any) -> str:
    """Return a published value on one short line; a marker for a secret says that it is one."""
    text = json.dumps(_without_markers(value), ensure_ascii=False, default=str)
    return text if len(text) <= _VALUE_CHARACTERS else f"{text[: _VALUE_CHARACTERS - 1]}…"


def _without_markers(value: Any) -> Any:
    if is_marker(value):
        return "(secret)"
    if isinstance(value, dict):
        return {name: _without_markers(each) for name, each in value.items()}
    return [_without_markers(each) for each in value] if isinstance(value, list) else value
