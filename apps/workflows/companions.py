"""
Keep a workflow and its companion action in step, whichever of them is changed or deleted (model.md 4.10).

Whoever changes both locks the action first.
"""

from typing import Any

from apps.actions.models import Action
from apps.core import consequences
from apps.workflows.models import WorkflowDefinition

ENTRYPOINT = "workflow"  # of a companion action that no action file describes
SHARED = ("label", "description", "param_schema", "out_schema")


def companion_of(workflow: WorkflowDefinition) -> Action | None:
    """Return the action that runs a workflow, None when it is gone."""
    return Action.objects.filter(workflow_def=workflow.pk).first()


def locked_companion(workflow_id: int) -> Action | None:
    """Return the action that runs a workflow and lock its row."""
    return Action.objects.select_for_update(no_key=True, of=("self",)).filter(workflow_def=workflow_id).first()


def create_companion(workflow: WorkflowDefinition) -> Action:
    """Create the action that runs a workflow."""
    action = Action(
        ref=workflow.ref,
        pack=workflow.pack,
        pack_ref=workflow.pack_ref,
        entrypoint=ENTRYPOINT,
        runtime=None,
        is_adhoc=False,
        workflow_def=workflow.pk,
        **shared_fields(workflow),
    )
    action.clean_fields(exclude=["pack", "runtime"])
    action.save(force_insert=True)
    return action


def shared_fields(row: Action | WorkflowDefinition) -> dict[str, Any]:
    """Return the fields that both have."""
    return {name: getattr(row, name) for name in SHARED}


def follow(row: Action | WorkflowDefinition, values: dict[str, Any]) -> None:
    """Give a row these values; one that has them is not written."""
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        row.clean_fields(exclude=["pack", "runtime"])
        row.save(update_fields=[*changed, "updated"])


def what_deletion_means(workflow: WorkflowDefinition) -> str:
    """Return what deleting a workflow means for rows of higher apps, through its action."""
    action = companion_of(workflow)
    return "; ".join(consequences.of(action)) if action is not None else ""
