"""Loads action files of packs (packs.md section 4)."""

from collections.abc import Collection
from typing import Any

from apps.actions.models import Action
from apps.actions.placement import check_placement
from apps.actions.rules import problems
from apps.packs.components import Component, FaultyComponent
from apps.packs.models import Pack
from apps.packs.rows import delete_stale, store
from apps.workers.models import Runtime

RUNTIME_REFS = {
    **dict.fromkeys(("shell", "bash", "sh"), "core.shell"),
    **dict.fromkeys(("python", "python3"), "core.python"),
    **dict.fromkeys(("node", "nodejs", "node.js"), "core.nodejs"),
    **dict.fromkeys(("native", "builtin", "standalone"), "core.native"),
}
# Field of the row -> key of the file, where they differ.
KEYS = {
    "param_schema": "parameters",
    "out_schema": "output",
    "entrypoint": "entry_point",
    "runtime_version_constraint": "runtime_version",
}


class ActionLoader:
    """Stores what ``actions/*.yaml`` describe; ad-hoc actions and companions of workflows are left alone."""

    folder = "actions"

    def load(self, pack: Pack, component: Component) -> None:
        store(Action, pack, component.ref, checked_fields(component), keys=KEYS)

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        managed = Action.objects.filter(pack_ref=pack.ref, is_adhoc=False, workflow_def=None)
        return delete_stale(managed, kept_refs)


def checked_fields(component: Component) -> dict[str, Any]:
    """Return the row's fields as the file gives them. Raises FaultyComponent for what cannot be."""
    fields = action_fields(component)
    for name, problem in problems(fields):
        key = KEYS.get(name, name)
        raise FaultyComponent(f"{key}: {problem}", key=key)
    for problem in check_placement(fields["worker_selector"], fields["worker_tolerations"], fields["worker_affinity"]):
        raise FaultyComponent(problem, key=problem.split(".")[0].split("[")[0].split(" ")[0])
    return fields


def action_fields(component: Component) -> dict[str, Any]:
    """Return the row's fields as the file gives them."""
    data = component.data
    workflow_file = component.text("workflow_file")
    return {
        "label": component.label,
        "description": component.text("description"),
        "runtime": _runtime(component) if workflow_file is None else None,
        "entrypoint": component.text("entry_point", "") if workflow_file is None else workflow_file,
        "param_schema": component.schema("parameters"),
        "out_schema": component.schema("output"),
        "parameter_delivery": component.text("parameter_delivery", "stdin"),
        "parameter_format": component.text("parameter_format", "json"),
        "output_format": component.text("output_format", "text"),
        "runtime_version_constraint": component.text("runtime_version"),
        "required_worker_runtimes": component.mapping("required_worker_runtimes"),
        "worker_selector": component.mapping("worker_selector"),
        "worker_tolerations": component.listing("worker_tolerations"),
        "worker_affinity": component.mapping("worker_affinity"),
        "accesses_mcp": component.flag("accesses_mcp"),
        "default_execution_permission_set_refs": component.texts("default_execution_permission_set_refs"),
        "log_retention_policy": component.text("log_retention_policy"),
        "log_retention_limit": component.integer("log_retention_limit"),
        "artifact_retention_policy": component.text("artifact_retention_policy"),
        "artifact_retention_limit": component.integer("artifact_retention_limit"),
        "timeout_seconds": component.integer("timeout_seconds"),
        "max_retries": component.integer("max_retries", 0),
        "on_worker_lost": component.text("on_worker_lost", "abandon"),
        "max_lost_attempts": component.integer("max_lost_attempts", 2),
        "limits": component.mapping("limits"),
        "priority": component.integer("priority", 0),
        "ambient_keys": data.get("ambient_keys") if data.get("ambient_keys") is not None else "all",
        "strict_parameters": component.flag("strict_parameters"),
        "semaphores": component.texts("semaphores"),
    }


def _runtime(component: Component) -> Runtime | None:
    name = component.text("runner_type") or "shell"
    runtime = find_runtime(name)
    if runtime is None:
        component.warn(f"no runtime '{name}' is known; the action is stored without one", key="runner_type")
    return runtime


def find_runtime(name: str) -> Runtime | None:
    """Return the runtime that a ``runner_type`` means: a usual word, else a ref, a name or an alias, without case."""
    word = name.lower()
    ref = RUNTIME_REFS.get(word, word)
    found = Runtime.objects.filter(ref=ref).first()
    if found is not None or word in RUNTIME_REFS:
        return found
    return next((runtime for runtime in Runtime.objects.order_by("ref") if word in runtime.names), None)
