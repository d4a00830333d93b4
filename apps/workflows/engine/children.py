"""The children of one run: made, released, looked after, cancelled."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from apps.actions.cached import current_action_of_ref
from apps.actions.models import Action
from apps.core import clock, sql
from apps.core.errors import ValidationFailed
from apps.core.schemas import secret_paths
from apps.executions.cancelling import cancel_locked
from apps.executions.engines import ASK_REF, engine_for
from apps.executions.models import Execution
from apps.executions.parameters import declared_names
from apps.executions.requests import ExecutionRequest, check_parameters, release, request_children
from apps.executions.states import PENDING, UNFINISHED, Status
from apps.executions.transitions import Step, transition
from apps.identity.models import Identity
from apps.workflows.definition.graph import Task
from apps.workflows.engine.book import ChildEnd, ChildSpec, Outcome, TaskRun
from apps.workflows.engine.delegation import undelegated
from apps.workflows.models import WorkflowTaskDispatch

DEEPEST = 20  # nested workflows (workflows.md section 14)
PARENT_CANCELLED = "Cancelled: parent workflow execution was cancelled"

_OF_TASK = "workflow_execution = %s AND task_name = %s AND {iteration}"
MOST_CANCELLED_AT_ONCE = 300  # of those that wait: each end is looked at by everybody who may wait for it

# The attempts of a task's children that have not ended; those made by hand belong to nobody.
_ATTEMPTS = """
SELECT e.id FROM workflow_task_dispatch d JOIN execution e ON e.id = d.execution_id
WHERE {of_task} AND d.outcome IS NULL AND {wanted}
UNION ALL
SELECT e.id FROM workflow_task_dispatch d JOIN execution e ON e.original_execution = d.execution_id
WHERE {of_task} AND d.outcome IS NULL AND e.workflow_task IS NOT NULL AND {wanted}
ORDER BY 1 {limit}
"""
_WAITS = "e.status IN ('requested', 'scheduling', 'scheduled')"
_RUNS = "e.status = 'running'"
_RUNS_BY_ENGINE = f"{_RUNS} AND (e.workflow_def IS NOT NULL OR e.action_ref = '{ASK_REF}')"
_ROWS_AT_ONCE = 1000  # databases take a limited number of parameters in one statement


class Children:
    def __init__(self, run_id: int, execution: Execution) -> None:
        self._run = run_id
        self._execution = execution
        self._actions: dict[str, Action | None] = {}
        self.cancelled_by: Identity | None = None

    # --- Making ---------------------------------------------------------------------------------------------------------

    def _action(self, task: Task) -> Action | None:
        """Return the action of a task; all that one advance asks is answered by one look."""
        ref = task.action or ""
        if ref not in self._actions:
            self._actions[ref] = current_action_of_ref(ref)
        return self._actions[ref]

    def refusal(self, task: Task, specs: Sequence[ChildSpec]) -> str | None:
        """Return why these children cannot be made, None when they can."""
        action = self._action(task)
        if action is None:
            return f"Action '{task.action}' does not exist"
        if action.workflow_def is not None and self._execution.depth + 1 > DEEPEST:
            return f"Workflows are nested deeper than {DEEPEST} levels"
        refusal = undelegated(self._execution, task, specs)
        if refusal is None and action.strict_parameters:
            return _violations(action, specs)
        return refusal

    def secret_places(self, task: Task, parameters: Mapping[str, Any]) -> Collection[tuple[str | int, ...]]:
        action = self._action(task)
        return secret_paths(action.param_schema, parameters) if action is not None and action.param_schema else ()

    def takes(self, task: Task, name: str) -> bool:
        action = self._action(task)
        return action is not None and name in declared_names(action.param_schema)

    def make(self, run: TaskRun, task: Task, specs: Sequence[ChildSpec]) -> list[Execution]:
        """Make the children of a task; all but those in its window are held back."""
        action = self._action(task)
        assert action is not None, "refusal() was asked"
        window = run.window or len(specs)
        requests = [
            self._request(run, task, action, spec, held=position >= window) for position, spec in enumerate(specs)
        ]
        children = request_children(self._execution, requests)
        rows = [
            {
                "workflow_execution": self._run,
                "task_name": run.name,
                "task_index": spec.index,
                "iteration": run.iteration,
                "execution_id": child.pk,
                "released": not child.held,
            }
            for spec, child in zip(specs, children, strict=True)
        ]
        sql.insert(WorkflowTaskDispatch, rows)
        return children

    @cached_property
    def _executor(self) -> Identity | None:
        """Whom the children run for; nobody looks at more of it than its id."""
        return Identity(pk=self._execution.executor_id) if self._execution.executor_id is not None else None

    def _request(self, run: TaskRun, task: Task, action: Action, spec: ChildSpec, *, held: bool) -> ExecutionRequest:
        parent = self._execution
        retries = task.retry.count if task.retry is not None else 0
        return ExecutionRequest(
            action=action,
            parameters=spec.parameters,
            env_vars=parent.env_vars,
            executor=self._executor,
            permission_set_refs=spec.permission_set_refs,
            parent=parent,
            enforcement=parent.enforcement,
            rule_ref=parent.rule_ref,
            trigger_ref=parent.trigger_ref,
            timeout_seconds=task.timeout,
            max_retries=retries,
            held=held,
            workflow_task={
                "workflow_execution": self._run,
                "task_name": run.name,
                "triggered_by": run.triggered_by,
                "task_index": spec.index,
                "task_batch": spec.batch,
                "iteration": run.iteration,
                "max_retries": retries,
                "timeout_seconds": task.timeout,
                "timed_out": False,
            },
        )

    # --- Ends -----------------------------------------------------------------------------------------------------------

    def note_end(self, end: ChildEnd) -> Literal["released", "held", "again"]:
        where, parameters = self._of(end.name, end.iteration)
        index = -1 if end.index is None else end.index
        row = sql.update_returning(
            WorkflowTaskDispatch,
            {"outcome": end.outcome, "last_attempt": end.child, "updated": clock.now()},
            f"{where} AND coalesce(task_index, -1) = %s AND outcome IS NULL",
            [*parameters, index],
        )
        if row is None:
            return "again"
        return "released" if row.released else "held"

    def release_next(self, run: TaskRun) -> None:
        where, parameters = self._of(run.name, run.iteration)
        text = f"SELECT id, execution_id FROM workflow_task_dispatch WHERE {where} AND outcome IS NULL"
        rows = sql.fetch(f"{text} AND released = %s ORDER BY task_index LIMIT 1", [*parameters, False])
        if not rows:
            return
        ((row_id, child_id),) = rows
        sql.update(WorkflowTaskDispatch, {"released": True, "updated": clock.now()}, "id = %s", [row_id])
        child = sql.get(Execution, "id = %s", [child_id])
        if child is not None:
            child.action = current_action_of_ref(child.action_ref)
            release(child, actor="workflow")

    def has_open(self, run: TaskRun) -> bool:
        where, parameters = self._of(run.name, run.iteration)
        text = f"SELECT 1 FROM workflow_task_dispatch WHERE {where} AND outcome IS NULL LIMIT 1"
        return bool(sql.fetch(text, parameters))

    def unsuccessful(self, run: TaskRun) -> set[Outcome]:
        where, parameters = self._of(run.name, run.iteration)
        text = f"SELECT DISTINCT outcome FROM workflow_task_dispatch WHERE {where}"
        rows = sql.fetch(f"{text} AND outcome IS NOT NULL AND outcome <> 'succeeded'", parameters)
        return {row[0] for row in rows}

    def attempts(self, run: TaskRun) -> list[int | None]:
        """Return the last attempts of the children of a finished task, by index."""
        where, parameters = self._of(run.name, run.iteration)
        text = f"SELECT last_attempt FROM workflow_task_dispatch WHERE {where} ORDER BY task_index"
        return [row[0] for row in sql.fetch(text, parameters)]

    # --- Cancelling -----------------------------------------------------------------------------------------------------

    def cancel(self, run: TaskRun, *, running: bool, error: str) -> None:
        """
        Cancel the children of a task that have not ended; without ``running`` those that run already finish.

        Of those that wait so many at once as one transaction may take; the sweep comes for the others (``held``).
        ``error``: what those that have not begun come to.
        """
        where, parameters = self._of(run.name, run.iteration)
        runs = _RUNS if running else _RUNS_BY_ENGINE
        going = sql.fetch(_ATTEMPTS.format(of_task=where, wanted=runs, limit=""), [*parameters, *parameters])
        limit = f"LIMIT {MOST_CANCELLED_AT_ONCE}"
        waiting = sql.fetch(_ATTEMPTS.format(of_task=where, wanted=_WAITS, limit=limit), [*parameters, *parameters])
        if len(waiting) == MOST_CANCELLED_AT_ONCE:
            self._hold_back(where, parameters)
        found = [row[0] for row in (*going, *waiting)]
        for start in range(0, len(found), _ROWS_AT_ONCE):
            rows = Execution.objects.filter(pk__in=found[start : start + _ROWS_AT_ONCE], status__in=UNFINISHED)
            for child in rows.select_for_update(no_key=True).order_by("pk"):
                self._cancel_one(child, running=running, error=error)

    def _hold_back(self, where: str, parameters: Sequence[Any]) -> None:
        """See that none of them starts until its turn to be cancelled comes, in one of the transactions after this."""
        first = f"SELECT execution_id FROM workflow_task_dispatch WHERE {where} AND outcome IS NULL"
        values = {"held": True, "demand": None, "updated": clock.now()}
        sql.update(Execution, values, f"status = 'requested' AND NOT held AND id IN ({first})", parameters)

    def _cancel_one(self, child: Execution, *, running: bool, error: str) -> None:
        reason = f"parent {self._execution.pk}"
        if child.status in PENDING:
            step = Step(source=Status(child.status), target=Status.CANCELLED, actor="workflow", reason=reason)
            by = self.cancelled_by.pk if self.cancelled_by is not None else None
            result = {"error": error, "succeeded": False, "cancelled": True}
            moment = clock.now()
            transition(child, step, result=result, succeeded=False, cancel_requested_at=moment, cancelled_by=by)
        elif running or engine_for(child) is not None:
            cancel_locked(child, by=self.cancelled_by, actor="workflow", reason=reason)

    def _of(self, name: str, iteration: int | None) -> tuple[str, list[Any]]:
        """Return the condition for the children of a task; the index needs null to be named."""
        if iteration is None:
            return _OF_TASK.format(iteration="iteration IS NULL"), [self._run, name]
        return _OF_TASK.format(iteration="iteration = %s"), [self._run, name, iteration]


def _violations(action: Action, specs: Sequence[ChildSpec]) -> str | None:
    for spec in specs:
        try:
            check_parameters(action, spec.parameters)
        except ValidationFailed as error:
            return str(error)
    return None
