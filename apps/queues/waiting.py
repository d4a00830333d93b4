"""
Which items of a queue are next, found along the partial indexes of waiting items.

The statuses are spelled out: an index with a condition serves only a statement that repeats it, and parameters are no
repetition on SQLite. What a statement costs depends on what it returns and on the items ahead of it whose time has not
come, not on how many wait.
"""

from collections.abc import Sequence
from typing import Any

from apps.core import sql
from apps.queues.config import QueueConfig
from apps.queues.models import WorkQueue, WorkQueueItem

_PENDING = "status IN ('queued', 'retry')"
_READY = f"{_PENDING} AND (not_before IS NULL OR not_before <= {{now}})"
_HEADS = f"""
SELECT id, priority, group_key FROM work_queue_item {{index}}
WHERE queue = %s AND {_READY} ORDER BY priority DESC, created, id LIMIT %s
"""
_OF_GROUP = f"""
SELECT id FROM work_queue_item {{index}}
WHERE queue = %s AND group_key = %s AND group_key IS NOT NULL {{priority}} AND {_READY}
ORDER BY priority DESC, created, id LIMIT %s
"""
_DEPTH = (
    f"SELECT count(*) FROM (SELECT 1 FROM work_queue_item {{index}} WHERE queue = %s AND {_PENDING} LIMIT %s) waiting"
)
_DEPTHS = f"""
SELECT q.id, (SELECT count(*) FROM (SELECT 1 FROM work_queue_item {{index}} WHERE queue = q.id AND {_PENDING} LIMIT %s) waiting)
FROM work_queue q WHERE q.id IN ({{ids}})
"""
_QUEUES = f"""
SELECT q.id FROM work_queue q WHERE q.enabled {{and_more}}
AND EXISTS (SELECT 1 FROM work_queue_item {{index}} WHERE queue = q.id AND {_READY}) ORDER BY q.id
"""
_OF_KEY = f"queue = %s AND pending_key = %s AND {_PENDING}"
_NEXT_TIME = f"""
SELECT min(not_before) FROM work_queue_item {{index}}
WHERE {_PENDING} AND not_before IS NOT NULL AND not_before > {{now}}
"""
_NEXT_LEASE = "SELECT min(lease_expires_at) FROM work_queue_item {index} WHERE status = 'leased'"
_OVER = """
SELECT DISTINCT queue, leased_execution FROM work_queue_item {index}
WHERE status = 'leased' AND lease_expires_at <= {now} LIMIT %s
"""
_BY_LEASE = "work_queue_item_lease"
_BY_PRIORITY, _BY_GROUP, _BY_TIME = "work_queue_item_ready", "work_queue_item_group", "work_queue_item_not_before"


def has_ready(queue_id: int) -> bool:
    """Whether an item could be leased now."""
    return bool(_heads(queue_id, 1))


def ready_ids(queue_id: int, most: int) -> list[int]:
    """Return the items that are ready: highest priority first, then oldest."""
    return [row[0] for row in _heads(queue_id, most)]


def next_ids(queue: WorkQueue, config: QueueConfig, batch_size: int) -> list[int]:
    """Return the items of the next execution: highest priority first, then oldest; one group where groups are kept."""
    if not config.coalescing:
        return ready_ids(queue.pk, batch_size)
    heads = _heads(queue.pk, 1)
    if not heads:
        return []
    first, priority, group = heads[0]
    if group is None:  # it was written by SQL: nobody knows whom it belongs with
        return [first]
    parameters: list[Any] = [queue.pk, group]
    if not config.across_priorities:
        parameters.append(priority)
    text = _OF_GROUP.format(
        index=sql.indexed_by(_BY_GROUP),
        priority="" if config.across_priorities else "AND priority = %s",
        now=sql.now_text(),
    )
    return [row[0] for row in sql.fetch(text, [*parameters, batch_size])]


def depth(queue_id: int, *, up_to: int) -> int:
    """Return how many items wait, counted no further than ``up_to``."""
    text = _DEPTH.format(index=sql.indexed_by(_BY_PRIORITY))
    return int(sql.fetch(text, [queue_id, up_to])[0][0])


def depths(queue_ids: Sequence[int], *, up_to: int) -> dict[int, int]:
    """Return how many items wait in each of these queues, counted no further than ``up_to``."""
    if not queue_ids:
        return {}
    text = _DEPTHS.format(index=sql.indexed_by(_BY_PRIORITY), ids=", ".join(["%s"] * len(queue_ids)))
    return {queue: int(count) for queue, count in sql.fetch(text, [up_to, *queue_ids])}


def pending_of_key(queue_id: int, key: str) -> WorkQueueItem | None:
    """Return the one item that waits under this key, None when none does."""
    return sql.get(WorkQueueItem, _OF_KEY, [queue_id, key])


def queues_with_ready_items(*, with_action: bool = True) -> list[int]:
    """Return the queues that are dispatched and have something ready; also those whose action is gone, if wanted."""
    more = "AND q.dispatch_action IS NOT NULL" if with_action else ""
    text = _QUEUES.format(index=sql.indexed_by(_BY_PRIORITY), now=sql.now_text(), and_more=more)
    return [row[0] for row in sql.fetch(text)]


def next_time() -> Any:
    """Return the next moment at which an item becomes ready, None when none has one ahead."""
    text = _NEXT_TIME.format(index=sql.indexed_by(_BY_TIME), now=sql.now_text())
    return sql.convert(WorkQueueItem, "not_before", sql.fetch(text)[0][0])


def next_end_of_lease() -> Any:
    """Return when the next lease runs out, None when nothing is leased."""
    found = sql.fetch(_NEXT_LEASE.format(index=sql.indexed_by(_BY_LEASE)))
    return sql.convert(WorkQueueItem, "lease_expires_at", found[0][0])


def leases_over(most: int) -> list[tuple[int, int | None]]:
    """Return queue and execution of leases that have run out."""
    found = sql.fetch(_OVER.format(index=sql.indexed_by(_BY_LEASE), now=sql.now_text()), [most])
    return [(queue, execution) for queue, execution in found]


def _heads(queue_id: int, most: int) -> Sequence[tuple[Any, ...]]:
    return sql.fetch(_HEADS.format(index=sql.indexed_by(_BY_PRIORITY), now=sql.now_text()), [queue_id, most])
