"""
Hand waiting items to executions of the queue's action (execution.md section 18).

Locks: whoever changes a waiting item or a dispatch locks the queue's row first. Dispatch locks it and then only
inserts executions, which nobody else holds; settlement holds the execution that ends (and the root of its tree) and
then locks the queue. So the whole order is: lease of a worker, root, execution, queue, item. Nobody who holds a
queue's row asks for the row of an execution that exists.

Any thread of any process may dispatch. Within one process one queue after the other is looked at, and whoever calls
while that goes on only asks for another look.
"""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from uuid import uuid4

from django.db import DatabaseError, connection, transaction
from django.db.models import F

from apps.core import clock, sql
from apps.core.errors import AttuneError
from apps.executions.services import ExecutionRequest, request_execution
from apps.queues import news, waiting
from apps.queues.config import QueueConfig, read_config
from apps.queues.models import DispatchStatus, ItemStatus, WorkQueue, WorkQueueDispatch, WorkQueueItem
from apps.queues.rendering import CannotRender, Lease, execution_config
from apps.queues.tuning import Tuning, tuning_of

logger = logging.getLogger(__name__)

LEASE = timedelta(hours=24)
MOST_IN_A_PASS = 20  # executions; a pass is a short transaction, and a larger backlog takes another one
_PATIENCE_SECONDS = 0.05  # a caller has its own answer to give; after that a thread of its own goes on

_flag = threading.Lock()
_looking = threading.Lock()
_asked: dict[int, None] = {}  # in the order in which they asked


def dispatch_on_commit(queue_id: int) -> None:
    """Have the queue looked at once the current transaction commits."""
    transaction.on_commit(partial(dispatch_queue, queue_id), robust=True)


def dispatch_queue(queue_id: int) -> None:
    """
    Hand over what the queue's settings allow now; returns at once when another thread is at it already.

    A failure is logged and left to the next call or the sweep: the items stay where they are.
    """
    with _flag:
        _asked[queue_id] = None
    _look(until=time.monotonic() + _PATIENCE_SECONDS)


def _look(*, until: float | None) -> None:
    while _asked and _looking.acquire(blocking=False):
        try:
            while _asked and not _is_past(until):
                _work_off(_next())
        finally:
            _looking.release()
        if _asked and _is_past(until):
            threading.Thread(target=_look_aside, name="queues", daemon=True).start()
            return


def _next() -> int:
    with _flag:
        queue_id = next(iter(_asked))
        del _asked[queue_id]
        return queue_id


def _is_past(until: float | None) -> bool:
    return until is not None and time.monotonic() > until


def _look_aside() -> None:
    try:
        _look(until=None)
    finally:
        connection.close()


def _work_off(queue_id: int) -> None:
    try:
        if pass_once(queue_id):
            with _flag:
                _asked[queue_id] = None  # behind the others
    except DatabaseError:
        logger.warning("Queue %s could not be dispatched; the sweep tries again", queue_id, exc_info=True)
    except Exception:  # nobody who enqueues or ends an execution is to blame
        logger.exception("Queue %s could not be dispatched; the sweep tries again", queue_id)


# --- One queue ----------------------------------------------------------------------------------------------------


def pass_once(queue_id: int) -> bool:
    """Make one pass over a queue; return True when there may be more to hand over."""
    queue = _queues().filter(pk=queue_id).first()
    if queue is None or not _room(queue, tuning_of(queue)) or not waiting.has_ready(queue_id):
        return False  # the usual case for a busy queue: nobody waits for its row
    with transaction.atomic():
        locked = _queues().select_for_update(no_key=True, of=("self",)).filter(pk=queue_id).first()
        return locked is not None and _hand_over(locked)


def _queues() -> "WorkQueue.objects.__class__":  # type: ignore[name-defined]  # a QuerySet of the manager's class
    return WorkQueue.objects.select_related("pack", "dispatch_action__runtime", "owner_identity")


