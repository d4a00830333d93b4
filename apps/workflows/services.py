"""What callers may ask of workflow definitions: create, change, delete; the companion action goes along."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from apps.actions.models import Action
from apps.actions.rules import problems
from apps.core.errors import ConflictError, NotFound, ValidationFailed
from apps.packs.models import Pack
from apps.workflows import pack_files
from apps.workflows.checks import usable, warnings_of
from apps.workflows.companions import create_companion, follow, locked_companion, shared_fields
from apps.workflows.definition.problems import Entry
from apps.workflows.models import WorkflowDefinition


class RefTaken(ConflictError):
    """A workflow or action with this ref already exists"""


class WorkflowNotFound(NotFound):
    """Workflow not found"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Workflow '{ref}' not found")


class DefinedElsewhere(ConflictError):
    """The workflow is defined by another file of the pack"""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A workflow that was stored; ``warnings`` say what is doubtful about its definition."""

    workflow: WorkflowDefinition
    warnings: list[Entry]


@transaction.atomic
def create_workflow(
    *, ref: str, pack_ref: str, definition: Any, among: "QuerySet[Action] | None" = None, **fields: Any
) -> Saved:
    """
    Create a workflow and its companion action.

    ``among``: the actions that the caller knows of; others are told to be absent. Raises RefTaken, NotFound for the
    pack, InvalidWorkflow, ValidationFailed for the schemas.
    """
    refuse_taken(ref)
    pack = pack_of(pack_ref)
    _check_schemas(fields)
    found = usable(definition, among=_all_actions() if among is None else among)
    workflow = WorkflowDefinition(
        ref=ref, pack=pack, pack_ref=pack.ref, definition=definition, **{"is_adhoc": True, **fields}
    )
    workflow.clean_fields(exclude=["pack"])
    workflow.save(force_insert=True)
    create_companion(workflow)
    return Saved(workflow=workflow, warnings=warnings_of(found))


@transaction.atomic
def update_workflow(workflow_id: int, changes: Mapping[str, Any], *, among: "QuerySet[Action] | None" = None) -> Saved:
    """Change some fields of a workflow and of its companion action. Raises as ``create_workflow``."""
    action = locked_companion(workflow_id)
    workflow = _locked(workflow_id)
    _check_schemas(changes)
    warnings: list[Entry] = []
    if "definition" in changes:
        warnings = warnings_of(usable(changes["definition"], among=_all_actions() if among is None else among))
    follow(workflow, dict(changes))
    if action is None:
        create_companion(workflow)
    else:
        follow(action, shared_fields(workflow))
    return Saved(workflow=workflow, warnings=warnings)


@transaction.atomic
def delete_workflow(workflow_id: int) -> None:
    """Delete a workflow with its companion action; runs under way go on. Raises WorkflowNotFound."""
    action = locked_companion(workflow_id)
    workflow = _locked(workflow_id)
    if action is not None:
        action.delete()  # the workflow goes with it
    else:
        workflow.delete()


# --- Workflows that are files of a pack -------------------------------------------------------------------------


def create_workflow_files(
    *, name: str, pack_ref: str, among: "QuerySet[Action] | None" = None, **fields: Any
) -> Saved:
    """
    Create a workflow as ``create_workflow`` does, and write its files into the pack's folder.

    Raises RefTaken also when the pack has an action file of that name.
    """
    pack = pack_of(pack_ref)
    with pack_files.writing(pack, name) as files:
        files.refuse_existing()
        saved = create_workflow(
            ref=f"{pack_ref}.{name}",
            pack_ref=pack_ref,
            among=among,
            is_adhoc=False,
            source_file=files.action_file,
            **fields,
        )
        files.write(saved.workflow)
    return saved


def update_workflow_files(
    workflow: WorkflowDefinition, changes: Mapping[str, Any], *, among: "QuerySet[Action] | None" = None
) -> Saved:
    """Change a workflow as ``update_workflow`` does, and write its files. Raises DefinedElsewhere."""
    with pack_files.writing(workflow.pack, workflow.ref.partition(".")[2]) as files:
        if workflow.source_file not in (None, files.action_file):
            raise DefinedElsewhere(f"Workflow '{workflow.ref}' is defined by the pack's file {workflow.source_file}")
        if workflow.source_file is None:
            files.refuse_existing()
        own = {"is_adhoc": False, "source_file": files.action_file}
        saved = update_workflow(workflow.pk, {**changes, **own}, among=among)
        files.write(saved.workflow)
    return saved


# --- Parts ------------------------------------------------------------------------------------------------------


def refuse_taken(ref: str) -> None:
    """Raise RefTaken when there is a workflow or an action with this ref."""
    if WorkflowDefinition.objects.filter(ref=ref).exists():
        raise RefTaken(f"Workflow with ref '{ref}' already exists")
    if Action.objects.filter(ref=ref).exists():
        raise RefTaken(f"Action with ref '{ref}' already exists")


def pack_of(ref: str) -> Pack:
    """Return a pack. Raises NotFound."""
    pack = Pack.objects.filter(ref=ref).first()
    if pack is None:
        raise NotFound(f"Pack '{ref}' not found")
    return pack


def _locked(workflow_id: int) -> WorkflowDefinition:
    rows = WorkflowDefinition.objects.select_for_update(no_key=True, of=("self",)).select_related("pack")
    workflow = rows.filter(pk=workflow_id).first()
    if workflow is None:
        raise WorkflowNotFound(str(workflow_id))
    return workflow


def _all_actions() -> "QuerySet[Action]":
    return Action.objects.all()


def _check_schemas(fields: Mapping[str, Any]) -> None:
    if details := [{"field": name, "message": problem} for name, problem in problems(fields)]:
        raise ValidationFailed(details=details)  # type: ignore[arg-type]  # dicts of exactly these keys
