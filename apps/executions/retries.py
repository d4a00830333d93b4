"""
Make the next attempt of an execution: a new row, linked to the first attempt (execution.md section 16).

Children of a workflow are repeated as their task says (workflows.md section 9); the engine knows how long each waits.
"""

import random
from datetime import timedelta
from typing import Any

from apps.actions.models import Action, OnWorkerLost
from apps.core import clock
from apps.executions import engines
from apps.executions.models import Execution
from apps.executions.requests import store
from apps.executions.secrets import real_config
from apps.executions.states import Status

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 300.0
VARIATION = 0.2  # either way, so that what failed together does not come back together

# What a further attempt takes over from the one it repeats.
KEPT = (
    "action_id", "action_ref", "pack_ref", "config", "env_vars", "parent_id", "root", "depth", "enforcement",
    "executor_id", "permission_set_refs", "artifact_retention_policy", "artifact_retention_limit", "worker_selector",
    "worker_tolerations", "worker_affinity", "priority", "max_retries", "on_worker_lost", "max_lost_attempts",
    "timeout_seconds", "limits", "rule_ref", "trigger_ref", "expires_at", "correlation_id", "workflow_task",
    "workflow_def",
)  # fmt: skip


def next_attempt(execution: Execution, *, retry_count: int, reason: str, **changes: Any) -> Execution:
    """Return the unsaved next attempt of ``execution``, with ``changes`` in place of what is taken over."""
    kept = {name: getattr(execution, name) for name in KEPT}
    if execution.action_id is not None:  # without its action nobody could say what of it is secret
        kept["config"] = real_config(execution)
    linked = {
        "original_execution_id": execution.original_execution_id or execution.pk,
        "retry_of_id": execution.pk,
        "retry_count": retry_count,
        "attempt": retry_count + 1,
        "retry_reason": reason,
    }
    return Execution(**{**kept, **linked, **changes})


def delay_seconds(retry_count: int) -> float:
    """Return how long the attempt with this ``retry_count`` (1 for the first retry) waits: 1 s doubled, 300 s at most."""
    doublings = min(retry_count - 1, 16)  # far beyond the longest delay, and no number without end
    longest = min(FIRST_DELAY_SECONDS * 2.0**doublings, LONGEST_DELAY_SECONDS)
    return min(longest * random.uniform(1 - VARIATION, 1 + VARIATION), LONGEST_DELAY_SECONDS)  # no secret


def repeat_after_end(execution: Execution, *, reason: str = "transient_error") -> Execution | None:
    """
    Make the retry the engine owes an execution that has just ended; None when it owes none.

    Call in the transaction that ended it. A chain that lost its workers is repeated by ``repeat_after_loss``.
    """
    ending = Status(execution.status)
    if not is_repeated(execution, ending):
        return None
    if execution.workflow_task is not None:
        reason = "timeout" if ending == Status.TIMEOUT else "failed"
    action = _action(execution)
    attempt = _delayed_attempt(execution, reason=reason)
    return store(attempt, action=action, actor="sweep", reason="max_retries")


def repeat_after_loss(execution: Execution, *, reason: str) -> Execution | None:
    """Make the attempt that follows a lost worker, unless this work has lost as many workers in a row as it may."""
    if not is_repeated_after_loss(execution, execution.lost_count):
        return None
    action = _action(execution)
    attempt = _delayed_attempt(execution, reason=reason, lost_count=execution.lost_count)
    return store(attempt, action=action, actor="sweep", reason=reason)


def is_repeated(execution: Execution, ending: Status) -> bool:
    """Whether ``repeat_after_end`` makes a further attempt when the execution ends in this status."""
    if ending not in (Status.FAILED, Status.TIMEOUT):
        return False
    return execution.retry_count < (execution.max_retries or 0) and _workflow_goes_on(execution)


def is_repeated_after_loss(execution: Execution, lost_count: int) -> bool:
    """Whether ``repeat_after_loss`` makes a further attempt after that many lost workers."""
    wanted = execution.on_worker_lost == OnWorkerLost.RETRY and lost_count < execution.max_lost_attempts
    return wanted and _workflow_goes_on(execution)


def _workflow_goes_on(execution: Execution) -> bool:
    """No task is repeated once its workflow is being cancelled or has ended."""
    if execution.workflow_task is None:
        return True
    engine = engines.task_engine()
    return engine is not None and engine.may_repeat(execution)


def _delayed_attempt(execution: Execution, *, reason: str, **changes: Any) -> Execution:
    retry_count = execution.retry_count + 1
    engine = engines.task_engine() if execution.workflow_task is not None else None
    lost = "lost_count" in changes
    seconds = delay_seconds(retry_count) if engine is None or lost else engine.retry_delay_seconds(execution)
    not_before = clock.now() + timedelta(seconds=seconds) if seconds else None
    if execution.workflow_task is not None:
        changes["workflow_task"] = {**execution.workflow_task, "timed_out": False}
    return next_attempt(execution, retry_count=retry_count, reason=reason, not_before=not_before, **changes)


def _action(execution: Execution) -> Action | None:
    """Return its action; one that was deleted since the execution was read is taken off it, as it was off the row."""
    if execution.action_id is None:
        return None
    action = Action.objects.select_related("runtime").filter(pk=execution.action_id).first()
    if action is None:
        execution.action = None
    return action
