"""Queues in tests: their executions are ended by hand, as a worker would."""

from itertools import pairwise
from typing import Any

from apps.executions.models import Execution
from apps.executions.retries import is_repeated, repeat_after_end
from apps.executions.states import Status
from apps.executions.transitions import Step, transition
from apps.queues.models import WorkQueue, WorkQueueDispatch, WorkQueueItem

_TO_RUNNING = (Status.REQUESTED, Status.SCHEDULING, Status.SCHEDULED, Status.RUNNING)


def running(queue: WorkQueue) -> list[Execution]:
    """The executions that work for the queue (their first attempts), oldest first."""
    active = WorkQueueDispatch.objects.active().filter(queue=queue).order_by("pk").select_related("execution")
    return [dispatch.execution for dispatch in active]


def finish(execution: Execution, result: dict[str, Any] | None = None, status: str = Status.COMPLETED) -> Execution:
    """End an execution with this result, inside a transaction, and make the retry it is owed."""
    for source, target in pairwise(_TO_RUNNING):
        assert transition(execution, Step(source=source, target=target, actor="test"))
    target = Status(status)
    step = Step(source=Status.RUNNING, target=target, actor="test")
    assert transition(execution, step, repeated=is_repeated(execution, target), result=result or {})
    repeat_after_end(execution)
    execution.refresh_from_db()
    return execution


def ack(*entries: tuple[int, str], **further: Any) -> dict[str, Any]:
    """A result that says about each item what its process made of it."""
    items = [{"id": pk, "status": status, **further} for pk, status in entries]
    return {"succeeded": True, "queue_ack": {"version": 1, "items": items}}


def settings(**dispatch: Any) -> dict[str, Any]:
    """A queue's config with these settings of its dispatch; numbers are literals."""
    literals = {
        name: {"source": "literal", "value": value}
        for name, value in dispatch.items()
        if name in ("concurrency", "batch_size") and isinstance(value, int)
    }
    return {"dispatch": {**dispatch, **literals}}


def statuses(queue: WorkQueue) -> list[str]:
    """The statuses of all items, oldest first."""
    return list(WorkQueueItem.objects.filter(queue=queue).order_by("pk").values_list("status", flat=True))
