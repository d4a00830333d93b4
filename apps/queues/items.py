"""
What callers may ask of items: enqueue, change, cancel, delete, try again.

Whatever depends on the other items of a queue (keys that coalesce, ``max_depth``) and whatever changes a waiting item
locks the queue's row first; any other new item is one INSERT that waits for nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction

from apps.core import sql
from apps.identity.models import Identity
from apps.keys import secret_store
from apps.queues import waiting
from apps.queues.dispatch import dispatch_on_commit
from apps.queues.errors import (
    ImmutableItem,
    ItemNotFound,
    KeyTaken,
    NotAccepting,
    NotPending,
    QueueFull,
    QueueNotFound,
)
from apps.queues.merging import merge_patch
from apps.queues.models import PENDING, ItemStatus, UpdateStrategy, WorkQueue, WorkQueueItem
from apps.queues.payloads import check_payload, given_payload, keep, real_payload, refuse_markers, without_secrets
from apps.queues.settlement import group_of

UNSET: Any = object()
ENDED = frozenset({ItemStatus.FAILED, ItemStatus.SKIPPED, ItemStatus.CANCELLED, ItemStatus.COMPLETED})


@dataclass(frozen=True, kw_only=True)
class NewItem:
    """One thing to enqueue, and who asks. ``priority`` None: the queue's default; ``metadata`` None: none."""

    payload: Any
    item_key: str | None = None
    priority: int | None = None
    metadata: Mapping[str, Any] | None = None
    not_before: datetime | None = None
    source: str = "api"
    identity: Identity | None = None
    execution: int | None = None
    enforcement: int | None = None


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """The item that waits now; ``is_new`` is False when the pending one of its key was updated."""

    item: WorkQueueItem
    is_new: bool


@transaction.atomic
def enqueue(queue: WorkQueue, new: NewItem) -> Enqueued:
    """
    Put an item into a queue, or into the item that waits under its key.

    Raises NotAccepting, ImmutableItem, QueueFull, QueueNotFound, ValidationFailed for the payload.
    """
    refuse_markers(new.payload)
    is_keyed = queue.allow_pending_update and new.item_key is not None
    if is_keyed or queue.max_depth is not None:
        queue = lock_queue(queue.pk)
        is_keyed = queue.allow_pending_update and new.item_key is not None
    if not queue.accepting_new_items:
        raise NotAccepting(queue.ref)
    pending = waiting.pending_of_key(queue.pk, str(new.item_key)) if is_keyed else None
    if pending is not None:
        return Enqueued(item=_coalesced(queue, pending, new), is_new=False)
    check_payload(queue.item_schema, new.payload)
    if queue.max_depth is not None and waiting.depth(queue.pk, up_to=queue.max_depth) >= queue.max_depth:
        raise QueueFull(queue.ref, queue.max_depth)
    item = _inserted(queue, new, pending_key=new.item_key if is_keyed else None)
    dispatch_on_commit(queue.pk)
    return Enqueued(item=item, is_new=True)


def lock_queue(queue_id: int) -> WorkQueue:
    """Return the queue, with nobody else changing its waiting items until this transaction ends."""
    queue = WorkQueue.objects.select_for_update(no_key=True).filter(pk=queue_id).first()
    if queue is None:
        raise QueueNotFound(queue_id)
    return queue


_GIVEN_BACK = ("id", "created", "updated")
_ATTRIBUTES = {str(f.column): f.attname for f in WorkQueueItem._meta.concrete_fields if f.column not in _GIVEN_BACK}


def _inserted(queue: WorkQueue, new: NewItem, *, pending_key: str | None) -> WorkQueueItem:
    shown, values = without_secrets(queue.item_schema, new.payload)
    item = WorkQueueItem(
        queue=queue,
        queue_ref=queue.ref,
        item_key=new.item_key,
        pending_key=pending_key,
        priority=queue.default_priority if new.priority is None else new.priority,
        payload=shown,
        metadata=dict(new.metadata or {}),
        not_before=new.not_before,
        enqueue_source=new.source,
        requested_by_identity=new.identity,
        requested_by_execution_id=new.execution,
        requested_by_enforcement_id=new.enforcement,
        **group_of(queue, shown, new.payload),
    )
    row = {column: getattr(item, attribute) for column, attribute in _ATTRIBUTES.items()}
    item.pk, item.created, item.updated = sql.insert_returning(WorkQueueItem, row, _GIVEN_BACK)
    item._state.adding, item._state.db = False, connection.alias
    if values:
        keep(item.pk, values, queue_ref=queue.ref)
    return item


