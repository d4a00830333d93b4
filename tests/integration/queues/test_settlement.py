"""What becomes of leased items when their execution ends, or their lease runs out."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.events.models import Event
from apps.executions.cancelling import cancel_execution
from apps.executions.models import Execution
from apps.executions.requests import store
from apps.executions.retries import next_attempt
from apps.queues import services, sweep
from apps.queues.dispatch import pass_once
from apps.queues.models import WorkQueue, WorkQueueDispatch, WorkQueueItem
from tests.factories import make_action, make_item, make_pack, make_queue, make_trigger
from tests.queueing import ack, finish, running, settings, statuses

pytestmark = pytest.mark.django_db


def leased_batch(count: int = 3, **fields: Any) -> tuple[WorkQueue, list[WorkQueueItem], Execution]:
    """A queue of which that many items are with one execution."""
    config = settings(batch_size=count, **fields.pop("dispatch", {}))
    queue = make_queue(batch_mode="batch", config=config, **fields)
    items = [make_item(queue, payload={"n": number}) for number in range(count)]
    pass_once(queue.pk)
    return queue, items, running(queue)[0]


def again(queue: WorkQueue) -> Execution:
    """Lease what waits, and return the execution."""
    pass_once(queue.pk)
    return running(queue)[-1]


def read(item: WorkQueueItem) -> WorkQueueItem:
    return WorkQueueItem.objects.get(pk=item.pk)


# --- Acknowledged -------------------------------------------------------------------------------------------------


def test_each_item_becomes_what_is_said_about_it() -> None:
    queue, items, execution = leased_batch(4, dispatch={"retry_limit": 3})
    said = ("completed", "retry", "failed", "skipped")
    result = ack(*((item.pk, status) for item, status in zip(items, said, strict=True)))
    result["queue_ack"]["items"][0]["summary"] = "sent"
    result["queue_ack"]["items"][1]["error"] = "mailbox busy"

    finish(execution, result)

    assert statuses(queue) == list(said)
    first, second = read(items[0]), read(items[1])
    assert (first.ack_summary, first.last_error, first.lease_token, first.lease_expires_at) == (
        "sent",
        None,
        None,
        None,
    )
    assert (second.last_error, second.leased_execution_id, second.attempt_count) == ("mailbox busy", None, 1)
    (attempt,) = second.attempts
    assert {**attempt, "at": None} == {
        "execution": execution.pk, "at": None, "status": "retry", "error": "mailbox busy"
    }  # fmt: skip
    assert WorkQueueDispatch.objects.get().status == "completed"
    assert "queue_ack_error" not in execution.result


def test_an_acknowledgement_of_a_failed_execution_counts() -> None:
    queue, items, execution = leased_batch(2)

    finish(execution, ack((items[0].pk, "completed"), (items[1].pk, "failed")), status="failed")

    assert statuses(queue) == ["completed", "failed"]
    assert "queue_ack_error" not in execution.result


def test_a_retry_beyond_its_limit_has_failed() -> None:
    queue, (item,), execution = leased_batch(1, dispatch={"retry_limit": 2})
    for expected in ("retry", "retry", "failed"):
        finish(execution, ack((item.pk, "retry"), error="busy"))
        assert statuses(queue) == [expected]
        if expected == "retry":
            execution = again(queue)

    assert execution.config["queue"]["items"][0]["attempt_count"] == 3
    assert [attempt["status"] for attempt in read(item).attempts] == ["retry", "retry", "retry"]
    assert read(item).last_error == "busy"


# --- Not acknowledged ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        ({"succeeded": True}, "The result has no queue_ack"),
        ({"queue_ack": "done"}, "The queue_ack is not valid: it must be an object"),
        (ack((0, "completed")), "The queue_ack is not valid: items that were not leased: 0"),
        (ack(), "The queue_ack is not valid: no entry for items {0}, {1}"),
    ],
)
@pytest.mark.parametrize(("retry_limit", "status"), [(0, "failed"), (1, "retry")])
def test_without_a_valid_acknowledgement_all_are_retried(
    result: dict[str, Any], problem: str, retry_limit: int, status: str
) -> None:
    queue, items, execution = leased_batch(2, dispatch={"retry_limit": retry_limit})
    problem = problem.format(*(item.pk for item in items))

    finish(execution, result)

    assert statuses(queue) == [status, status]
    assert {read(item).last_error for item in items} == {problem}
    assert execution.result == {**result, "queue_ack_error": problem}
    assert WorkQueueDispatch.objects.get().status == "failed"


def test_one_wrong_entry_counts_for_all() -> None:
    queue, items, execution = leased_batch(2, dispatch={"retry_limit": 1})

    finish(execution, ack((items[0].pk, "completed"), (items[0].pk, "failed"), (items[1].pk, "completed")))

    assert statuses(queue) == ["retry", "retry"]
    assert execution.result["queue_ack_error"].endswith(f"items named more than once: {items[0].pk}")


@pytest.mark.parametrize("status", ["failed", "timeout", "abandoned"])
def test_an_execution_that_did_not_complete_and_said_nothing(status: str) -> None:
    queue, _items, execution = leased_batch(2, dispatch={"retry_limit": 1})

    finish(execution, {"succeeded": False, "error": "it broke"}, status=status)

    text = f"Execution {execution.pk} ended '{status}' without an acknowledgement: it broke"
    assert statuses(queue) == ["retry", "retry"]
    assert execution.result["queue_ack_error"] == text


def test_a_cancelled_execution() -> None:
    queue, items, execution = leased_batch(1)

    cancel_execution(execution.pk, by=None)

    execution.refresh_from_db()
    assert statuses(queue) == ["failed"]
    assert execution.result["cancelled"] is True
    assert execution.result["queue_ack_error"] == read(items[0]).last_error
    assert WorkQueueDispatch.objects.get().status == "cancelled"


# --- Attempts of the execution ------------------------------------------------------------------------------------


def test_the_items_stay_leased_while_the_execution_is_repeated() -> None:
    queue, items, execution = leased_batch(1, action=make_action(max_retries=1))

    finish(execution, {"error": "it broke"}, status="failed")

    assert statuses(queue) == ["leased"]
    retry = Execution.objects.get(original_execution=execution.pk)
    finish(retry, ack((items[0].pk, "completed")))
    assert statuses(queue) == ["completed"]
    assert read(items[0]).attempts[0]["execution"] == retry.pk
    assert "queue_ack_error" not in execution.result


def test_a_retry_by_hand_of_a_settled_execution_changes_nothing() -> None:
    queue, items, execution = leased_batch(1)
    finish(execution, ack((items[0].pk, "completed")))
    repeated = store(
        next_attempt(execution, retry_count=1, reason="manual_retry"), action=execution.action, actor="test"
    )

    finish(repeated, ack((items[0].pk, "failed")))

    assert statuses(queue) == ["completed"]


# --- Faults -------------------------------------------------------------------------------------------------------


def test_the_sweep_settles_what_was_not() -> None:
    queue, items, execution = leased_batch(1)
    result = ack((items[0].pk, "completed"))
    Execution.objects.filter(pk=execution.pk).update(status="completed", result=result)

    sweep.sweep()

    assert statuses(queue) == ["completed"]


def test_the_sweep_waits_for_the_last_attempt() -> None:
    queue, _items, execution = leased_batch(1, action=make_action(max_retries=1))
    finish(execution, {"error": "it broke"}, status="failed")

    sweep.sweep()
    assert statuses(queue) == ["leased"]

    Execution.objects.filter(original_execution=execution.pk).update(status="failed", result={"error": "again"})
    sweep.sweep()
    assert statuses(queue) == ["failed"]


def test_a_lease_that_is_over() -> None:
    queue, items, execution = leased_batch(2, dispatch={"retry_limit": 1})
    WorkQueueItem.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))

    sweep.release_leases()

    assert statuses(queue) == ["retry", "retry"]
    assert read(items[0]).last_error == "The lease ran out before the execution acknowledged the item"
    assert WorkQueueDispatch.objects.get().status == "released"

    finish(execution, ack((items[0].pk, "completed"), (items[1].pk, "completed")))
    assert statuses(queue) == ["retry", "retry"]


def test_the_next_end_of_a_lease_is_due() -> None:
    leased_batch(1)

    seconds = sweep.next_due()

    assert seconds is not None
    assert 86_300 < seconds <= 86_400


def test_a_queue_that_is_switched_off_settles_what_is_under_way() -> None:
    queue, items, execution = leased_batch(1)
    services.update_queue(queue.pk, {"enabled": False})

    finish(execution, ack((items[0].pk, "completed")))

    assert statuses(queue) == ["completed"]


def test_a_queue_that_was_deleted_leaves_its_executions_alone() -> None:
    queue, items, execution = leased_batch(1)
    result = ack((items[0].pk, "completed"))
    services.delete_queue(queue.pk)

    finish(execution, result)

    assert execution.result == result
    assert not WorkQueueItem.objects.exists()


def test_an_action_that_was_deleted_lets_the_items_wait() -> None:
    queue, items, execution = leased_batch(1, dispatch={"retry_limit": 5})
    assert queue.dispatch_action is not None
    ref = queue.dispatch_action.ref
    queue.dispatch_action.delete()
    execution.refresh_from_db()

    finish(execution, ack((items[0].pk, "retry")))
    pass_once(queue.pk)

    queue.refresh_from_db()
    assert (statuses(queue), queue.dispatch_action_ref, queue.dispatch_action) == (["retry"], ref, None)


# --- Keys that wait once ------------------------------------------------------------------------------------------


def keyed(strategy: str) -> tuple[WorkQueue, WorkQueueItem, WorkQueueItem, Execution]:
    """A queue with a leased item, and another of its key that was enqueued meanwhile."""
    queue = make_queue(allow_pending_update=True, update_strategy=strategy, config=settings(retry_limit=5))
    older = make_item(queue, item_key="k", payload={"a": 1, "b": 1})
    pass_once(queue.pk)
    newer = make_item(queue, item_key="k", payload={"a": 2})
    assert newer.pk != older.pk
    return queue, older, newer, running(queue)[0]


@pytest.mark.parametrize(
    ("strategy", "status", "payload"),
    [
        ("replace", "skipped", {"a": 2}),
        ("merge_patch", "skipped", {"a": 2, "b": 1}),
        ("immutable", "failed", {"a": 2}),
    ],
)
def test_the_newer_item_of_a_key_takes_the_place_of_a_retry(strategy: str, status: str, payload: Any) -> None:
    queue, older, newer, execution = keyed(strategy)

    finish(execution, ack((older.pk, "retry")))

    assert statuses(queue) == [status, "queued"]
    assert read(newer).payload == payload
    assert read(older).last_error == f"Item {newer.pk} with the same key was enqueued meanwhile and takes its place"


def test_a_newer_retry_takes_the_place_of_an_older_one() -> None:
    queue, older, newer, first = keyed("merge_patch")
    queue.set(config=settings(retry_limit=5, concurrency=2))
    second = again(queue)

    finish(first, ack((older.pk, "retry")))
    finish(second, ack((newer.pk, "retry")))

    assert statuses(queue) == ["skipped", "retry"]
    assert read(newer).payload == {"a": 2, "b": 1}


# --- Events -------------------------------------------------------------------------------------------------------


@pytest.fixture
def _triggers() -> None:
    core = make_pack(ref="core")
    for name in ("queue_started", "queue_empty"):
        make_trigger(pack=core, ref=f"core.{name}")


@pytest.mark.usefixtures("_triggers")
def test_events_of_a_queue() -> None:
    queue, items, execution = leased_batch(2, dispatch={"retry_limit": 1})
    dispatch = WorkQueueDispatch.objects.get()
    (started,) = Event.objects.all()
    known = {
        "queue_id": queue.pk,
        "queue_ref": queue.ref,
        "pack_ref": None,
        "dispatch_id": dispatch.pk,
        "execution_id": execution.pk,
        "dispatch_action_ref": queue.dispatch_action_ref,
        "leased_item_count": 2,
    }
    assert started.payload.pop("observed_at")
    assert started.payload == {
        "event_type": "core.queue_started", **known, "leased_item_ids": [item.pk for item in items]
    }  # fmt: skip
    assert (started.source_ref, started.source_id) == ("system", None)

    finish(execution, ack((items[0].pk, "completed"), (items[1].pk, "retry")))
    assert not Event.objects.filter(trigger_ref="core.queue_empty").exists()  # one is ready

    execution = again(queue)
    finish(execution, ack((items[1].pk, "completed")))
    (empty,) = Event.objects.filter(trigger_ref="core.queue_empty")
    assert empty.payload.pop("observed_at")
    assert empty.payload == {
        "event_type": "core.queue_empty",
        **known,
        "dispatch_id": WorkQueueDispatch.objects.latest("pk").pk,
        "execution_id": execution.pk,
        "leased_item_count": 1,
        "terminal_dispatch_status": "completed",
        "active_dispatch_count": 0,
        "ready_item_count": 0,
    }


@pytest.mark.usefixtures("_triggers")
def test_a_queue_is_empty_when_the_last_of_several_ends() -> None:
    queue = make_queue(config=settings(concurrency=2))
    first, second = make_item(queue), make_item(queue)
    pass_once(queue.pk)
    executions = running(queue)

    finish(executions[0], ack((first.pk, "completed")))
    assert Event.objects.filter(trigger_ref="core.queue_empty").count() == 0
    finish(executions[1], ack((second.pk, "completed")))
    assert Event.objects.filter(trigger_ref="core.queue_empty").count() == 1
