"""What becomes of a worker's executions when the worker is lost, stops, or gives them back (execution.md section 5)."""

from typing import Any

from django.db import transaction

from apps.actions.models import OnWorkerLost
from apps.core import clock
from apps.executions import trees
from apps.executions.artifacts import record_allocated_sizes
from apps.executions.dispatch import dispatch_on_commit
from apps.executions.log_versions import keys_of_logs_on_disk, register_logs
from apps.executions.models import Execution
from apps.executions.retries import is_repeated_after_loss, repeat_after_loss
from apps.executions.states import ON_A_WORKER, Status
from apps.executions.transitions import Step, transition
from apps.workers.models import Worker
from apps.workers.results import as_cancelled

LOST_TEXT = "Execution abandoned because its worker became unavailable while running"
NEVER_CLAIMED_TEXT = "Execution abandoned because {} workers in a row were lost before one claimed it"
MOST_LOST_BEFORE_CLAIM = 3  # workers lost in a row before any of them claimed it


def settle_worker(worker: Worker, *, reason: str) -> int:
    """
    Settle everything a lost worker has, and return how much that was.

    Call inside the transaction that ends its lease, under a lock on the lease. ``reason`` becomes the ``retry_reason``
    of what is repeated: ``worker_heartbeat_stale`` or ``worker_unavailable``.
    """
    return settle(worker, Execution.objects.filter(worker=worker.pk, status__in=ON_A_WORKER), reason=reason)


def settle(worker: Worker | None, rows: Any, *, reason: str) -> int:
    """
    Settle these rows like a lost worker's; ``worker`` is None when its row is gone.

    Only those that are there when it begins: the root of one that is handed over meanwhile would not be locked.
    """
    settled = 0
    roots = dict(rows.order_by("pk").values_list("pk", "root"))
    trees.lock_roots(root or pk for pk, root in roots.items())
    for execution in rows.filter(pk__in=list(roots)).select_for_update(no_key=True).order_by("pk"):
        settled += _settle_one(worker, execution, reason=reason)
    if settled:
        dispatch_on_commit()
    return settled


def _settle_one(worker: Worker | None, execution: Execution, *, reason: str) -> bool:
    match execution.status:
        case Status.SCHEDULED:
            return _back_in_line(execution, worker, reason=reason)
        case Status.CANCELING:
            step = _step(execution, Status.CANCELLED, reason)
            return _end(execution, step, as_cancelled(keys_of_logs_on_disk(execution.pk)))
        case Status.RUNNING:
            return _lost_while_running(execution, worker, reason=reason)
        case _:
            return False


def _back_in_line(execution: Execution, worker: Worker | None, *, reason: str) -> bool:
    lost_count = execution.lost_count + 1
    if lost_count >= MOST_LOST_BEFORE_CLAIM:
        result = {**lost_result(execution, worker), "error": NEVER_CLAIMED_TEXT.format(lost_count)}
        return _end(execution, _step(execution, Status.ABANDONED, reason), result, lost_count=lost_count)
    step = _step(execution, Status.REQUESTED, reason)
    return transition(execution, step, worker=None, scheduled_at=None, lost_count=lost_count)


def _lost_while_running(execution: Execution, worker: Worker | None, *, reason: str) -> bool:
    fails = execution.on_worker_lost == OnWorkerLost.FAIL
    result = lost_result(execution, worker, settled_by="failed_by" if fails else "abandoned_by")
    step = _step(execution, Status.FAILED if fails else Status.ABANDONED, reason)
    lost_count = execution.lost_count + 1
    repeated = is_repeated_after_loss(execution, lost_count)
    if not _end(execution, step, result, repeated=repeated, lost_count=lost_count):
        return False
    repeat_after_loss(execution, reason=reason)
    return True


def _end(execution: Execution, step: Step, result: dict[str, Any], *, repeated: bool = False, **fields: Any) -> bool:
    if not transition(execution, step, repeated=repeated, result=result, succeeded=False, **fields):
        return False
    register_logs(execution)
    if execution.permission_set_refs:  # only a program with a token can have allocated files
        record_allocated_sizes(execution.pk)
    return True


def _step(execution: Execution, target: Status, reason: str) -> Step:
    return Step(source=Status(execution.status), target=target, actor="sweep", reason=reason, epoch=execution.epoch)


def lost_result(execution: Execution, worker: Worker | None, *, settled_by: str = "abandoned_by") -> dict[str, Any]:
    """Return the result of an execution whose worker was lost, with the previews of what it had written."""
    return {
        "error": LOST_TEXT,
        settled_by: "execution_timeout_monitor",
        "original_status": str(execution.status),
        "worker": {
            "id": worker.pk if worker is not None else execution.worker_id,
            "name": worker.name if worker is not None else None,
            "status": worker.status if worker is not None else None,
            "last_heartbeat": last_heartbeat_text(worker),
        },
        "reconciled_at": clock.as_text(clock.now()),
        "succeeded": False,
        **keys_of_logs_on_disk(execution.pk),
    }


def last_heartbeat_text(worker: Worker | None) -> str | None:
    """Return the worker's last renewal as text; its lease knows it, else its row."""
    if worker is None:
        return None
    lease = getattr(worker, "lease", None)
    moment = lease.renewed_at if lease is not None else worker.last_heartbeat
    return clock.as_text(moment)


@transaction.atomic
def take_back_unclaimed(worker: Worker, *, actor: str) -> int:
    """Put what the worker has not claimed back in line (a warm stop, a drain); return how many."""
    back = 0
    rows = Execution.objects.filter(worker=worker.pk, status=Status.SCHEDULED)
    for execution in rows.select_for_update(no_key=True).order_by("pk"):
        step = Step(
            source=Status.SCHEDULED, target=Status.REQUESTED, actor=actor, reason="draining", epoch=execution.epoch
        )
        back += transition(execution, step, worker=None, scheduled_at=None)
    if back:
        dispatch_on_commit()
    return back
