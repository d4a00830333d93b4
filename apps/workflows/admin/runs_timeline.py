"""
When the tasks of a run waited and ran: a row for each child, its attempts side by side; bars in percent of the time.

Beyond ``SHOWN_ATTEMPTS`` children those of one task with items are one row, beyond ``SHOWN_ROWS`` rows the newest are shown.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from apps.core import markup
from apps.executions.models import Execution
from apps.workflows.admin.runs_graph import link_to_child, link_to_children, ran_for
from apps.workflows.admin.runs_reading import RunOnPage
from apps.workflows.admin.runs_states import Look, look_of, look_of_child
from apps.workflows.models import TaskStatus, WorkflowTask

SHOWN_ROWS = 200
ROW_HEIGHT = 24
_THINNEST = 0.3  # percent: what took no time is still to be seen
_MOST_TICKS = 8
_STEPS_SECONDS = (
    0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bar:
    """``waiting``: it was asked for, and had not begun. ``x`` and ``width`` are percent."""

    x: float
    width: float
    tone: str
    title: str
    waiting: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    label: str
    look: Look
    note: str
    url: str | None
    task: str
    bars: Sequence[Bar]
    begun: datetime
    number: int = 0

    @property
    def y(self) -> int:
        return self.number * ROW_HEIGHT + 6


@dataclass(frozen=True, kw_only=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """``left_out``: how many older rows are not shown; ``folded``: children of tasks with items are one row."""

    rows: Sequence[Row]
    ticks: Sequence[Tick]
    start: datetime
    end: datetime
    left_out: int
    folded: bool

    @property
    def height(self) -> int:
        return len(self.rows) * ROW_HEIGHT


@dataclass(frozen=True, kw_only=True)
class Span:
    """The time that the picture is wide."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return max((self.end - self.start).total_seconds(), 0.001)

    def percent(self, moment: datetime) -> float:
        share = (moment - self.start).total_seconds() / self.seconds
        return round(min(max(share, 0.0), 1.0) * 100, 3)

    def bar(self, begin: datetime, end: datetime, *, tone: str, title: str, waiting: bool = False) -> Bar:
        x = min(self.percent(begin), 100 - _THINNEST)
        width = max(round(self.percent(end) - x, 3), _THINNEST)
        return Bar(x=x, width=width, tone=tone, title=title, waiting=waiting)


def timeline_of(page: RunOnPage) -> Timeline:
    """Return the rows in the order in which they began, over the time from the first to the last moment of the run."""
    began = page.execution.started_at or page.run.created
    span = Span(start=began, end=max(page.execution.finished_at or page.now, began + timedelta(milliseconds=1)))
    rows = sorted((row for task in page.tasks for row in _rows(page, task, span)), key=lambda row: row.begun)
    shown = [replace(row, number=number) for number, row in enumerate(rows[-SHOWN_ROWS:])]
    left_out = len(rows) - len(shown) + page.task_count - len(page.tasks)
    return Timeline(
        rows=shown, ticks=ticks(span.seconds), start=span.start, end=span.end, left_out=left_out, folded=page.folded
    )


def ticks(seconds: float) -> list[Tick]:
    """Return marks at round times, a handful of them whatever the length."""
    step: float = next((step for step in _STEPS_SECONDS if seconds / step <= _MOST_TICKS), 0)
    if not step:
        days = -(-seconds // 86400)
        step = 86400 * -(-days // _MOST_TICKS)
    count = int(seconds / step)
    return [
        Tick(x=round(number * step / seconds * 100, 3), label=_offset(number * step))
        for number in range(count + 1)
        if number * step / seconds < 0.97 or number == 0  # a label needs room
    ]


def _offset(seconds: float) -> str:
    return f"{round(seconds, 2):g} s" if seconds < 60 else markup.seconds_text(seconds)


def _rows(page: RunOnPage, task: WorkflowTask, span: Span) -> Iterator[Row]:
    chains = _chains(page.attempts_of(task))
    if not chains:
        yield _row_of_task(page, task, span)
    for attempts in chains:
        yield _row_of_child(page, task, attempts, span)


def _chains(attempts: Sequence[Execution]) -> list[list[Execution]]:
    """Return the attempts child by child, each in order."""
    found: defaultdict[int, list[Execution]] = defaultdict(list)
    for attempt in attempts:
        found[attempt.original_execution_id or attempt.pk].append(attempt)
    return list(found.values())


def _row_of_child(page: RunOnPage, task: WorkflowTask, attempts: Sequence[Execution], span: Span) -> Row:
    last = attempts[-1]
    index = (last.workflow_task or {}).get("task_index")
    notes = [
        "workflow" if last.workflow_def is not None else "",
        f"attempt {last.attempt}" if last.attempt > 1 else "",
    ]
    return Row(
        label=str(task) if index is None else f"{task} item {index}",
        look=look_of_child(last),
        note=", ".join(note for note in notes if note),
        url=link_to_child(page, last.pk),
        task=task.name,
        bars=[bar for attempt in attempts for bar in _bars_of_attempt(page, attempt, span)],
        begun=attempts[0].created,
    )


def _bars_of_attempt(page: RunOnPage, attempt: Execution, span: Span) -> Iterator[Bar]:
    look = look_of_child(attempt)
    end = attempt.finished_at or page.now
    begun = attempt.started_at or end
    name = f"Attempt {attempt.attempt}: {look.word}" if attempt.attempt > 1 else look.word.capitalize()
    if begun > attempt.created:
        waited = f"{name}\nwaited {_length(attempt.created, begun)}"
        until = attempt.not_before
        if until is not None:
            waited += f", to start not before {markup.absolute(until)}"
        yield span.bar(attempt.created, begun, tone=look.tone, title=waited, waiting=True)
    if attempt.started_at is not None:
        ran = f"{name}\n{markup.absolute(begun)}, ran {_length(begun, end)}"
        yield span.bar(begun, end, tone=look.tone, title=ran)


def _row_of_task(page: RunOnPage, task: WorkflowTask, span: Span) -> Row:
    """Return the row of a task without a child, or with so many that they are one row."""
    look, children = look_of(task), page.children_of(task)
    begin = task.started_at or task.created
    waiting = task.status == TaskStatus.PENDING
    end = task.finished_at or (page.execution.finished_at or page.now if waiting or task.started_at else begin)
    said = [look.word, f"{children.ended} of {children.total} items" if children.total > 1 else ""]
    said += ["waits for its join" if waiting else ran_for(page, task)]
    note = f"{children.ended}/{children.total} items" if children.total > 1 else ""
    if page.graph.tasks[task.name].type == "parallel":
        note = "block"
    return Row(
        label=str(task),
        look=look,
        note=note,
        url=link_to_children(page, task),
        task=task.name,
        bars=[span.bar(begin, end, tone=look.tone, title=", ".join(part for part in said if part), waiting=waiting)],
        begun=task.created,
    )


def _length(begin: datetime, end: datetime) -> str:
    return markup.seconds_text(max(0.0, (end - begin).total_seconds()))