def _coalesced(queue: WorkQueue, pending: WorkQueueItem, new: NewItem) -> WorkQueueItem:
    payload, metadata = new.payload, new.metadata
    match queue.update_strategy:
        case UpdateStrategy.IMMUTABLE:
            raise ImmutableItem(queue.ref, str(new.item_key))
        case UpdateStrategy.MERGE_PATCH:
            payload = merge_patch(real_payload(pending), payload)
            metadata = None if metadata is None else merge_patch(pending.metadata, dict(metadata))
    changes: dict[str, Any] = {} if metadata is None else {"metadata": dict(metadata)}
    if new.priority is not None:
        changes["priority"] = new.priority
    if new.not_before is not None:
        changes["not_before"] = new.not_before
    return _changed(queue, pending, {**changes, "payload": payload})


def _changed(queue: WorkQueue, item: WorkQueueItem, changes: Mapping[str, Any]) -> WorkQueueItem:
    """Write a pending item's changes; a payload comes with its real values."""
    values = dict(changes)
    if "payload" in values:
        check_payload(queue.item_schema, values["payload"])
        shown, secrets = without_secrets(queue.item_schema, values["payload"])
        keep(item.pk, secrets, queue_ref=queue.ref, anew=True)
        values |= {**group_of(queue, shown, values["payload"]), "payload": shown}
    if values:
        item.set(**values)
        dispatch_on_commit(queue.pk)
    return item


# --- One item -----------------------------------------------------------------------------------------------------


@transaction.atomic
def update_item(
    item: WorkQueueItem,
    *,
    item_key: str | None = UNSET,
    priority: int = UNSET,
    payload: Any = UNSET,
    metadata: Mapping[str, Any] = UNSET,
    not_before: datetime | None = UNSET,
) -> WorkQueueItem:
    """Change an item that waits. Raises ItemNotFound, NotPending, KeyTaken, ValidationFailed for the payload."""
    queue, item = _locked(item, verb="changed")
    given = {"item_key": item_key, "priority": priority, "metadata": metadata, "not_before": not_before}
    changes = {name: value for name, value in given.items() if value is not UNSET}
    if item_key is not UNSET and item_key != item.item_key:
        changes["pending_key"] = _free_key(queue, item, item_key)
    if payload is not UNSET:
        changes["payload"] = given_payload(item, payload)
    return _changed(queue, item, changes)


@transaction.atomic
def delete_item(item: WorkQueueItem) -> None:
    """Delete an item that waits. Raises ItemNotFound, NotPending."""
    _queue, item = _locked(item, verb="deleted")
    secret_store.forget(secret_store.QUEUE_ITEM_PAYLOAD, [item.pk])
    item.delete()


@transaction.atomic
def cancel_item(item: WorkQueueItem) -> WorkQueueItem:
    """Take an item that waits out of the queue; it stays to be looked at. Raises ItemNotFound, NotPending."""
    _queue, item = _locked(item, verb="cancelled")
    return item.set(status=ItemStatus.CANCELLED)


@transaction.atomic
def requeue_item(item: WorkQueueItem) -> WorkQueueItem:
    """Let an item that has ended be worked on again, with all its retries. Raises ItemNotFound, NotPending, KeyTaken."""
    queue, item = _locked(item, verb="queued again", among=ENDED)
    key = _free_key(queue, item, item.item_key)
    item.set(
        status=ItemStatus.QUEUED,
        pending_key=key,
        attempt_count=0,
        not_before=None,
        leased_execution=None,
        ack_summary=None,
    )
    dispatch_on_commit(queue.pk)
    return item


def _locked(item: WorkQueueItem, *, verb: str, among: Any = frozenset(PENDING)) -> tuple[WorkQueue, WorkQueueItem]:
    queue = lock_queue(item.queue_id)
    found = WorkQueueItem.objects.select_for_update(no_key=True).filter(pk=item.pk).first()
    if found is None:
        raise ItemNotFound(item.pk)
    if found.status not in among:
        raise NotPending(item.pk, found.status, verb)
    return queue, found


def _free_key(queue: WorkQueue, item: WorkQueueItem, key: str | None) -> str | None:
    """Return the key under which the item may wait; None where keys do not coalesce. Raises KeyTaken."""
    if key is None or not queue.allow_pending_update:
        return None
    other = waiting.pending_of_key(queue.pk, key)
    if other is not None and other.pk != item.pk:
        raise KeyTaken(queue.ref, key)
    return key
