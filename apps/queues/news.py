"""Events that the product itself tells of queues (events.md 8.1)."""

from collections.abc import Sequence
from typing import Any

from apps.core import clock
from apps.events.models import Event
from apps.events.services import emit
from apps.executions.models import Execution
from apps.queues.models import WorkQueue, WorkQueueDispatch

STARTED, EMPTY = "core.queue_started", "core.queue_empty"


def started(queue: WorkQueue, dispatch_id: int, execution: Execution, item_ids: Sequence[int]) -> Event | None:
    """Tell that items were handed to an execution."""
    facts = {
        "queue_id": queue.pk,
        "queue_ref": queue.ref,
        "pack_ref": queue.pack_ref,
        "dispatch_id": dispatch_id,
        "execution_id": execution.pk,
        "dispatch_action_ref": queue.dispatch_action_ref,
        "leased_item_count": len(item_ids),
        "leased_item_ids": list(item_ids),
    }
    return _tell(STARTED, facts, correlation_id=execution.correlation_id)


def empty(queue: WorkQueue, dispatch: WorkQueueDispatch, *, correlation_id: Any) -> Event | None:
    """Tell that the last dispatch has ended and nothing is ready."""
    facts = {
        "queue_id": queue.pk,
        "queue_ref": queue.ref,
        "pack_ref": queue.pack_ref,
        "dispatch_id": dispatch.pk,
        "execution_id": dispatch.execution_id,
        "dispatch_action_ref": queue.dispatch_action_ref,
        "leased_item_count": dispatch.leased_item_count,
        "terminal_dispatch_status": str(dispatch.status),
        "active_dispatch_count": 0,
        "ready_item_count": 0,
    }
    return _tell(EMPTY, facts, correlation_id=correlation_id)


def _tell(trigger_ref: str, facts: dict[str, Any], *, correlation_id: Any) -> Event | None:
    payload = {"event_type": trigger_ref, **facts, "observed_at": clock.as_text(clock.now())}
    return emit(trigger_ref, payload, correlation_id=correlation_id)
