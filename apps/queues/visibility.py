"""Who may see which queues, with their items (auth.md section 5)."""

from typing import TYPE_CHECKING, Any

from apps.identity.grants import Columns, Facts, condition, facts, narrowed
from apps.queues.models import WorkQueue, WorkQueueDispatch, WorkQueueItem

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

    from apps.identity.callers import Caller

COLUMNS = Columns(refs="ref", pack_refs="pack_ref")
COLUMNS_OF_THEIR_QUEUE = Columns(ids="queue", refs="queue_ref", pack_refs="queue__pack_ref")


def visible_queues(caller: "Caller") -> "QuerySet[WorkQueue]":
    """Return the queues that the caller may read, by ref."""
    return narrowed(WorkQueue.objects.order_by("ref"), condition(caller, "queues:read", COLUMNS))


def visible_items(caller: "Caller") -> "QuerySet[WorkQueueItem]":
    """Return the items of queues that the caller may read, next ones first."""
    rows = WorkQueueItem.objects.order_by("-priority", "created", "id")
    return narrowed(rows, with_their_queue(caller))


def with_their_queue(caller: "Caller") -> "Q":
    """Return the condition of what belongs to a queue that the caller may read."""
    return condition(caller, "queues:read", COLUMNS_OF_THEIR_QUEUE)


def _facts(queue: WorkQueue) -> Facts:
    return Facts(id=queue.pk, ref=queue.ref, pack_ref=queue.pack_ref)


def _facts_of_part(row: Any) -> Facts:
    return _facts(row.queue)


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(WorkQueue, _facts, resource="queues")
    facts.register(WorkQueueItem, _facts_of_part)
    facts.register(WorkQueueDispatch, _facts_of_part)
