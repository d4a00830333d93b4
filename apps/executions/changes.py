"""Change or repeat an execution by hand (api.md 13.3 and 13.9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from django.db import transaction
from django.db.models import Max, Q

from apps.core import clock
from apps.executions import engines
from apps.executions.audited import executed
from apps.executions.demands import demand_id, requirements_of
from apps.executions.dispatch import dispatch_on_commit
from apps.executions.errors import ActionGone, AlreadyFinished, ExecutionNotFound, NotAWorkflow, NotWaiting
from apps.executions.models import Execution
from apps.executions.requests import store
from apps.executions.retries import next_attempt
from apps.executions.secrets import edited_config
from apps.executions.states import TERMINAL, Status
from apps.executions.transitions import record_change
from apps.identity.models import Identity


class Unset(Enum):
    """The one value that says "as it is"."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET


@dataclass(frozen=True, kw_only=True)
class RetryChanges:
    """What a retry by hand does differently; UNSET is "as before"."""

    parameters: Mapping[str, Any] | Unset | None = UNSET
    env_vars: Mapping[str, str] | Unset | None = UNSET
    permission_set_refs: Sequence[str] | Unset = UNSET
    worker_selector: Mapping[str, Any] | Unset | None = UNSET
    worker_tolerations: Sequence[Any] | Unset | None = UNSET
    worker_affinity: Mapping[str, Any] | Unset | None = UNSET
    priority: int | Unset = UNSET
    timeout_seconds: int | Unset | None = UNSET
    not_before: datetime | None = None
    force: bool = False
    reason: str = ""


@transaction.atomic
def retry_execution(execution_id: int, *, by: Identity, changes: RetryChanges) -> Execution:
    """
    Make a new execution of the same action, linked to the old one, which stays as it is; return the new one.

    Raises ExecutionNotFound, AlreadyFinished (not ended, or completed without ``force``), ActionGone.
    """
    old = Execution.objects.select_for_update(no_key=True).filter(pk=execution_id).first()
    if old is None:
        raise ExecutionNotFound(execution_id)
    if old.status not in TERMINAL or (old.status == Status.COMPLETED and not changes.force):
        raise AlreadyFinished(execution_id, old.status, verb="retried")
    if old.action is None:
        raise ActionGone(f"The action '{old.action_ref}' of execution {execution_id} no longer exists")
    first = old.original_execution_id or old.pk
    chain = Execution.objects.filter(Q(pk=first) | Q(original_execution=first))
    highest = chain.aggregate(highest=Max("retry_count"))["highest"] or 0
    attempt = next_attempt(
        old,
        retry_count=highest + 1,
        reason="manual_retry",
        executor_id=by.pk,
        parent_id=None,
        root=None,
        depth=0,
        workflow_task=None,
        expires_at=None,
        not_before=changes.not_before,
        **_given(old, changes),
    )
    actor, reason = f"identity:{by.pk}", changes.reason or None
    stored = store(attempt, action=old.action, actor=actor, reason=reason, refuse_when_full=True)
    executed("retried", old, by=by, reason=changes.reason, retry=stored.pk)
    return stored


def retry_failed_tasks(execution_id: int, *, by: Identity, changes: RetryChanges) -> Execution:
    """Retry a workflow by its failed tasks. Raises as ``retry_execution`` does, and NotAWorkflow."""
    engine = engines.task_engine()
    if engine is None:
        raise NotAWorkflow
    return engine.retry_failed(execution_id, by=by, changes=changes)


def _given(old: Execution, changes: RetryChanges) -> dict[str, Any]:
    parameters = changes.parameters
    if isinstance(parameters, Mapping):
        parameters = edited_config(old, parameters)
    columns = {
        "config": _or_none(parameters),
        "env_vars": _or_none(changes.env_vars),
        "permission_set_refs": changes.permission_set_refs,
        "worker_selector": changes.worker_selector,
        "worker_tolerations": changes.worker_tolerations,
        "worker_affinity": changes.worker_affinity,
        "priority": changes.priority,
        "timeout_seconds": changes.timeout_seconds,
    }
    return {name: value for name, value in columns.items() if value is not UNSET}


def _or_none(value: Mapping[str, Any] | Unset | None) -> Any:
    return value if value is UNSET else (dict(value) if value else None)


@transaction.atomic
def update_execution(
    execution_id: int,
    *,
    actor: str,
    priority: int | Unset = UNSET,
    not_before: datetime | Unset | None = UNSET,
    expires_at: datetime | Unset | None = UNSET,
    pinned: bool | Unset = UNSET,
) -> Execution:
    """
    Change when and how soon a waiting execution starts, or whether retention leaves one alone; return it.

    Raises ExecutionNotFound, and NotWaiting when anything but ``pinned`` is changed after ``requested``.
    """
    execution = Execution.objects.select_for_update(no_key=True).filter(pk=execution_id).first()
    if execution is None:
        raise ExecutionNotFound(execution_id)
    wanted = {"priority": priority, "not_before": not_before, "expires_at": expires_at, "pinned": pinned}
    changed = {
        name: value for name, value in wanted.items() if value is not UNSET and value != getattr(execution, name)
    }
    if set(changed) - {"pinned"} and execution.status != Status.REQUESTED:
        raise NotWaiting(execution_id, execution.status)
    if not changed:
        return execution
    old = {name: getattr(execution, name) for name in changed}
    for name, value in changed.items():
        setattr(execution, name, value)
    if "not_before" in changed:
        changed["demand_id"] = execution.demand_id = _place_in_line(execution)
    rows = Execution.objects.filter(pk=execution_id)
    if execution.is_finished:
        rows.update(**changed, updated=execution.updated)  # `updated` is the moment it ended, for ever
    else:
        rows.update(**changed)
    tracked: dict[str, Any] = {name: changed[name] for name in ("priority", "not_before") if name in changed}
    record_change(execution, old=old, new=tracked, actor=actor)
    dispatch_on_commit()
    return execution


def _place_in_line(execution: Execution) -> int | None:
    if execution.held or (execution.not_before is not None and execution.not_before > clock.now()):
        return None
    return demand_id(requirements_of(execution.action, execution))
