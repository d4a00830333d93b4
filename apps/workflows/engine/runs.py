"""The rows of runs, and their graphs, which are parsed once in each process."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core import sql
from apps.workflows.definition.graph import Graph
from apps.workflows.definition.parsing import parse
from apps.workflows.models import WorkflowDefinition, WorkflowExecution

_COLUMNS = "id, execution, status, error_message, created, rerun"
_MOST_KEPT = 500


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What a run goes by, whatever becomes of its definition."""

    graph: Graph
    ref: str
    pack_ref: str
    param_schema: Any
    out_schema: Any


@dataclass(kw_only=True)
class Run:
    """The row of a run, without what is wide."""

    id: int
    execution_id: int
    status: str
    error_message: str | None
    created: datetime
    rerun_id: int | None


# By id and moment: SQLite gives the id of a row that was rolled back once more.
_snapshots: OrderedDict[tuple[int, datetime], Snapshot] = OrderedDict()


def find_run(run_id: int) -> Run | None:
    return _run("id = %s", run_id)


def run_of(execution_id: int) -> Run | None:
    """Return the run beside a workflow's execution, None when it has not begun."""
    return _run("execution = %s", execution_id)


def _run(where: str, value: int) -> Run | None:
    rows = sql.fetch(f"SELECT {_COLUMNS} FROM workflow_execution WHERE {where}", [value])
    if not rows:
        return None
    pk, execution, status, error, created, rerun = rows[0]
    moment = sql.convert(WorkflowExecution, "created", created)
    return Run(id=pk, execution_id=execution, status=status, error_message=error, created=moment, rerun_id=rerun)


def snapshot_of(run: Run) -> Snapshot:
    """Return what a run goes by; it never changes, so each process reads it once."""
    found = _snapshots.get((run.id, run.created))
    if found is None:
        found = read_snapshot(WorkflowExecution.objects.values_list("task_graph", flat=True).get(pk=run.id))
        keep_snapshot(run, found)
    return found


def keep_snapshot(run: Run, snapshot: Snapshot) -> None:
    """Remember what a run goes by."""
    _snapshots[run.id, run.created] = snapshot
    if len(_snapshots) > _MOST_KEPT:
        _snapshots.popitem(last=False)


def task_graph_of(definition: WorkflowDefinition) -> dict[str, Any]:
    """Return what a run that begins now goes by, as it is stored with it."""
    return {
        "ref": definition.ref,
        "pack_ref": definition.pack_ref,
        "definition": definition.definition,
        "param_schema": definition.param_schema,
        "out_schema": definition.out_schema,
    }


def read_snapshot(stored: dict[str, Any]) -> Snapshot:
    return Snapshot(
        graph=parse(stored["definition"]),
        ref=stored["ref"],
        pack_ref=stored["pack_ref"],
        param_schema=stored.get("param_schema"),
        out_schema=stored.get("out_schema"),
    )


def forget_runs() -> None:
    """Forget what this process keeps (the tables were emptied)."""
    _snapshots.clear()
