"""
What becomes of leased items when their execution ends or their lease runs out (execution.md section 18).

Runs inside the transaction that ends the execution; the order of locks is that of ``dispatch.py``. A chain of attempts
counts as ended when its last one has: the dispatch names the first.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core import clock
from apps.executions.artifacts import whole_result
from apps.executions.models import Execution
from apps.executions.states import Status
from apps.queues import news, waiting
from apps.queues.acknowledgement import MISSING, Acknowledgement, Said, read_acknowledgement, status_after
from apps.queues.config import read_config
from apps.queues.dispatch import active_dispatches, dispatch_on_commit
from apps.queues.merging import group_key, merge_patch
from apps.queues.models import (
    DispatchStatus,
    ItemStatus,
    UpdateStrategy,
    WorkQueue,
    WorkQueueDispatch,
    WorkQueueItem,
)
from apps.queues.payloads import keep, real_payload, without_secrets

logger = logging.getLogger(__name__)

BY_HAND = "manual_retry"  # of an execution whose dispatch is settled long since
LEASE_OVER = "The lease ran out before the execution acknowledged the item"
_LONGEST_ERROR = 4000


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """One lease that is over."""

    queue: WorkQueue
    execution_id: int | None  # the attempt that ended last
    retry_limit: int
    acknowledgement: Acknowledgement


def settle_finished(execution: Execution) -> bool:
    """
    Settle the items that a finished execution worked on; False when it worked on none.

    Call in the transaction that ended it, with its row locked, once for the last attempt of a chain.
    """
    if not _is_of_a_queue(execution):
        return False
    first = execution.original_execution_id or execution.pk
    known = WorkQueueDispatch.objects.active().filter(execution=first).values_list("queue", flat=True).first()
    if known is None:
        return False
    queue = WorkQueue.objects.select_for_update(no_key=True).filter(pk=known).first()
    dispatch = WorkQueueDispatch.objects.active().filter(execution=first).first()
    if queue is None or dispatch is None:
        return False
    items = _leased(queue, first)
    acknowledgement = _acknowledged(execution, [item.pk for item in items])
    _settle(_attempt(queue, execution.pk, acknowledgement), items)
    _end_dispatch(
        queue, dispatch, _dispatch_status(execution, acknowledgement), correlation_id=execution.correlation_id
    )
    return True


def _is_of_a_queue(execution: Execution) -> bool:
    """Look at what is in memory first: every execution that ends comes by here, and few are of a queue."""
    named = execution.config.get("queue") if isinstance(execution.config, dict) else None
    return isinstance(named, dict) and "ack_contract_version" in named and execution.retry_reason != BY_HAND


def release_expired(queue_id: int, execution_id: int | None) -> bool:
    """Settle items whose lease ran out, as if they had not been acknowledged; their execution goes on alone."""
    queue = WorkQueue.objects.select_for_update(no_key=True).filter(pk=queue_id).first()
    if queue is None:
        return False
    items = [item for item in _leased(queue, execution_id) if _is_over(item)]
    if not items:
        return False
    _settle(_attempt(queue, execution_id, Acknowledgement(error=LEASE_OVER)), items)
    dispatch = WorkQueueDispatch.objects.active().filter(queue=queue, execution=execution_id).first()
    if dispatch is not None:
        correlation_id = Execution.objects.values_list("correlation_id", flat=True).get(pk=dispatch.execution_id)
        _end_dispatch(queue, dispatch, DispatchStatus.RELEASED, correlation_id=correlation_id)
    else:
        dispatch_on_commit(queue.pk)
    return True


def _is_over(item: WorkQueueItem) -> bool:
    return item.lease_expires_at is not None and item.lease_expires_at <= clock.now()


def _leased(queue: WorkQueue, execution_id: int | None) -> list[WorkQueueItem]:
    rows = WorkQueueItem.objects.filter(queue=queue, status=ItemStatus.LEASED, leased_execution=execution_id)
    return list(rows.order_by("pk"))


def _attempt(queue: WorkQueue, execution_id: int | None, acknowledgement: Acknowledgement) -> _Attempt:
    limit = read_config(queue.config).retry_limit
    return _Attempt(queue=queue, execution_id=execution_id, retry_limit=limit, acknowledgement=acknowledgement)


# --- What was said ------------------------------------------------------------------------------------------------


def _acknowledged(execution: Execution, leased: Sequence[int]) -> Acknowledgement:
    """Return the acknowledgement of an execution; what is wrong with it is added to its result."""
    found = read_acknowledgement(whole_result(execution), leased)
    if found.error is None:
        return found
    text = found.error
    if execution.status != Status.COMPLETED and text == MISSING:
        own = execution.result.get("error") if isinstance(execution.result, dict) else None
        text = f"Execution {execution.pk} ended '{execution.status}' without an acknowledgement" + (
            f": {own}" if own else ""
        )
    text = text[:_LONGEST_ERROR]
    _add_to_result(execution, text)
    return Acknowledgement(error=text)


def _add_to_result(execution: Execution, text: str) -> None:
    known = execution.result if isinstance(execution.result, dict) else {}
    execution.result = {**known, "queue_ack_error": text}
    Execution.objects.filter(pk=execution.pk).update(result=execution.result)


def _dispatch_status(execution: Execution, acknowledgement: Acknowledgement) -> DispatchStatus:
    if acknowledgement.error is None:
        return DispatchStatus.COMPLETED
    return DispatchStatus.CANCELLED if execution.status == Status.CANCELLED else DispatchStatus.FAILED


def _end_dispatch(
    queue: WorkQueue, dispatch: WorkQueueDispatch, status: DispatchStatus, *, correlation_id: Any
) -> None:
    dispatch.set(status=status)
    if not active_dispatches(queue.pk) and not waiting.has_ready(queue.pk):
        news.empty(queue, dispatch, correlation_id=correlation_id)
    dispatch_on_commit(queue.pk)


# --- Items --------------------------------------------------------------------------------------------------------


def _settle(attempt: _Attempt, items: Sequence[WorkQueueItem]) -> None:
    for item in items:
        said = attempt.acknowledgement.items.get(item.pk) or Said(status="retry", error=attempt.acknowledgement.error)
        _settle_one(attempt, item, said)


def _settle_one(attempt: _Attempt, item: WorkQueueItem, said: Said) -> None:
    status = status_after(said.status, attempt_count=item.attempt_count, retry_limit=attempt.retry_limit)
    changes: dict[str, Any] = {
        "status": status,
        "last_error": said.error,
        "ack_summary": said.summary,
        "lease_token": None,
        "lease_expires_at": None,
    }
    if status == ItemStatus.RETRY:
        changes["leased_execution"] = None
        changes["pending_key"] = item.item_key if attempt.queue.allow_pending_update else None
        changes |= _pushed_aside(attempt.queue, item, changes["pending_key"])
    entry = {
        "execution": attempt.execution_id,
        "at": clock.as_text(clock.now()),
        "status": said.status,
        "error": said.error,
    }
    item.set(**changes, attempts=[*item.attempts, entry])


def _pushed_aside(queue: WorkQueue, item: WorkQueueItem, key: str | None) -> Mapping[str, Any]:
    """
    Make room under the item's key, where another may have come to wait while it was leased: only one can.

    They are one piece of work, so the newer one stays, as if it had been enqueued onto the older. Returns what that
    changes about the item.
    """
    other = waiting.pending_of_key(queue.pk, key) if key is not None else None
    if other is None:
        return {}
    older, newer = sorted((item, other), key=lambda each: each.pk)
    given_up = _given_up(queue, newer.pk)
    if newer is item:
        other.set(**given_up)
        return _merged(queue, older, newer)
    if changes := _merged(queue, older, newer):
        newer.set(**changes)
    return given_up


def _given_up(queue: WorkQueue, newer_id: int) -> dict[str, Any]:
    is_lost = queue.update_strategy == UpdateStrategy.IMMUTABLE
    return {
        "status": ItemStatus.FAILED if is_lost else ItemStatus.SKIPPED,
        "last_error": f"Item {newer_id} with the same key was enqueued meanwhile and takes its place",
    }


def _merged(queue: WorkQueue, older: WorkQueueItem, newer: WorkQueueItem) -> dict[str, Any]:
    """Return what changes about the newer item where payloads are merged."""
    if queue.update_strategy != UpdateStrategy.MERGE_PATCH:
        return {}
    payload = merge_patch(real_payload(older), real_payload(newer))
    shown, values = without_secrets(queue.item_schema, payload)
    keep(newer.pk, values, queue_ref=queue.ref, anew=True)
    return {"payload": shown, **group_of(queue, shown, payload)}


def group_of(queue: WorkQueue, shown: Any, real: Any) -> dict[str, Any]:
    """Return the column by which batches of the queue are made, for a payload as it is stored, and as it really is."""
    config = read_config(queue.config)
    return {"group_key": group_key(shown, config.group_by_path, real) if config.coalescing else None}
