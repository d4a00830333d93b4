"""Find what got lost and what has become due: leases, ends nobody settled, items whose time has come."""

import logging

from django.db import DatabaseError, transaction
from django.db.models import Exists, OuterRef

from apps.core import clock
from apps.executions.models import Execution
from apps.executions.states import TERMINAL
from apps.executions.trees import locked
from apps.queues import waiting
from apps.queues.config import read_config
from apps.queues.dispatch import dispatch_queue, wait_seconds
from apps.queues.models import WorkQueue, WorkQueueDispatch
from apps.queues.settlement import BY_HAND, release_expired, settle_finished

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500


def sweep() -> None:
    """Make one round of everything; a step that fails is logged and tried again in the next round."""
    for step in (settle_missed, release_leases):
        try:
            step()
        except DatabaseError:
            logger.warning("Sweep of queues: %s failed, the next round tries again", step.__name__, exc_info=True)
    for queue_id in waiting.queues_with_ready_items():
        dispatch_queue(queue_id)


def next_due() -> float | None:
    """Return the seconds until the next lease ends, delay is over, or time of an item comes; None when none will."""
    now = clock.now()
    moments = [moment for moment in (waiting.next_time(), waiting.next_end_of_lease()) if moment is not None]
    delays = [(moment - now).total_seconds() for moment in moments] + _delays()
    return max(0.0, min(delays)) if delays else None


def _delays() -> list[float]:
    """Return what is left of the pauses that queues make between two executions."""
    paused = WorkQueue.objects.filter(
        enabled=True, last_dispatch_at__isnull=False, config__dispatch__inter_execution_delay_seconds__isnull=False
    )
    left = [wait_seconds(queue, read_config(queue.config)) for queue in paused.only("config", "last_dispatch_at")]
    return [seconds for seconds in left if seconds > 0]


def settle_missed() -> int:
    """Settle dispatches whose execution ended without it: a fault kept its receiver from doing so."""
    attempts = Execution.objects.filter(original_execution=OuterRef("execution")).exclude(retry_reason=BY_HAND)
    missed = (
        WorkQueueDispatch.objects.active()
        .filter(execution__status__in=TERMINAL)
        .exclude(Exists(attempts.exclude(status__in=TERMINAL)))
    )
    settled = 0
    for first in list(missed.order_by("pk").values_list("execution", flat=True)[:MOST_AT_ONCE]):
        with transaction.atomic():
            locked(first)
            settled += settle_finished(_last_attempt(first))
    return settled


def _last_attempt(first: int) -> Execution:
    attempts = Execution.objects.filter(original_execution=first).exclude(retry_reason=BY_HAND)
    return attempts.order_by("-retry_count", "-pk").first() or Execution.objects.get(pk=first)


def release_leases() -> int:
    """Settle items whose lease is over."""
    released = 0
    for queue_id, execution_id in waiting.leases_over(MOST_AT_ONCE):
        with transaction.atomic():
            released += release_expired(queue_id, execution_id)
    return released
