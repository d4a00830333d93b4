"""Copy into a new run what is taken over from the old one: tasks with their results, and the variables they published."""

from collections.abc import Iterable, Mapping
from typing import Any

from apps.core import sql
from apps.core.markers import holds_marker, pointer
from apps.keys import secret_store
from apps.workflows.engine.variables import write_variable
from apps.workflows.models import TaskStatus, WorkflowTask, WorkflowTaskDispatch
from apps.workflows.rerun.plan import Key, Plan

_COPIED = (
    "name", "iteration", "status", "outcome", "triggered_by", "triggered_iteration", "joined", "transitions", "published",
    "started_at", "finished_at", "error", "last_execution", "block", "item_count", "window",
)  # fmt: skip


def take_over(plan: Plan, *, source: int, run_id: int) -> None:
    """Write what a new run takes over; its tree is locked, and nothing of it has started."""
    taken, waiting = set(plan.taken_over), set(plan.waiting)
    rows = WorkflowTask.objects.filter(workflow_execution=source).order_by("pk")
    old = [row for row in rows if (row.name, row.iteration) in taken | waiting]
    sql.insert(WorkflowTask, [_copied(row, run_id, waits=(row.name, row.iteration) in waiting) for row in old])
    ended = [row for row in old if (row.name, row.iteration) in taken]
    secrets = _secrets_of(ended)
    _copy_secrets(ended, secrets, run_id)
    _copy_children(ended, source, run_id)
    _publish_again(ended, secrets, run_id)


def _copied(row: WorkflowTask, run_id: int, *, waits: bool) -> dict[str, Any]:
    copied = {name: getattr(row, name) for name in _COPIED}
    if waits:
        copied |= {"status": TaskStatus.PENDING, "finished_at": None}
    return {**copied, "workflow_execution": run_id, "reused_from": None if waits else row.last_execution}


def _secrets_of(rows: Iterable[WorkflowTask]) -> dict[int, dict[str, Any]]:
    """Return what stands behind the markers in what these tasks published, by their row."""
    marked = [row.pk for row in rows if holds_marker(row.published)]
    return secret_store.get_many(secret_store.WORKFLOW_TASK, marked) if marked else {}


def _copy_secrets(rows: Iterable[WorkflowTask], secrets: Mapping[int, Mapping[str, Any]], run_id: int) -> None:
    """A rerun may be rerun, so the new rows have them, too."""
    if not secrets:
        return
    new = WorkflowTask.objects.filter(workflow_execution=run_id).values_list("name", "iteration", "pk")
    places: dict[Key, int] = {(name, iteration): pk for name, iteration, pk in new}
    for row in rows:
        if row.pk in secrets:
            place = places[row.name, row.iteration]
            secret_store.put(secret_store.WORKFLOW_TASK, place, secrets[row.pk], source_ref=row.name)


def _copy_children(rows: Iterable[WorkflowTask], source: int, run_id: int) -> None:
    """What tasks with items read of theirs is found by these rows."""
    names = {row.name for row in rows if row.item_count}
    if not names:
        return
    old = WorkflowTaskDispatch.objects.filter(workflow_execution=source, outcome__isnull=False).order_by("pk")
    columns = ("task_name", "task_index", "iteration", "execution_id", "last_attempt", "released", "outcome")
    made = [{**row, "workflow_execution": run_id} for row in old.values(*columns) if row["task_name"] in names]
    sql.insert(WorkflowTaskDispatch, made)


def _publish_again(rows: Iterable[WorkflowTask], secrets: Mapping[int, Mapping[str, Any]], run_id: int) -> None:
    """Set the variables as these tasks published them, in the order in which they ended."""
    variables: dict[str, tuple[Any, dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row.finished_at is None, row.finished_at, row.pk)):
        for name, value in row.published.items():
            place = pointer([name])
            behind = {
                path.removeprefix(place): secret
                for path, secret in secrets.get(row.pk, {}).items()
                if path == place or path.startswith(f"{place}/")
            }
            variables[name] = (value, behind)
    for name, (value, behind) in variables.items():
        write_variable(run_id, name, value, behind)