def _hand_over(queue: WorkQueue) -> bool:
    config, tuning = read_config(queue.config), tuning_of(queue)
    for _ in range(min(_room(queue, tuning), MOST_IN_A_PASS)):
        ids = waiting.next_ids(queue, config, tuning.batch_size)
        if not ids:
            return False
        _lease(queue, ids)
    return _room(queue, tuning) > 0


def _room(queue: WorkQueue, tuning: Tuning) -> int:
    """Return how many executions may be started now."""
    if not queue.enabled or queue.dispatch_action is None:
        return 0
    config = read_config(queue.config)
    if wait_seconds(queue, config) > 0:
        return 0
    free = max(0, tuning.concurrency - active_dispatches(queue.pk))
    return min(free, 1) if config.delay_seconds else free


def wait_seconds(queue: WorkQueue, config: QueueConfig) -> float:
    """Return how long the queue waits until it may start another execution."""
    if queue.last_dispatch_at is None or not config.delay_seconds:
        return 0.0
    return config.delay_seconds - (clock.now() - queue.last_dispatch_at).total_seconds()


def active_dispatches(queue_id: int) -> int:
    """Return how many executions of the queue have not ended."""
    return WorkQueueDispatch.objects.active().filter(queue=queue_id).count()


# --- One execution ------------------------------------------------------------------------------------------------


def _lease(queue: WorkQueue, ids: Sequence[int]) -> None:
    """Lease these items to a new execution; those that cannot be handed over have failed."""
    assert queue.dispatch_action is not None
    found = WorkQueueItem.objects.in_bulk(ids)
    items = [found[pk] for pk in ids]
    for item in items:
        item.attempt_count += 1
    lease = Lease(queue=queue, action=queue.dispatch_action, dispatch_id=_next_dispatch_id(), items=items)
    try:
        _start(lease)
    except (CannotRender, AttuneError) as error:
        _fail(items, str(error))


def _start(lease: Lease) -> None:
    queue = lease.queue
    request = ExecutionRequest(
        action=lease.action,
        parameters=execution_config(lease),
        executor=queue.owner_identity,
        permission_set_refs=queue.permission_set_refs,
    )
    execution = request_execution(request)
    now = clock.now()
    ids = [item.pk for item in lease.items]
    row = {
        "id": lease.dispatch_id,
        "queue": queue.pk,
        "queue_ref": queue.ref,
        "execution": execution.pk,
        "status": DispatchStatus.DISPATCHED.value,
        "leased_item_count": len(ids),
    }
    sql.insert(WorkQueueDispatch, [row])
    WorkQueueItem.objects.filter(pk__in=ids).update(
        status=ItemStatus.LEASED,
        attempt_count=F("attempt_count") + 1,
        leased_execution=execution.pk,
        lease_token=uuid4(),
        lease_expires_at=now + LEASE,
    )
    sql.update(WorkQueue, {"last_dispatch_at": now}, "id = %s", [queue.pk])
    queue.last_dispatch_at = now
    news.started(queue, lease.dispatch_id, execution, ids)


def _next_dispatch_id() -> int:
    """Return the id of the next dispatch: the execution's parameters name it, and its row names the execution."""
    table = WorkQueueDispatch._meta.db_table
    if connection.vendor == "postgresql":
        return int(sql.fetch("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [table])[0][0])
    # One writer at a time, so nobody takes it meanwhile.
    found = sql.fetch("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
    return int(found[0][0]) + 1 if found else 1


def _fail(items: Sequence[WorkQueueItem], error: str) -> None:
    """End items that no execution can be made for: it would be the same the next time."""
    for item in items:
        entry = {
            "execution": None,
            "at": clock.as_text(clock.now()),
            "status": ItemStatus.FAILED.value,
            "error": error,
        }
        item.set(status=ItemStatus.FAILED, last_error=error, attempts=[*item.attempts, entry])
