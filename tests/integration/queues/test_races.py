"""Many who enqueue, dispatch and settle at once."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from apps.events.models import Event
from apps.queues.dispatch import pass_once
from apps.queues.errors import ImmutableItem, QueueFull
from apps.queues.items import Enqueued, NewItem, enqueue
from apps.queues.models import WorkQueue, WorkQueueDispatch, WorkQueueItem
from tests.factories import make_item, make_pack, make_queue, make_trigger
from tests.queueing import ack, finish, running, settings, statuses

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 6


def together(work: Callable[[int], object], times: int = THREADS) -> list[object]:
    """Run it in so many threads; return what they returned or raised."""
    start, answers = threading.Barrier(times), [None] * times

    def run(number: int) -> None:
        start.wait(60)
        try:
            answers[number] = work(number)  # type: ignore[call-overload]  # a list of anything
        except Exception as error:
            answers[number] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return answers


def still(**fields: object) -> WorkQueue:
    """A queue that is not dispatched meanwhile."""
    return make_queue(enabled=False, **fields)


def test_one_of_several_enqueues_of_a_key_makes_the_item() -> None:
    queue = still(allow_pending_update=True, update_strategy="merge_patch")

    answers = together(lambda number: enqueue(queue, NewItem(payload={f"n{number}": number}, item_key="k")))

    assert Counter(isinstance(each, Enqueued) and each.is_new for each in answers) == {True: 1, False: THREADS - 1}
    (item,) = WorkQueueItem.objects.all()
    assert item.payload == {f"n{number}": number for number in range(THREADS)}


def test_only_the_first_immutable_item_of_a_key_is_taken() -> None:
    queue = still(allow_pending_update=True, update_strategy="immutable")

    answers = together(lambda number: enqueue(queue, NewItem(payload=number, item_key="k")))

    assert Counter(type(each) for each in answers) == {Enqueued: 1, ImmutableItem: THREADS - 1}


def test_a_queue_never_holds_more_than_it_may() -> None:
    queue = still(max_depth=3)

    answers = together(lambda number: enqueue(queue, NewItem(payload=number)))

    assert Counter(type(each) for each in answers) == {Enqueued: 3, QueueFull: THREADS - 3}


def test_an_item_is_leased_once() -> None:
    queue = still(config=settings(concurrency=100))
    for _ in range(40):
        make_item(queue)
    queue.set(enabled=True)

    def work(_number: int) -> None:
        while pass_once(queue.pk):
            pass

    assert together(work) == [None] * THREADS
    told = [item["id"] for execution in running(queue) for item in execution.config["queue"]["items"]]
    assert sorted(told) == sorted(WorkQueueItem.objects.values_list("pk", flat=True))
    assert statuses(queue) == ["leased"] * 40


def test_never_more_executions_than_the_concurrency() -> None:
    queue = still(config=settings(concurrency=2))
    for _ in range(20):
        make_item(queue)
    queue.set(enabled=True)

    together(lambda _number: pass_once(queue.pk))

    assert len(running(queue)) == 2


def test_the_queue_is_told_empty_once_when_all_end_at_once() -> None:
    core = make_pack(ref="core")
    for name in ("queue_started", "queue_empty"):
        make_trigger(pack=core, ref=f"core.{name}")
    queue = still(config=settings(concurrency=THREADS))
    for _ in range(THREADS):
        make_item(queue)
    queue.set(enabled=True)
    pass_once(queue.pk)
    executions = running(queue)

    def end(number: int) -> None:
        execution = executions[number]
        with transaction.atomic():
            finish(execution, ack((execution.config["queue"]["items"][0]["id"], "completed")))

    assert together(end) == [None] * THREADS
    assert statuses(queue) == ["completed"] * THREADS
    assert Event.objects.filter(trigger_ref="core.queue_empty").count() == 1
    assert not WorkQueueDispatch.objects.active().exists()


def test_enqueues_settlements_and_passes_at_once_lose_nothing() -> None:
    queue = make_queue(
        allow_pending_update=True, update_strategy="replace", config=settings(concurrency=3, retry_limit=50)
    )

    def work(number: int) -> None:
        for turn in range(15):
            enqueue(queue, NewItem(payload=[number, turn], item_key=f"k{turn % 4}"))
            for execution in running(queue)[number % 3 : number % 3 + 1]:
                with transaction.atomic():
                    locked = type(execution).objects.select_for_update().get(pk=execution.pk)
                    if locked.status == "requested":
                        said = "retry" if turn % 3 == 0 else "completed"
                        finish(locked, ack((locked.config["queue"]["items"][0]["id"], said)))

    assert together(work) == [None] * THREADS
    waiting = WorkQueueItem.objects.filter(status__in=["queued", "retry"]).values_list("item_key", flat=True)
    assert max(Counter(waiting).values(), default=0) <= 1
    leased = WorkQueueItem.objects.filter(status="leased").count()
    assert leased == WorkQueueDispatch.objects.active().count() <= 3
    assert set(statuses(queue)) <= {"queued", "retry", "leased", "completed", "skipped"}
