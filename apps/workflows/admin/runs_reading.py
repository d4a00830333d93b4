"""Everything the page of a run shows, read with a number of queries that does not depend on how much there is."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Count, Max, Q

from apps.core import clock
from apps.executions.models import Execution
from apps.executions.visibility import visible_to
from apps.identity.callers import Caller
from apps.workflows.definition.graph import Graph
from apps.workflows.engine.runs import run_of, snapshot_of
from apps.workflows.models import TaskStatus, WorkflowExecution, WorkflowTask, WorkflowTaskDispatch

SHOWN_TASKS = 400  # the newest; those of a loop that are older are only counted
SHOWN_ATTEMPTS = 200  # beyond that the children of a task with items are one row
_ATTEMPT_COLUMNS = (
    "id", "action_ref", "status", "created", "started_at", "finished_at", "not_before", "attempt", "held", "retry_reason",
    "original_execution", "workflow_task", "workflow_def",
)  # fmt: skip

Key = tuple[str, int | None]


@dataclass(frozen=True, kw_only=True)
class Children:
    """The children of one task run, each counted once however often it was repeated."""

    total: int = 0
    ended: int = 0
    failed: int = 0
    newest: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunOnPage:
    """
    A run as it is at ``now``.

    ``tasks`` are its task runs, oldest first, ``task_count`` of them in all; ``times`` says how often each task has run.
    ``attempts``: the children, oldest first; with ``folded`` those of tasks with items are left out. ``seen``: those of
    the children that the reader may open.
    """

    execution: Execution
    run: WorkflowExecution
    graph: Graph
    now: datetime
    tasks: Sequence[WorkflowTask]
    times: Mapping[str, int]
    children: Mapping[Key, Children]
    attempts: Mapping[Key, Sequence[Execution]]
    folded: bool
    seen: frozenset[int]

    @property
    def task_count(self) -> int:
        return sum(self.times.values())

    @cached_property
    def latest(self) -> Mapping[str, WorkflowTask]:
        """By name, the newest run of each task that has run, or waits for its join."""
        return {task.name: task for task in self.tasks}

    def children_of(self, task: WorkflowTask) -> Children:
        return self.children.get((task.name, task.iteration), Children())

    def attempts_of(self, task: WorkflowTask) -> Sequence[Execution]:
        return self.attempts.get((task.name, task.iteration), ())

    def waits_for(self, task: WorkflowTask) -> list[str]:
        """Return the predecessors of a task waiting for its join that have not completed."""
        if task.status != TaskStatus.PENDING:
            return []
        cycle = self.graph.cycle_of.get(task.name, frozenset())
        done = {
            other.name
            for other in self.tasks
            if other.status in (TaskStatus.COMPLETED, TaskStatus.SKIPPED)
            and (other.name not in cycle or other.iteration == task.iteration)
        }
        return [name for name in self.graph.predecessors[task.name] if name not in done]


def read_run(execution: Execution, caller: Caller) -> RunOnPage | None:
    """Return the run beside a workflow's execution; None for another execution, and before it has begun."""
    if execution.workflow_def is None:
        return None
    stored = WorkflowExecution.objects.defer("task_graph", "variables").filter(execution=execution.pk).first()
    run = run_of(execution.pk)
    if stored is None or run is None:
        return None
    latest = _latest(stored)
    tasks = _tasks(stored, [pk for pk, _times in latest.values()])
    children = _children(stored)
    attempts, folded = _attempts(execution, stored)
    shown = {attempt.pk for attempt in attempts}
    shown |= {counted.newest for counted in children.values() if counted.newest is not None}
    shown |= {task.reused_from for task in tasks if task.reused_from is not None}
    return RunOnPage(
        execution=execution,
        run=stored,
        graph=snapshot_of(run).graph,
        now=clock.now(),
        tasks=tasks,
        times={name: times for name, (_pk, times) in latest.items()},
        children=children,
        attempts=_by_task(attempts),
        folded=folded,
        seen=frozenset(visible_to(caller).filter(pk__in=shown).values_list("pk", flat=True)) if shown else frozenset(),
    )


def _latest(stored: WorkflowExecution) -> dict[str, tuple[int, int]]:
    """Return by name the newest run of each task and how often it has run."""
    rows = WorkflowTask.objects.filter(workflow_execution=stored).order_by().values("name")
    counted = rows.annotate(newest=Max("pk"), times=Count("pk")).values_list("name", "newest", "times")
    return {name: (newest, times) for name, newest, times in counted}


def _tasks(stored: WorkflowExecution, latest: Iterable[int]) -> list[WorkflowTask]:
    rows = WorkflowTask.objects.filter(workflow_execution=stored)
    newest = rows.order_by("-pk").values("pk")[:SHOWN_TASKS]
    return list(rows.filter(Q(pk__in=newest) | Q(pk__in=list(latest))).order_by("pk"))


def _children(stored: WorkflowExecution) -> dict[Key, Children]:
    rows = WorkflowTaskDispatch.objects.filter(workflow_execution=stored).order_by().values("task_name", "iteration")
    counted = rows.annotate(
        total=Count("pk"),
        ended=Count("pk", filter=Q(outcome__isnull=False)),
        failed=Count("pk", filter=Q(outcome__in=("failed", "timed_out"))),
        first=Max("execution_id"),
        last=Max("last_attempt"),
    )
    return {
        (row["task_name"], row["iteration"]): Children(
            total=row["total"],
            ended=row["ended"],
            failed=row["failed"],
            newest=max((pk for pk in (row["first"], row["last"]) if pk is not None), default=None),
        )
        for row in counted
    }


def _attempts(execution: Execution, stored: WorkflowExecution) -> tuple[list[Execution], bool]:
    """Return the children one by one, and whether those of tasks with items had to be left out."""
    rows = Execution.objects.filter(parent=execution.pk, workflow_task__isnull=False)
    found = list(rows.only(*_ATTEMPT_COLUMNS).order_by("pk")[: SHOWN_ATTEMPTS + 1])
    if len(found) <= SHOWN_ATTEMPTS:
        return found, False
    alone = WorkflowTaskDispatch.objects.filter(workflow_execution=stored, task_index=None).order_by("-pk")
    first = list(alone.values_list("execution_id", flat=True)[:SHOWN_ATTEMPTS])
    of_them = Execution.objects.filter(Q(pk__in=first) | Q(original_execution__in=first))
    return list(of_them.only(*_ATTEMPT_COLUMNS).order_by("-pk")[:SHOWN_ATTEMPTS])[::-1], True


def _by_task(attempts: Iterable[Execution]) -> dict[Key, list[Execution]]:
    found: defaultdict[Key, list[Execution]] = defaultdict(list)
    for attempt in attempts:
        task: Mapping[str, Any] = attempt.workflow_task or {}
        found[str(task.get("task_name")), task.get("iteration")].append(attempt)
    return found
