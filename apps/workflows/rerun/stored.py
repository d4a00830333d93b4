"""What a rerun is to do, as it is kept between the request and its start, and while it runs."""

from collections.abc import Mapping
from typing import Any

from apps.core import sql
from apps.executions.models import Execution
from apps.keys import secret_store
from apps.workflows.models import WorkflowRerun, WorkflowTaskDispatch
from apps.workflows.rerun.plan import Owed, Plan, from_json, to_json

MANUAL = "manual_retry"
_WHOLE = ""  # the JSON pointer of a whole document


def keep(
    execution: Execution, *, source: int | None, task_graph: Any, plan: Plan, inputs: Mapping[str, Mapping[str, Any]]
) -> WorkflowRerun:
    """Write down what a new execution is to do. What is put over inputs is encrypted as a whole: any of it may be secret."""
    rerun = WorkflowRerun.objects.create(
        execution=execution, source_id=source, task_graph=task_graph, plan=to_json(plan)
    )
    if inputs:
        secret_store.put(secret_store.WORKFLOW_RERUN, rerun.pk, {_WHOLE: inputs}, source_ref=execution.action_ref)
    return rerun


def rerun_of(execution: Execution) -> WorkflowRerun | None:
    """Return what an execution is to do if it is a rerun; an attempt that the engine repeats does the same again."""
    current: Execution | None = execution
    while current is not None and current.retry_of_id is not None:
        found = WorkflowRerun.objects.filter(execution=current.pk).first()
        if found is not None or current.retry_reason == MANUAL:
            return found
        current = Execution.objects.filter(pk=current.retry_of_id).first()
    return None


class Rerun:
    """A rerun while it is advanced; what it never asks for is not read."""

    def __init__(self, rerun_id: int) -> None:
        self._id = rerun_id
        self._plan: Plan | None = None
        self._source: int | None = None
        self._inputs: Mapping[str, Mapping[str, Any]] | None = None

    def owed(self) -> tuple[Owed, ...]:
        return self._read().owed

    def given_input(self, name: str) -> Mapping[str, Any]:
        """Return what is put over the rendered input of a task."""
        if self._inputs is None:
            self._inputs = secret_store.get(secret_store.WORKFLOW_RERUN, self._id).get(_WHOLE) or {}
        return self._inputs.get(name, {})

    def take_over_items(self, run_id: int, name: str, count: int) -> frozenset[int] | None:
        """
        Take over the children of a task that had succeeded; return their indexes.

        None: it has not as many items as before, so none of them can be taken over.
        """
        if name not in self._read().items or self._source is None:
            return frozenset()
        old = WorkflowTaskDispatch.objects.filter(workflow_execution=self._source, task_name=name)
        rows = list(old.order_by("task_index").values("task_index", "execution_id", "last_attempt", "outcome"))
        if len(rows) != count:
            return None
        kept = [row for row in rows if row["outcome"] == "succeeded"]
        made = [{**row, "workflow_execution": run_id, "task_name": name, "released": True} for row in kept]
        sql.insert(WorkflowTaskDispatch, made)
        return frozenset(row["task_index"] for row in kept if row["task_index"] is not None)

    def _read(self) -> Plan:
        if self._plan is None:
            stored, self._source = WorkflowRerun.objects.values_list("plan", "source").get(pk=self._id)
            self._plan = from_json(stored)
        return self._plan
