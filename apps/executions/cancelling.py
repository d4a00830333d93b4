"""Stop executions: cancel, and force-close for what nothing else can end (execution.md section 15)."""

from functools import partial
from typing import Any

from django.db import transaction

from apps.core import clock, sql
from apps.executions import engines, trees
from apps.executions.audited import executed
from apps.executions.dispatch import dispatch_on_commit
from apps.executions.errors import AlreadyFinished, ExecutionNotFound
from apps.executions.models import Execution
from apps.executions.states import TERMINAL, UNFINISHED, Status
from apps.executions.transitions import Step, transition
from apps.identity.models import Identity
from apps.workers.remote_control import tell_worker
from apps.workers.runs import StopReason

_UNASKED = sorted(UNFINISHED - {Status.CANCELING})
_HAS_CHILDREN = (
    "SELECT 1 FROM execution WHERE parent = %s AND workflow_task IS NULL"
    f" AND status IN ({', '.join(['%s'] * len(_UNASKED))}) LIMIT 1"
)
NOT_STARTED = {"error": "Cancelled by user before execution started", "succeeded": False, "cancelled": True}


@transaction.atomic
def cancel_execution(execution_id: int, *, by: Identity | None, reason: str = "", dispatch: bool = True) -> Execution:
    """
    Cancel an execution and what its program started; return it as it is then.

    Before a worker claimed it, it is ``cancelled`` at once; a running one becomes ``canceling`` and its worker stops
    it. One that is ``canceling`` already stays as it is. Whoever cancels many has what waits for them dispatched now
    and then, not after each. Raises ExecutionNotFound, AlreadyFinished.
    """
    execution = _locked(execution_id)
    if execution.status in TERMINAL:
        raise AlreadyFinished(execution_id, execution.status)
    actor = f"identity:{by.pk}" if by is not None else "system"
    _cancel(execution, actor=actor, by=by, reason=reason)
    _cancel_children(execution, actor=actor, by=by)
    executed("cancelled", execution, by=by, reason=reason)
    if dispatch:
        dispatch_on_commit()
    return execution


def _locked(execution_id: int) -> Execution:
    execution = trees.locked(execution_id)
    if execution is None:
        raise ExecutionNotFound(execution_id)
    return execution


def cancel_locked(execution: Execution, *, by: Identity | None, actor: str, reason: str) -> None:
    """
    Cancel an execution and what its program started, under a lock on the root of its tree and on its row.

    One that has ended already stays as it is. For engines, which cancel what they started.
    """
    _cancel(execution, actor=actor, by=by, reason=reason)
    _cancel_children(execution, actor=actor, by=by)
    dispatch_on_commit()


def _cancel(execution: Execution, *, actor: str, by: Identity | None, reason: str) -> None:
    status = Status(execution.status)
    fields: dict[str, Any] = {"cancel_requested_at": clock.now(), "cancelled_by": by.pk if by is not None else None}
    match status:
        case Status.REQUESTED | Status.SCHEDULING | Status.SCHEDULED:
            step = Step(source=status, target=Status.CANCELLED, actor=actor, reason=reason or None)
            transition(execution, step, result=dict(NOT_STARTED), succeeded=False, **fields)
        case Status.RUNNING:
            step = Step(source=status, target=Status.CANCELING, actor=actor, reason=reason or None)
            transition(execution, step, **fields)
            engine = engines.engine_for(execution)
            if engine is not None:
                engine.cancel(execution, by=by, reason=reason)
            else:
                _tell(execution, execution.epoch, "cancel")
        case _:
            pass  # canceling stays as it is


def _cancel_children(execution: Execution, *, actor: str, by: Identity | None) -> None:
    """
    What a program started with its execution token ends with it; tasks of a workflow follow its own policy.

    It looks until there is nothing new: a child that ended while its row was waited for may have left a retry.
    """
    children = Execution.objects.select_for_update(no_key=True).filter(
        parent=execution.pk, status__in=_UNASKED, workflow_task__isnull=True
    )
    while sql.fetch(_HAS_CHILDREN, [execution.pk, *_UNASKED]):  # most have none: asked for in the cheapest way
        for child in children.order_by("created", "id"):
            _cancel(child, actor=actor, by=by, reason=f"parent {execution.pk}")
            _cancel_children(child, actor=actor, by=by)


@transaction.atomic
def force_close_execution(
    execution_id: int, *, by: Identity, status: str = Status.ABANDONED, reason: str = ""
) -> Execution:
    """
    End any unfinished execution in the database, whatever its worker does; return it.

    ``status`` is abandoned, failed or cancelled; one that is canceling becomes cancelled. Its epoch grows, so late
    writes of the old run are refused. Raises ExecutionNotFound, AlreadyFinished.
    """
    execution = _locked(execution_id)
    if execution.status in TERMINAL:
        raise AlreadyFinished(execution_id, execution.status, verb="force-closed")
    source = Status(execution.status)
    target = Status.CANCELLED if source == Status.CANCELING else Status(status)
    actor = f"identity:{by.pk}"
    old_epoch = execution.epoch
    result = {"error": f"Execution force-closed by {by.login}", "succeeded": False}
    step = Step(source=source, target=target, actor=actor, reason=reason or "force-close")
    transition(execution, step, epoch=old_epoch + 1, result=result, succeeded=False)
    engine = engines.task_engine() if execution.workflow_def is not None else None
    if engine is not None:
        engine.closed(execution, by=by, reason=reason)
    elif source in (Status.RUNNING, Status.CANCELING):
        _tell(execution, old_epoch, "superseded")
    _cancel_children(execution, actor=actor, by=by)
    executed("force_closed", execution, by=by, reason=reason, status=str(target))
    dispatch_on_commit()
    return execution


def _tell(execution: Execution, epoch: int, reason: StopReason) -> None:
    if execution.worker_id is not None:
        transaction.on_commit(partial(tell_worker, execution.worker_id, execution.pk, epoch, reason), robust=True)
