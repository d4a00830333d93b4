"""
Tell operators of queues that are full, and of those that do not get shorter (execution.md section 20, events.md 8.1).

A case is told once: the queue's row says so until the case is over, to every process and across restarts. How long a
queue has not become shorter each process sees for itself, so a restart begins to count anew.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from apps.core import clock
from apps.events.alerts import Alert, raise_alert
from apps.queues import waiting
from apps.queues.models import WorkQueue

PATIENCE = timedelta(hours=1)  # that a queue may stay as long as it is
_OVER_BELOW = 0.9  # of max_depth; else a queue at its limit would be told of with every item that leaves it
_MOST_COUNTED = 1_000_000
_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class _Lowest:
    """The shortest a queue has been, and since when."""

    depth: int
    since: datetime


class Watch:
    """What one process has seen of queues with something ready."""

    def __init__(self) -> None:
        self._lowest: dict[int, _Lowest] = {}

    def look(self) -> None:
        """Look once at every queue with ready items; tell of those that have not become shorter for too long."""
        now = clock.now()
        ready = waiting.queues_with_ready_items(with_action=False)
        depths = waiting.depths(ready, up_to=_MOST_COUNTED)
        before, self._lowest = self._lowest, {}
        for queue_id, depth in depths.items():
            known = before.get(queue_id)
            if known is None or depth < known.depth:
                self._lowest[queue_id] = _Lowest(depth=depth, since=now)
                if known is not None:
                    _case_over("told_stuck_at", queue_id)
                continue
            self._lowest[queue_id] = known
            if now - known.since >= PATIENCE:
                _tell_stuck(queue_id, depth, known.since)
        told = WorkQueue.objects.filter(told_stuck_at__isnull=False).values_list("pk", flat=True)
        for queue_id in set(told) - set(depths):
            _case_over("told_stuck_at", queue_id)


_watch = Watch()


def look() -> None:
    """Make one round."""
    look_at_limits()
    _watch.look()


def look_at_limits() -> None:
    """Tell of queues that have as many items waiting as they may; more are refused."""
    limited = WorkQueue.objects.filter(max_depth__isnull=False) | WorkQueue.objects.filter(told_full_at__isnull=False)
    queues = list(limited.only("ref", "max_depth", "told_full_at").order_by("pk"))
    for start in range(0, len(queues), _AT_ONCE):
        part = queues[start : start + _AT_ONCE]
        depths = waiting.depths([queue.pk for queue in part], up_to=_MOST_COUNTED)
        for queue in part:
            depth, most = depths.get(queue.pk, 0), queue.max_depth
            if most is not None and depth >= most:
                _tell_full(queue, depth, most)
            elif queue.told_full_at is not None and (most is None or depth < most * _OVER_BELOW):
                _case_over("told_full_at", queue.pk)


@transaction.atomic
def _tell_full(queue: WorkQueue, depth: int, most: int) -> None:
    if not _is_first("told_full_at", queue.pk):
        return
    raise_alert(
        Alert(
            severity="warning",
            category="queue",
            failure_type="queue_full",
            component_type="work_queue",
            component_id=queue.pk,
            component_ref=queue.ref,
            summary=f"Queue {queue.ref} is full: {depth} items wait, {most} may; new ones are refused",
            details={"depth": depth, "max_depth": most},
        )
    )


@transaction.atomic
def _tell_stuck(queue_id: int, depth: int, since: datetime) -> None:
    if not _is_first("told_stuck_at", queue_id):
        return
    queue = WorkQueue.objects.only("ref", "last_dispatch_at", "dispatch_action").get(pk=queue_id)
    reason = "; its action was deleted" if queue.dispatch_action_id is None else ""
    raise_alert(
        Alert(
            severity="warning",
            category="queue",
            failure_type="queue_not_shorter",
            component_type="work_queue",
            component_id=queue_id,
            component_ref=queue.ref,
            summary=f"Queue {queue.ref} has not become shorter since {clock.as_text(since)}: {depth} items wait{reason}",
            details={
                "depth": depth,
                "since": clock.as_text(since),
                "last_dispatch_at": clock.as_text(queue.last_dispatch_at),
            },
        )
    )


def _is_first(column: str, queue_id: int) -> bool:
    """Note that the case is told; False when it was already."""
    rows = WorkQueue.objects.filter(pk=queue_id, **{f"{column}__isnull": True})
    return bool(rows.update(**{column: clock.now()}))


def _case_over(column: str, queue_id: int) -> None:
    WorkQueue.objects.filter(pk=queue_id, **{f"{column}__isnull": False}).update(**{column: None})
