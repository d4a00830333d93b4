"""The rows of the tasks of one run, read and written with as little as possible."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from apps.core import clock, sql
from apps.workflows.definition.graph import Graph
from apps.workflows.engine.book import FailedTask, TaskRun
from apps.workflows.models import WorkflowTask

_FIELDS = (
    "name", "iteration", "status", "outcome", "triggered_by", "triggered_iteration", "joined", "block", "item_count",
    "window", "error", "last_execution", "transitions", "published",
)  # fmt: skip
_JSON = ("joined", "transitions", "published")
_COLUMNS = ", ".join(["id", *(f'"{name}"' for name in _FIELDS)])
_SELECT = f"SELECT {_COLUMNS} FROM workflow_task"
_ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})
# SQLite takes a partial index only when the query repeats its condition word for word.
_OPEN = "workflow_execution = %s AND status IN ('pending', 'running')"
_KEY = "workflow_execution = %s AND name = %s AND coalesce(iteration, -1) = %s"
_DONE = "status IN ('completed', 'skipped')"


class TaskRows:
    """
    The tasks of one run, for as long as the root of its tree is locked.

    Every task is one object: whoever finds it again sees what was changed and is not written yet.
    """

    def __init__(self, run_id: int, graph: Graph) -> None:
        self._run = run_id
        self._graph = graph
        self._known: dict[tuple[str, int | None], TaskRun | None] = {}
        self._written: dict[int, dict[str, Any]] = {}

    # --- One task -----------------------------------------------------------------------------------------------------

    def find(self, name: str, iteration: int | None) -> TaskRun | None:
        key = (name, iteration)
        if key not in self._known:
            rows = self._read(_KEY, [self._run, name, -1 if iteration is None else iteration])
            self._known[key] = rows[0] if rows else None
        return self._known[key]

    def add(self, run: TaskRun) -> None:
        now = clock.now()
        row = _row(run)
        values = {"workflow_execution": self._run, **row}
        if run.status != "pending":
            values["started_at"] = now
            values["deadline"] = now + timedelta(seconds=run.timeout) if run.timeout else None
        if run.status in _ENDED:
            values["finished_at"] = now
        (run.row,) = sql.insert_returning(WorkflowTask, values, ("id",))
        self._known[run.name, run.iteration] = run
        self._written[run.row] = row

    def save(self, run: TaskRun) -> None:
        """Write what has changed."""
        assert run.row is not None
        row, before = _row(run), self._written[run.row]
        values: dict[str, Any] = {name: value for name, value in row.items() if before[name] != value}
        if not values:
            return
        now = clock.now()
        if before["status"] == "pending":
            values["started_at"] = now
            values["deadline"] = now + timedelta(seconds=run.timeout) if run.timeout else None
        if run.status in _ENDED:
            values["finished_at"] = now
        sql.update(WorkflowTask, {**values, "updated": now}, "id = %s", [run.row])
        self._written[run.row] = row

    # --- Several ------------------------------------------------------------------------------------------------------

    def waiting(self, names: Collection[str] | None) -> list[TaskRun]:
        """Return those that wait for their join; of these names, of all for None."""
        among, parameters = ("", []) if names is None else _among(names)
        return self._read(f"{_OPEN} AND status = 'pending'{among} ORDER BY id", [self._run, *parameters])

    def running(self) -> list[TaskRun]:
        return self._read(f"{_OPEN} AND status = 'running' ORDER BY id", [self._run])

    def is_busy(self) -> bool:
        text = f"SELECT 1 FROM workflow_task WHERE {_OPEN} AND status = 'running' LIMIT 1"
        return bool(sql.fetch(text, [self._run]))

    def sub_tasks(self, block: str, iteration: int | None) -> list[TaskRun]:
        where = (
            "workflow_execution = %s AND block IS NOT NULL AND block = %s AND coalesce(iteration, -1) = %s ORDER BY id"
        )
        return self._read(where, [self._run, block, -1 if iteration is None else iteration])

    def completed(self, names: Collection[str], iteration: int | None) -> set[str]:
        among, parameters = _among(names)
        text = f"SELECT name FROM workflow_task WHERE workflow_execution = %s{among}"
        text = f"{text} AND coalesce(iteration, -1) = %s AND {_DONE}"
        return {row[0] for row in sql.fetch(text, [self._run, *parameters, -1 if iteration is None else iteration])}

    def ever_completed(self, names: Collection[str]) -> set[str]:
        among, parameters = _among(names)
        text = f"SELECT DISTINCT name FROM workflow_task WHERE workflow_execution = %s{among} AND {_DONE}"
        return {row[0] for row in sql.fetch(text, [self._run, *parameters])}

    def has_run(self, name: str, times: int) -> bool:
        """Whether there have been this many runs; they are counted only once there were as many iterations."""
        where = "FROM workflow_task WHERE workflow_execution = %s AND name = %s"
        newest = f"SELECT coalesce(iteration, -1) {where} ORDER BY coalesce(iteration, -1) DESC LIMIT 1"
        rows = sql.fetch(newest, [self._run, name])
        if not rows or rows[0][0] + 1 < times:
            return False
        return int(sql.fetch(f"SELECT count(*) {where}", [self._run, name])[0][0]) >= times

    def latest(self, names: Collection[str] | None) -> dict[str, TaskRun]:
        """Return the latest finished run of each of these tasks, of all for None."""
        found: dict[str, TaskRun] = {}
        for name in self._graph.tasks if names is None else names:
            if name not in self._graph.tasks:
                continue
            where = "workflow_execution = %s AND name = %s AND outcome IS NOT NULL"
            rows = self._read(f"{where} ORDER BY coalesce(iteration, -1) DESC LIMIT 1", [self._run, name])
            # What has just ended is not written yet.
            rows += [run for (known, _), run in self._known.items() if known == name and run is not None]
            ended = [run for run in rows if run.outcome is not None]
            if ended:
                found[name] = max(ended, key=lambda run: -1 if run.iteration is None else run.iteration)
        return found

    def failures(self) -> list[FailedTask]:
        """Return what failed and was not handled, without what a child of it said; of items the first that failed."""
        text = "SELECT name, iteration, item_count, last_execution, error FROM workflow_task"
        where = "workflow_execution = %s AND status = 'failed' AND block IS NULL"
        rows = sql.fetch(f"{text} WHERE {where} ORDER BY finished_at, id", [self._run])
        return [
            FailedTask(task=name, execution=self._failed_item(name, iteration) if items else child, error=error)
            for name, iteration, items, child, error in rows
        ]

    def _failed_item(self, name: str, iteration: int | None) -> int | None:
        """Return the first of a task's children that failed; one that was only cancelled stands behind the others."""
        where = "d.workflow_execution = %s AND d.task_name = %s AND coalesce(d.iteration, -1) = %s"
        rows = sql.fetch(
            f"SELECT e.id FROM workflow_task_dispatch d JOIN execution e ON e.id = d.last_attempt WHERE {where}"
            " AND d.outcome <> 'succeeded' ORDER BY e.status = 'cancelled', d.task_index LIMIT 1",
            [self._run, name, -1 if iteration is None else iteration],
        )
        return rows[0][0] if rows else None

    def cancel_waiting(self) -> None:
        """Mark those whose join was never met; the run is over."""
        values = {"status": "cancelled", "updated": clock.now()}
        sql.update(WorkflowTask, values, f"{_OPEN} AND status = 'pending'", [self._run])

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _read(self, where: str, parameters: Sequence[Any]) -> list[TaskRun]:
        return [self._from_row(row) for row in sql.fetch(f"{_SELECT} WHERE {where}", parameters)]

    def _from_row(self, found: Sequence[Any]) -> TaskRun:
        pk, *values = found
        row = dict(zip(_FIELDS, values, strict=True))
        known = self._known.get((row["name"], row["iteration"]))
        if known is not None:
            return known
        for name in _JSON:
            row[name] = sql.convert(WorkflowTask, name, row[name])
        self._written[pk] = dict(row)
        row["transitions"], row["published"] = list(row["transitions"]), dict(row["published"])
        last_child = row.pop("last_execution")
        timeout = self._graph.tasks[row["name"]].timeout
        run = TaskRun(**row, last_child=last_child, timeout=timeout, row=pk)
        self._known[run.name, run.iteration] = run
        return run


def _row(run: TaskRun) -> dict[str, Any]:
    return {
        "name": run.name,
        "iteration": run.iteration,
        "status": run.status,
        "outcome": run.outcome,
        "triggered_by": run.triggered_by,
        "triggered_iteration": run.triggered_iteration,
        "joined": list(run.joined),
        "block": run.block,
        "item_count": run.item_count,
        "window": run.window,
        "error": run.error,
        "last_execution": run.last_child,
        "transitions": list(run.transitions),
        "published": dict(run.published),
    }


def _among(names: Collection[str]) -> tuple[str, list[str]]:
    return f" AND name IN ({', '.join(['%s'] * len(names))})", list(names)
