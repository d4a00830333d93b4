"""What callers may ask of this app; each is described where it is written."""

from apps.executions.cancelling import cancel_execution, force_close_execution
from apps.executions.changes import UNSET, RetryChanges, Unset, retry_execution, retry_failed_tasks, update_execution
from apps.executions.dispatch import dispatch_on_commit, dispatch_waiting
from apps.executions.requests import ExecutionRequest, request_execution
from apps.executions.why import explain

__all__ = [
    "UNSET",
    "ExecutionRequest",
    "RetryChanges",
    "Unset",
    "cancel_execution",
    "dispatch_on_commit",
    "dispatch_waiting",
    "explain",
    "force_close_execution",
    "request_execution",
    "retry_execution",
    "retry_failed_tasks",
    "update_execution",
]
