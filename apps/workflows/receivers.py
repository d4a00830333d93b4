"""News from below: an execution ended, an action was changed or deleted."""

from typing import Any

from apps.actions.models import Action
from apps.executions.models import Execution
from apps.workflows.companions import follow, shared_fields
from apps.workflows.engine import service
from apps.workflows.models import WorkflowDefinition


def on_execution_finished(*, execution: Execution, repeated: bool, **_signal: Any) -> None:
    """Let the workflow of a task go on, in the transaction that ends the child, once its last attempt has ended."""
    if execution.workflow_task is not None and not repeated:
        service.child_ended(execution)


def on_action_saved(*, instance: Action, created: bool, **_signal: Any) -> None:
    """Let the workflow follow its companion action."""
    if instance.workflow_def is None or created:
        return
    workflow = WorkflowDefinition.objects.filter(pk=instance.workflow_def).first()
    if workflow is not None:
        follow(workflow, shared_fields(instance))


def on_action_deleted(*, instance: Action, **_signal: Any) -> None:
    """Let the workflow go with its companion action."""
    if instance.workflow_def is not None:
        WorkflowDefinition.objects.filter(pk=instance.workflow_def).delete()


def on_workflow_deleted(*, instance: WorkflowDefinition, **_signal: Any) -> None:
    """Let the companion action go with its workflow."""
    Action.objects.filter(workflow_def=instance.pk).delete()
