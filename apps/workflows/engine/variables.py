"""The variables that a run has published: rows with markers for secrets, and the secrets kept encrypted apart."""

from collections.abc import Collection, Mapping
from typing import Any

from apps.core import clock, sql
from apps.core.markers import holds_marker, pointer, restored
from apps.keys import secret_store
from apps.workflows.models import WorkflowVariable

_SELECT = "SELECT id, name, value FROM workflow_variable WHERE workflow_execution = %s"
_KEY = "workflow_execution = %s AND name = %s"


def read_variables(run_id: int, names: Collection[str] | None, *, real: bool) -> dict[str, Any]:
    """Return these variables, as far as they are published; all of them for None."""
    text, parameters = _SELECT, [run_id, *(names or ())]
    if names is not None:
        text = f"{text} AND name IN ({', '.join(['%s'] * len(names))})"
    found = {}
    for row_id, name, stored in sql.fetch(text, parameters):
        value = sql.convert(WorkflowVariable, "value", stored)
        if real and holds_marker(value):
            value = restored(value, secret_store.get(secret_store.WORKFLOW_VARIABLE, row_id))
        found[name] = value
    return found


def write_variable(run_id: int, name: str, value: Any, secrets: Mapping[str, Any]) -> None:
    """Set a variable; the root of the run's tree is locked, so nobody else does meanwhile."""
    changes = {"value": value, "updated": clock.now()}
    if not sql.update(WorkflowVariable, changes, _KEY, [run_id, name]):
        sql.insert(WorkflowVariable, [{"workflow_execution": run_id, "name": name, "value": value}])
    if secrets:
        ((row_id,),) = sql.fetch(f"SELECT id FROM workflow_variable WHERE {_KEY}", [run_id, name])
        secret_store.replace(secret_store.WORKFLOW_VARIABLE, row_id, secrets, source_kind="parameter", source_ref=name)


def keep_published_secrets(task_row: int, name: str, secrets: Mapping[str, Any]) -> None:
    """Keep what stands behind the markers in what a task has published, also when others set the variable anew."""
    places = {f"{pointer([name])}{place}": value for place, value in secrets.items()}
    secret_store.put(secret_store.WORKFLOW_TASK, task_row, places, source_ref=name)
