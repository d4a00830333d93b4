"""What the page of a workflow's execution shows beside what every execution has: graph, timeline, tasks, log."""

from collections.abc import Sequence
from dataclasses import dataclass

from apps.core import clock, markup
from apps.executions import storage
from apps.executions.admin.sections import Section
from apps.executions.logs import tail_offset
from apps.executions.models import Execution
from apps.identity.callers import Caller
from apps.workflows.admin.runs_graph import graph_of
from apps.workflows.admin.runs_reading import RunOnPage, read_run
from apps.workflows.admin.runs_states import LEGEND
from apps.workflows.admin.runs_table import rows_of
from apps.workflows.admin.runs_timeline import ROW_HEIGHT, timeline_of
from apps.workflows.engine.closing import STREAM
from apps.workflows.engine.variables import read_variables
from apps.workflows.models import WorkflowLogLine

TEMPLATE = "admin/workflows/run/section.html"
TASKS_A_SECOND = 100  # so that a page which somebody leaves open costs next to nothing
SHOWN_LOG_LINES = 200
SHOWN_LOG_BYTES = 64 * 1024
LEVELS = ("INFO", "WARN", "ERROR")


@dataclass(frozen=True, kw_only=True)
class LogLine:
    level: str
    text: str


def section_of_run(execution: Execution, caller: Caller) -> Section | None:
    """Return the section of a workflow's execution; None for another execution, and before its run has begun."""
    page = read_run(execution, caller)
    if page is None:
        return None
    tasks = rows_of(page)
    variables = {**page.graph.variables, **read_variables(page.run.pk, None, real=False)}
    return Section(
        template=TEMPLATE,
        refresh_seconds=1 + min(4, (len(page.graph.tasks) + len(tasks)) // TASKS_A_SECOND),
        context={
            "picture": graph_of(page),
            "legend": LEGEND,
            "counted": page.task_count,
            "defined": len(page.graph.tasks),
            "timeline": timeline_of(page),
            "row_height": ROW_HEIGHT,
            "tasks": tasks,
            "older_tasks": page.task_count - len(tasks),
            "variables": markup.json_block(variables),
            "log": log_of(page),
            "paused": page.run.pause_reason or "no reason given" if page.run.paused else "",
            "definition": markup.page_of("workflows_workflowdefinition", page.run.workflow_def_id),
        },
    )


def log_of(page: RunOnPage) -> Sequence[LogLine] | None:
    """Return the end of the run's log; None when retention has removed it."""
    rows = WorkflowLogLine.objects.filter(workflow_execution=page.run.pk).order_by("-pk")[:SHOWN_LOG_LINES]
    lines = [LogLine(level=row.level, text=f"{clock.as_text(row.created)} [{row.level}] {row.text}") for row in rows]
    if lines or not page.execution.is_finished:
        return lines[::-1]
    return _stored_log(page.execution.pk)


def _stored_log(execution_id: int) -> list[LogLine] | None:
    file = storage.open_file_or_packed(f"execution_{execution_id}/{STREAM}.log")
    if file is None:
        return None
    with file:
        size = storage.size_of(file)
        start = max(tail_offset(file, size, SHOWN_LOG_LINES), size - SHOWN_LOG_BYTES)
        text = markup.terminal_text(b"".join(storage.read_range(file, start, size)))
    return [LogLine(level=_level(line), text=line) for line in text.splitlines()]


def _level(line: str) -> str:
    return next((level for level in LEVELS if f" [{level}] " in line[:50]), "INFO")
