"""A queue on a real worker: batches, groups, and handlers that fail in every way."""

from collections import Counter

import pytest

from apps.executions.models import Execution
from apps.queues.api.serializers import ItemSerializer
from apps.queues.models import WorkQueueDispatch, WorkQueueItem
from tests.factories import make_action, make_item, make_queue, make_runtime
from tests.processes import wait_until
from tests.queue_handler import CODE, payload, problems
from tests.queueing import settings

pytestmark = pytest.mark.usefixtures("worker")

ITEMS, BATCH, RETRIES = 320, 8, 2


def test_every_item_is_acknowledged_once_or_retried_to_its_limit() -> None:
    action = make_action(runtime=make_runtime(ref="core.python"), entrypoint=CODE)
    coalescing = {"enabled": True, "group_by_path": "group"}
    queue = make_queue(
        action=action, batch_mode="batch",
        config=settings(concurrency=4, batch_size=BATCH, retry_limit=RETRIES, coalescing=coalescing),
    )  # fmt: skip
    for number in range(ITEMS):
        make_item(queue, payload=payload(number))
    unsettled = WorkQueueItem.objects.filter(status__in=["queued", "retry", "leased"])

    wait_until(lambda: not unsettled.exists(), timeout_seconds=240, what="the end of all items")

    shown = [ItemSerializer(item).data for item in WorkQueueItem.objects.order_by("pk")]
    assert problems(shown, retry_limit=RETRIES) == []
    assert not WorkQueueDispatch.objects.active().exists()
    told = Counter(item["id"] for execution in Execution.objects.all() for item in execution.config["queue"]["items"])
    assert told == {item["id"]: item["attempt_count"] for item in shown}
    assert max(WorkQueueDispatch.objects.values_list("leased_item_count", flat=True)) == BATCH
