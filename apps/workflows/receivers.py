"""News from executions."""

from typing import Any

from apps.executions.models import Execution
from apps.workflows.engine import service


def on_execution_finished(*, execution: Execution, repeated: bool, **_signal: Any) -> None:
    """Let the workflow of a task go on, in the transaction that ends the child, once its last attempt has ended."""
    if execution.workflow_task is not None and not repeated:
        service.child_ended(execution)
