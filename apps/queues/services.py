"""What callers may ask of queues: create, change, delete."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet

from apps.actions.models import Action
from apps.core.cipher import CannotDecrypt
from apps.core.errors import NotFound
from apps.identity import audit
from apps.identity.models import Identity
from apps.keys.models import SecretValue
from apps.keys.secret_store import QUEUE_ITEM_PAYLOAD
from apps.packs.models import Pack
from apps.queues.config import config_problems
from apps.queues.dispatch import dispatch_on_commit
from apps.queues.errors import InvalidConfig, ManagedQueue, QueueNotFound, QueueRefTaken
from apps.queues.models import PENDING, UNSETTLED, BatchMode, WorkQueue, WorkQueueItem
from apps.queues.payloads import check_schema, real_payload
from apps.queues.settlement import group_of

OPEN_TO_ALL = frozenset({"enabled", "accepting_new_items"})  # what may be changed of a queue that a pack manages
_RELATIONS = ["pack", "dispatch_action", "owner_identity"]
_AT_ONCE = 1000


@transaction.atomic
def create_queue(
    *, ref: str, dispatch_action_ref: str, owner: Identity | None, pack_ref: str | None = None, **fields: Any
) -> WorkQueue:
    """
    Create a queue, of its own without a pack; its executions run on behalf of the owner.

    Raises QueueRefTaken, NotFound for pack or action, InvalidConfig, UnusableSchema.
    """
    refuse_taken(ref)
    queue = WorkQueue(
        ref=ref,
        pack=_pack(pack_ref),
        pack_ref=pack_ref,
        is_adhoc=pack_ref is None,
        dispatch_action=_action(dispatch_action_ref),
        dispatch_action_ref=dispatch_action_ref,
        owner_identity=owner,
        **fields,
    )
    check_settings(queue)
    queue.clean_fields(exclude=_RELATIONS)
    queue.save(force_insert=True)
    _record("created", queue)
    return queue


@transaction.atomic
def update_queue(queue_id: int, changes: Mapping[str, Any]) -> WorkQueue:
    """
    Change some fields of a queue; what waits follows.

    Raises QueueNotFound, ManagedQueue, NotFound for pack or action, InvalidConfig, UnusableSchema.
    """
    queue = _locked(queue_id)
    values = {**changes, **_links(changes)}
    changed = [name for name, value in values.items() if getattr(queue, name) != value]
    if not queue.is_adhoc and set(changed) - OPEN_TO_ALL:
        raise ManagedQueue(queue.ref, "changed")
    for name in changed:
        setattr(queue, name, values[name])
    check_settings(queue)
    queue.clean_fields(exclude=_RELATIONS)
    if changed:
        queue.save(update_fields=[*changed, "updated"])
        follow(queue, changed)
        _record("updated", queue, fields=sorted(changed))
    return queue


@transaction.atomic
def delete_queue(queue_id: int) -> None:
    """Delete a queue with its items; executions under way go on alone. Raises QueueNotFound, ManagedQueue."""
    queue = _locked(queue_id)
    if not queue.is_adhoc:
        raise ManagedQueue(queue.ref, "deleted")
    _record("deleted", queue)
    queue.delete()


def refuse_taken(ref: str) -> None:
    """Raise QueueRefTaken when there is a queue with this ref."""
    if WorkQueue.objects.filter(ref=ref).exists():
        raise QueueRefTaken(ref)


def check_settings(queue: WorkQueue) -> None:
    """Raise InvalidConfig, or UnusableSchema, when the queue cannot be worked with as it is."""
    problems = config_problems(queue.config, batch=queue.batch_mode == BatchMode.BATCH)
    if problems:
        raise InvalidConfig("; ".join(problems))
    check_schema(queue.item_schema)


def follow(queue: WorkQueue, changed: Iterable[str]) -> None:
    """Let the items follow a change of their queue. Raises InvalidConfig when keys that wait twice should coalesce."""
    names = set(changed)
    if "allow_pending_update" in names:
        _set_pending_keys(queue)
    if names & {"config", "batch_mode"}:
        _set_group_keys(queue)
    dispatch_on_commit(queue.pk)


def forget_secrets(queues: "QuerySet[WorkQueue]") -> None:
    """Delete the secrets in the payloads of these queues, which are about to be deleted."""
    items = WorkQueueItem.objects.filter(queue__in=queues).values("pk")
    SecretValue.objects.filter(entity_type=QUEUE_ITEM_PAYLOAD, entity_id__in=items).delete()


def _set_pending_keys(queue: WorkQueue) -> None:
    items = queue.items.filter(item_key__isnull=False, status__in=PENDING)
    if not queue.allow_pending_update:
        items.update(pending_key=None)
        return
    twice = items.order_by().values("item_key").annotate(times=Count("pk")).filter(times__gt=1)
    if keys := list(twice.values_list("item_key", flat=True)[:10]):
        named = ", ".join(f"'{key}'" for key in keys)
        raise InvalidConfig(f"Several items wait with the same key, which allow_pending_update forbids: {named}")
    for item in items.only("pk", "item_key").iterator(_AT_ONCE):
        WorkQueueItem.objects.filter(pk=item.pk).update(pending_key=item.item_key)


def _set_group_keys(queue: WorkQueue) -> None:
    pending = queue.items.filter(status__in=UNSETTLED).only("pk", "payload", "group_key")
    stale = [item for item in pending.iterator(_AT_ONCE) if _regrouped(queue, item)]
    WorkQueueItem.objects.bulk_update(stale, ["group_key"], batch_size=_AT_ONCE)


def _regrouped(queue: WorkQueue, item: WorkQueueItem) -> bool:
    """Put the item into the group it belongs to now; return whether that is another one."""
    group = group_of(queue, item.payload, _real(item))["group_key"]
    was, item.group_key = item.group_key, group
    return bool(was != group)


def _real(item: WorkQueueItem) -> Any:
    """Return the payload with its secrets; as it is stored when they are lost, for it fails when it is handed over."""
    try:
        return real_payload(item)
    except CannotDecrypt:
        return item.payload


def _locked(queue_id: int) -> WorkQueue:
    rows = WorkQueue.objects.select_for_update(no_key=True, of=("self",)).select_related("dispatch_action", "pack")
    queue = rows.filter(pk=queue_id).first()
    if queue is None:
        raise QueueNotFound(queue_id)
    return queue


def _links(changes: Mapping[str, Any]) -> dict[str, Any]:
    links: dict[str, Any] = {}
    if "dispatch_action_ref" in changes:
        links["dispatch_action"] = _action(changes["dispatch_action_ref"])
    if "pack_ref" in changes:
        links["pack"] = _pack(changes["pack_ref"])
    return links


def _pack(ref: str | None) -> Pack | None:
    if ref is None:
        return None
    pack = Pack.objects.filter(ref=ref).first()
    if pack is None:
        raise NotFound(f"Pack '{ref}' not found")
    return pack


def _action(ref: str) -> Action:
    action = Action.objects.filter(ref=ref).first()
    if action is None:
        raise NotFound(f"Action '{ref}' not found")
    return action


def _record(what: str, queue: WorkQueue, **details: Any) -> None:
    audit.record(
        f"admin.queue.{what}",
        resource_type="work_queue",
        resource_id=queue.pk,
        resource_ref=queue.ref,
        details=details,
    )
