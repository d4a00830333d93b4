"""Loads the workflows of packs: action files with ``workflow_file``, and the files of ``workflows/`` (packs.md 4)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from apps.actions.loader import KEYS, ActionLoader, checked_fields
from apps.actions.models import Action
from apps.packs.components import Component, FaultyComponent
from apps.packs.models import Pack
from apps.packs.rows import delete_stale, locked, store
from apps.workflows.checks import schemas_of
from apps.workflows.companions import ENTRYPOINT, shared_fields
from apps.workflows.definition.checking import check
from apps.workflows.definition.parsing import version_of
from apps.workflows.definition.problems import Entry, Problem
from apps.workflows.definition.source import entries
from apps.workflows.models import WorkflowDefinition
from apps.workflows.pack_sources import ACTIONS, WORKFLOWS, Described, described

_KEYS = {"param_schema": "parameters", "out_schema": "output"}
_MOST_WARNINGS = 50  # of one file


class WorkflowActionLoader(ActionLoader):
    """Stores action files as before; one with ``workflow_file`` becomes a workflow and its companion action."""

    def load(self, pack: Pack, component: Component) -> None:
        if component.text("workflow_file") is None:
            _make_way(component.ref)
            super().load(pack, component)
            return
        load_linked(pack, component)

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        return [*super().remove_stale(pack, kept_refs), *delete_stale(_managed(pack, ACTIONS), kept_refs)]


class WorkflowLoader:
    """Stores what the files of ``workflows/`` describe; workflows made through the API are left alone."""

    folder = WORKFLOWS

    def load(self, pack: Pack, component: Component) -> None:
        load_alone(pack, component)

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        return delete_stale(_managed(pack, WORKFLOWS), kept_refs)


def load_linked(pack: Pack, component: Component) -> WorkflowDefinition:
    """Store the workflow of an action file. Raises FaultyComponent."""
    fields = checked_fields(component)
    workflow = _stored(pack, described(component), {name: fields[name] for name in ("label", "description")})
    _refuse_other_action(workflow)
    store(Action, pack, component.ref, {**fields, "workflow_def": workflow.pk}, keys=KEYS)
    return workflow


def load_alone(pack: Pack, component: Component) -> WorkflowDefinition:
    """Store the workflow of a file that stands alone. Raises FaultyComponent."""
    for key in ("ref", "label"):
        if not component.text(key):
            raise FaultyComponent(f"{key} is required", key=key)
    own = {"label": component.label, "description": component.text("description")}
    workflow = _stored(pack, described(component), own)
    _refuse_other_action(workflow)
    companion = {"entrypoint": ENTRYPOINT, "runtime": None, "workflow_def": workflow.pk}
    store(Action, pack, workflow.ref, {**shared_fields(workflow), **companion}, keys=_KEYS)
    return workflow


def warning_texts(found: Sequence[Entry]) -> list[str]:
    """Return entries as people read them, with the line where it is known."""
    return [f"line {entry['line']}: {entry['message']}" if entry["line"] else entry["message"] for entry in found]


def _stored(pack: Pack, found: Described, own: Mapping[str, Any]) -> WorkflowDefinition:
    component, definition = found.component, found.definition
    _check(pack, found)
    locked(Action, component.ref)  # before its workflow, as everybody does
    fields = {
        **own,
        "version": version_of(definition),
        "param_schema": component.schema("parameters"),
        "out_schema": component.schema("output"),
        "definition": definition,
        "tags": component.texts("tags"),
        "is_adhoc": False,
        "source_file": component.file.path,
    }
    _refuse_adhoc(component.ref)
    return store(WorkflowDefinition, pack, component.ref, fields, keys=_KEYS)


def _check(pack: Pack, found: Described) -> None:
    """Raise FaultyComponent for the first error and note all else as warnings."""
    actions = schemas_of(found.definition, among=Action.objects.all())
    checked = check(found.definition, actions=actions)
    errors = entries(checked.errors(strict=False), found.source)
    doubts = [problem for problem in checked.warnings(strict=False) if not _comes_later(problem, found, pack)]
    for entry in [*errors[1:], *entries(doubts, found.source)][:_MOST_WARNINGS]:
        warning = {"file": found.path, "line": entry["line"], "message": entry["message"]}
        found.component.warnings.append(warning)  # type: ignore[arg-type]  # a Warning
    if errors:
        raise FaultyComponent(f"invalid workflow: {errors[0]['message']}", file=found.path, line=errors[0]["line"])


def _comes_later(problem: Problem, found: Described, pack: Pack) -> bool:
    """Whether an action that is unknown now may stand in a file of this pack that is loaded after this one."""
    if problem.code != "unknown_action":
        return False
    value: Any = found.definition
    for key in problem.path:
        value = value[key]
    return str(value).startswith(f"{pack.ref}.") and found.component.file.path.startswith(f"{ACTIONS}/")


def _refuse_adhoc(ref: str) -> None:
    if WorkflowDefinition.objects.filter(ref=ref, is_adhoc=True).exists():
        raise FaultyComponent(f"'{ref}' was made through the API and is left as it is", key="ref")


def _refuse_other_action(workflow: WorkflowDefinition) -> None:
    """Raise FaultyComponent when the ref is that of an action that the pack's files describe, or of an ad-hoc one."""
    taken = Action.objects.filter(ref=workflow.ref).exclude(workflow_def=workflow.pk).first()
    if taken is None:
        return
    if taken.is_adhoc:
        raise FaultyComponent(f"'{taken.ref}' was made through the API and is left as it is", key="ref")
    if workflow.source_file is not None and workflow.source_file.startswith(f"{WORKFLOWS}/"):
        raise FaultyComponent(f"'{taken.ref}' is an action already", key="ref")


def _make_way(ref: str) -> None:
    """Let an action file that names no workflow any more describe a plain action."""
    workflow = WorkflowDefinition.objects.filter(ref=ref).first()
    if workflow is None:
        return
    _refuse_adhoc(ref)
    Action.objects.filter(workflow_def=workflow.pk).update(workflow_def=None)
    workflow.delete()


def _managed(pack: Pack, folder: str) -> Any:
    return WorkflowDefinition.objects.filter(pack_ref=pack.ref, is_adhoc=False, source_file__startswith=f"{folder}/")
