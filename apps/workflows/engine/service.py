"""
The engine of workflows, as executions see it, and what makes a run go on: the ends of its children, and times.

Everything here happens inside a transaction that holds the root of the run's tree, so one run is advanced by one at a
time. A child that is cancelled while its run is being advanced reports its end in the middle of that: it goes to the
same core.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from apps.core import clock, sql
from apps.executions.changes import RetryChanges
from apps.executions.models import Execution
from apps.executions.states import TERMINAL, Status
from apps.identity.models import Identity
from apps.workflows.engine.book import ChildEnd, Outcome, Stop, TaskRun
from apps.workflows.engine.closing import cannot_begin, close, definition_gone, timed_out_text
from apps.workflows.engine.core import Core
from apps.workflows.engine.database import CANCELLED, DatabaseBook
from apps.workflows.engine.runs import find_run, keep_snapshot, read_snapshot, run_of, snapshot_of, task_graph_of
from apps.workflows.engine.waiting import reasons
from apps.workflows.models import WorkflowDefinition, WorkflowExecution, WorkflowRerun
from apps.workflows.rerun.plan import Seed, from_json
from apps.workflows.rerun.service import Choice, rerun_execution
from apps.workflows.rerun.stored import rerun_of
from apps.workflows.rerun.taking_over import take_over

logger = logging.getLogger(__name__)

# Tasks that end without a child (skipped ones, loops of them) come in any number: a transaction must not take long.
MOST_AT_ONCE = 200

_OUTCOMES: dict[str, Outcome] = {Status.COMPLETED: "succeeded", Status.TIMEOUT: "timed_out"}


class _Advances(threading.local):
    """The runs that this thread is advancing right now, by id."""

    def __init__(self) -> None:
        self.cores: dict[int, tuple[Core, DatabaseBook]] = {}


_advances = _Advances()


@contextmanager
def advancing(run_id: int, execution: Execution | None = None) -> Iterator[tuple[Core, DatabaseBook] | None]:
    """
    Give the core and the book of a run; those in use when this thread is advancing it already. None: it is gone.

    ``execution``: the workflow's own, when the caller has it; it is brought up to date when the run ends.
    """
    active = _advances.cores.get(run_id)
    if active is not None:
        yield active
        return
    run = find_run(run_id)
    if run is None:
        yield None
        return
    book = DatabaseBook(run, snapshot_of(run), close)
    if execution is not None:
        book.execution = execution
    pair = (Core(book, most_at_once=MOST_AT_ONCE), book)
    _advances.cores[run_id] = pair
    try:
        yield pair
        book.flush()
    finally:
        del _advances.cores[run_id]


class WorkflowEngine:
    """The engine (``executions.engines.TaskEngine``) of workflows."""

    def start(self, execution: Execution) -> None:
        rerun = rerun_of(execution)
        if rerun is not None:
            self._start_again(execution, rerun)
            return
        definition = WorkflowDefinition.objects.filter(pk=execution.workflow_def or 0).first()
        if definition is None:
            definition_gone(execution)
            return
        run_id = _begin(execution, definition_id=definition.pk, task_graph=task_graph_of(definition))
        with advancing(run_id, execution) as found:
            assert found is not None
            core, book = found
            book.log("INFO", f"Workflow '{execution.action_ref}' started")
            core.start()

    def _start_again(self, execution: Execution, rerun: WorkflowRerun) -> None:
        plan = from_json(rerun.plan)
        if rerun.source_id is None and (plan.taken_over or plan.items):
            cannot_begin(execution, "The run that was to be repeated does not exist any more")
            return
        definition = WorkflowDefinition.objects.filter(pk=execution.workflow_def or 0).values_list("pk", flat=True)
        run_id = _begin(execution, definition_id=definition.first(), task_graph=rerun.task_graph, rerun_id=rerun.pk)
        if rerun.source_id is not None:
            take_over(plan, source=rerun.source_id, run_id=run_id)
        with advancing(run_id, execution) as found:
            assert found is not None
            core, book = found
            book.log("INFO", f"Workflow '{execution.action_ref}' started again: {', '.join(sorted(plan.again))}")
            seeds = [(_seed_run(seed), book.find(*seed.trigger) if seed.trigger else None) for seed in plan.seeds]
            followed = [book.find(*key) for key in plan.followed]
            core.start_again(seeds, [run for run in followed if run is not None])

    def retry_failed(self, execution_id: int, *, by: Identity, changes: RetryChanges) -> Execution:
        return rerun_execution(execution_id, by=by, choice=Choice(verb="retried"), changes=changes)

    def cancel(self, execution: Execution, *, by: Identity | None, reason: str) -> None:
        self._stop_children(execution, by=by)

    def closed(self, execution: Execution, *, by: Identity | None, reason: str) -> None:
        self._stop_children(execution, by=by)

    def _stop_children(self, execution: Execution, *, by: Identity | None) -> None:
        run = run_of(execution.pk)
        if run is None:
            return
        with advancing(run.id, execution) as found:
            assert found is not None
            core, book = found
            book.log("WARN", "Cancel requested")
            book.children.cancelled_by = by
            cancel_running = book.graph.cancellation_policy == "cancel_running"
            core.stop(Stop(status="cancelled", error=CANCELLED), cancel_running=cancel_running)

    def waits_for(self, execution: Execution) -> list[dict[str, Any]]:
        return reasons(execution)

    def may_repeat(self, child: Execution) -> bool:
        """Nothing is repeated once the run, or the task, is being stopped."""
        task = child.workflow_task or {}
        with advancing(task.get("workflow_execution") or 0) as found:
            if found is None:
                return False
            _core, book = found
            run = book.find(task["task_name"], task.get("iteration"))
            return book.stop is None and run is not None and run.status == "running" and run.error is None

    def retry_delay_seconds(self, child: Execution) -> float:
        task = child.workflow_task or {}
        run = find_run(task["workflow_execution"])
        retry = snapshot_of(run).graph.tasks[task["task_name"]].retry if run is not None else None
        return retry.delay_before(child.retry_count + 1) if retry is not None else 0.0


def child_ended(child: Execution) -> None:
    """Let the run go on of which a child has ended for good; told again it changes nothing."""
    task = child.workflow_task or {}
    with advancing(task.get("workflow_execution") or 0) as found:
        if found is None:
            return
        core, book = found
        book.just_ended = child
        core.child_ended(
            ChildEnd(
                name=task["task_name"],
                iteration=task.get("iteration"),
                index=task.get("task_index"),
                outcome=_OUTCOMES.get(child.status, "failed"),
                child=child.pk,
            )
        )


def look(run_id: int) -> None:
    """See whether a run is over; its root is locked."""
    with advancing(run_id) as found:
        if found is not None and found[1].execution.status not in TERMINAL:
            found[0].look()


def go_on(run_id: int) -> None:
    """Finish tasks that have ended and were put off; the root is locked."""
    with advancing(run_id) as found:
        if found is not None:
            found[0].go_on()


def go_on_stopping(run_id: int) -> None:
    """Cancel more of the children of tasks that are being stopped; the root is locked."""
    with advancing(run_id) as found:
        if found is not None:
            core, book = found
            book.children.cancelled_by = book.execution.cancelled_by
            core.go_on_stopping()


def time_of_block_is_up(run_id: int, name: str, iteration: int | None) -> None:
    """Stop a parallel block whose time is up; the root is locked."""
    with advancing(run_id) as found:
        if found is not None and found[1].stop is None:
            found[0].time_is_up(name, iteration)


def time_of_run_is_up(run_id: int) -> None:
    """Stop a nested run that has taken longer than its task allows; the root is locked."""
    with advancing(run_id) as found:
        if found is None or found[1].stop is not None:
            return
        core, book = found
        seconds = (book.execution.workflow_task or {}).get("timeout_seconds")
        core.stop(Stop(status="failed", error=timed_out_text(seconds or 0)), cancel_running=True)


def _seed_run(seed: Seed) -> TaskRun:
    name, iteration = seed.trigger or (None, None)
    return TaskRun(name=seed.name, iteration=seed.iteration, triggered_by=name, triggered_iteration=iteration)


def _begin(
    execution: Execution, *, definition_id: int | None, task_graph: dict[str, Any], rerun_id: int | None = None
) -> int:
    """Write the row of a run, with what it goes by, and return its id."""
    snapshot = read_snapshot(task_graph)
    seconds = (execution.workflow_task or {}).get("timeout_seconds")
    row = {
        "execution": execution.pk,
        "workflow_def": definition_id,
        "task_graph": task_graph,
        "variables": dict(snapshot.graph.variables),
        "deadline": clock.now() + timedelta(seconds=seconds) if seconds else None,
        "rerun": rerun_id,
    }
    (run_id,) = sql.insert_returning(WorkflowExecution, row, ("id",))
    run = find_run(run_id)
    assert run is not None
    keep_snapshot(run, snapshot)
    return run.id
