"""Which items are leased, when, and what their execution is told."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.executions.models import Execution
from apps.executions.secrets import real_config
from apps.queues import sweep
from apps.queues.dispatch import pass_once
from apps.queues.models import WorkQueue, WorkQueueDispatch, WorkQueueItem
from apps.queues.services import update_queue
from apps.queues.tuning import tuning_of
from tests.factories import make_action, make_holder, make_identity, make_item, make_key, make_pack, make_queue
from tests.queueing import ack, finish, running, settings, statuses

pytestmark = pytest.mark.django_db


def work_off(queue: WorkQueue) -> list[Execution]:
    """Hand over all that may be, and return the executions that work for the queue."""
    while pass_once(queue.pk):
        pass
    return running(queue)


def leased(queue: WorkQueue) -> list[list[int]]:
    return [[item["id"] for item in execution.config["queue"]["items"]] for execution in work_off(queue)]


def batch_queue(**dispatch: Any) -> WorkQueue:
    return make_queue(batch_mode="batch", config=settings(**dispatch))


# --- The execution ------------------------------------------------------------------------------------------------


def test_a_single_payload_is_the_config() -> None:
    identity = make_identity()
    queue = make_queue(owner_identity=identity, permission_set_refs=["standard"])
    item = make_item(queue, payload={"to": "a@x.org", "queue": "own"}, item_key="k", metadata={"m": 1})

    (execution,) = work_off(queue)

    dispatch = WorkQueueDispatch.objects.get()
    named = {"id": item.pk, "item_key": "k", "priority": 0, "attempt_count": 1}
    assert execution.config == {
        "to": "a@x.org",
        "queue": {"id": queue.pk, "ref": queue.ref, "dispatch": dispatch.pk, "items": [named],
                  "ack_contract_version": 1},
        "queue_item": {**named, "payload": {"to": "a@x.org", "queue": "own"}, "metadata": {"m": 1}},
    }  # fmt: skip
    assert (execution.executor_id, execution.permission_set_refs) == (identity.pk, ["standard"])
    assert (dispatch.execution_id, dispatch.status, dispatch.leased_item_count) == (execution.pk, "dispatched", 1)


def test_a_payload_that_is_no_object_is_the_item() -> None:
    queue = make_queue()
    make_item(queue, payload=[1, 2])

    assert work_off(queue)[0].config["item"] == [1, 2]


def test_a_batch_is_the_items() -> None:
    queue = batch_queue(batch_size=5)
    first, second = make_item(queue, payload={"n": 1}), make_item(queue, payload="two")

    (execution,) = work_off(queue)

    assert execution.config["items"] == [{"n": 1}, "two"]
    assert [entry["id"] for entry in execution.config["queue_items"]] == [first.pk, second.pk]
    assert "queue_item" not in execution.config


def test_action_params_are_rendered_leniently() -> None:
    pack = make_pack(
        config={"host": "mx1", "password": "hush"}, conf_schema={"password": {"type": "string", "secret": True}}
    )
    params = {
        "to": "{{ item.to }}",
        "text": "Item {{ queue_item.id }} of {{ queue.ref }} on {{ config.host }}{{ item.nothing }}",
        "missing": "{{ item.nothing }}",
        "key": "{{ keystore.x }}",
        "hidden": "{{ config.password }}",
    }
    queue = make_queue(pack=pack, pack_ref=pack.ref, action_params=params)
    item = make_item(queue, payload={"to": "a@x.org"})

    (execution,) = work_off(queue)

    given = {name: execution.config[name] for name in params}
    text = f"Item {item.pk} of {queue.ref} on mx1"
    assert given == {"to": "a@x.org", "text": text, "missing": None, "key": None, "hidden": None}
    assert execution.config["queue"]["items"][0]["id"] == item.pk


def test_action_params_of_a_batch() -> None:
    queue = batch_queue(batch_size=5)
    queue.set(action_params={"all": "{{ items }}", "first": "{{ queue_items.0.payload }}"})
    make_item(queue, payload=1), make_item(queue, payload=2)

    (execution,) = work_off(queue)

    assert (execution.config["all"], execution.config["first"]) == ([1, 2], 1)


def test_a_lease() -> None:
    queue = make_queue()
    item = make_item(queue)

    (execution,) = work_off(queue)

    item.refresh_from_db()
    assert (item.status, item.attempt_count, item.leased_execution_id) == ("leased", 1, execution.pk)
    assert item.lease_token is not None
    assert item.lease_expires_at is not None
    assert timedelta(hours=23, minutes=59) < item.lease_expires_at - timezone.now() <= timedelta(hours=24)


# --- Which and how many -------------------------------------------------------------------------------------------


def test_one_execution_at_a_time_unless_told_otherwise() -> None:
    queue = make_queue()
    first, second = make_item(queue), make_item(queue)

    assert leased(queue) == [[first.pk]]

    finish(running(queue)[0], ack((first.pk, "completed")))
    assert leased(queue) == [[second.pk]]


def test_as_many_executions_as_its_concurrency() -> None:
    queue = make_queue(config=settings(concurrency=3))
    ids = [make_item(queue).pk for _ in range(5)]

    assert leased(queue) == [[pk] for pk in ids[:3]]


def test_highest_priority_first_then_oldest() -> None:
    queue = make_queue(config=settings(concurrency=4), default_priority=5)
    low, default, high, later = (make_item(queue, priority=value).pk for value in (-300, None, 900, 900))

    assert leased(queue) == [[high], [later], [default], [low]]


def test_a_batch_mixes_priorities() -> None:
    queue = batch_queue(batch_size=2)
    low, high, middle = (make_item(queue, priority=value).pk for value in (1, 3, 2))

    assert leased(queue) == [[high, middle]]
    finish(running(queue)[0], ack((high, "completed"), (middle, "completed")))
    assert leased(queue) == [[low]]


def coalescing(**fields: Any) -> dict[str, Any]:
    return {"enabled": True, "group_by_path": "customer.id", **fields}


def test_coalescing_fills_a_batch_with_one_group_and_priority() -> None:
    queue = batch_queue(batch_size=3, concurrency=4, coalescing=coalescing())
    a1, b1, a2, a_high, a3, a4 = (
        make_item(queue, payload={"customer": {"id": who}}, priority=priority).pk
        for who, priority in (("a", 0), ("b", 0), ("a", 0), ("a", 9), ("a", 0), ("a", 0))
    )

    assert leased(queue) == [[a_high], [a1, a2, a3], [b1], [a4]]


def test_coalescing_across_priorities() -> None:
    queue = batch_queue(batch_size=3, concurrency=4, coalescing=coalescing(across_priorities=True))
    a1, b1, a_high = (
        make_item(queue, payload={"customer": {"id": who}}, priority=priority).pk
        for who, priority in (("a", 0), ("b", 0), ("a", 9))
    )

    assert leased(queue) == [[a_high, a1], [b1]]


def test_items_without_the_path_are_a_group() -> None:
    queue = batch_queue(batch_size=3, concurrency=4, coalescing=coalescing())
    none1, a1, none2 = (make_item(queue, payload=p).pk for p in ("x", {"customer": {"id": 1}}, {"customer": None}))

    assert leased(queue) == [[none1, none2], [a1]]


def test_a_whole_number_is_one_group_however_it_is_written() -> None:
    queue = batch_queue(batch_size=3, concurrency=4, coalescing=coalescing())
    first, text, second = (make_item(queue, payload={"customer": {"id": who}}).pk for who in (1, "1", 1.0))

    assert leased(queue) == [[first, second], [text]]


def test_an_item_is_left_alone_until_its_time() -> None:
    queue = make_queue(config=settings(concurrency=5))
    later = make_item(queue, not_before=timezone.now() + timedelta(minutes=1), priority=9)
    due = make_item(queue, not_before=timezone.now() - timedelta(minutes=1))

    assert leased(queue) == [[due.pk]]
    seconds = sweep.next_due()
    assert seconds is not None
    assert 50 < seconds <= 60

    WorkQueueItem.objects.filter(pk=later.pk).update(not_before=timezone.now())
    assert leased(queue) == [[due.pk], [later.pk]]


def test_a_pause_between_two_executions() -> None:
    queue = make_queue(config=settings(concurrency=5, inter_execution_delay_seconds=30))
    first, second = make_item(queue).pk, make_item(queue).pk

    assert leased(queue) == [[first]]
    seconds = sweep.next_due()
    assert seconds is not None
    assert 25 < seconds <= 30

    WorkQueue.objects.update(last_dispatch_at=timezone.now() - timedelta(seconds=31))
    assert leased(queue) == [[first], [second]]


@pytest.mark.parametrize("fields", [{"enabled": False}, {"dispatch_action": None}])
def test_a_queue_that_is_not_dispatched(fields: dict[str, Any]) -> None:
    queue = make_queue()
    make_item(queue)
    queue.set(**fields)

    assert work_off(queue) == []
    assert statuses(queue) == ["queued"]


def test_the_sweep_finds_what_nobody_dispatched() -> None:
    queue, full = make_queue(), make_queue()
    make_item(queue), make_item(full), make_item(full)
    work_off(full)

    sweep.sweep()

    assert (len(running(queue)), len(running(full))) == (1, 1)


def test_100_waiting_items_take_as_many_queries_as_one(django_assert_num_queries: Any) -> None:
    queue, long = make_queue(), make_queue()
    make_item(queue)
    for _ in range(100):
        make_item(long)
    with django_assert_num_queries(1000, exact=False) as first:
        pass_once(queue.pk)
    with django_assert_num_queries(len(first), exact=False):
        pass_once(long.pk)


# --- Tunables -----------------------------------------------------------------------------------------------------


def test_a_number_of_the_packs_config() -> None:
    pack = make_pack(config={"mail": {"workers": 4, "text": "7"}})
    queue = make_queue(
        pack=pack, pack_ref=pack.ref, batch_mode="batch",
        config=settings(concurrency={"source": "pack_config", "path": "mail.workers"},
                        batch_size={"source": "pack_config", "path": "mail.text"}),
    )  # fmt: skip

    tuning = tuning_of(queue)

    assert (tuning.concurrency, tuning.batch_size, tuning.warnings) == (4, 7, ())


@pytest.mark.parametrize(("fallback", "used"), [(6, 6), (None, 1)])
def test_a_number_that_is_not_there_is_the_fallback(fallback: int | None, used: int) -> None:
    pack = make_pack(config={})
    tunable = {"source": "pack_config", "path": "mail.workers", "fallback": fallback}
    queue = make_queue(pack=pack, pack_ref=pack.ref, config=settings(concurrency=tunable))

    tuning = tuning_of(queue)

    assert tuning.concurrency == used
    assert tuning.warnings == (f"concurrency: the pack's config has no 'mail.workers'; {used} is used",)


def _keyed(owner: Any = None, **fields: Any) -> WorkQueue:
    tunable = {"source": "keystore", "key_ref": "speed", "fallback": 2}
    return make_queue(config=settings(concurrency=tunable), owner_identity=owner, **fields)


def test_a_key_is_read_with_the_rights_of_the_owner() -> None:
    make_key(ref="speed", value=5)
    reader = make_holder({"resource": "keys", "actions": ["read"]})

    assert tuning_of(_keyed(reader)).concurrency == 5
    assert tuning_of(_keyed(make_identity())).concurrency == 2


def test_an_encrypted_key_takes_the_right_to_decrypt() -> None:
    make_key(ref="speed", value=5, encrypted=True)
    reader = make_holder({"resource": "keys", "actions": ["read"]})
    decrypter = make_holder({"resource": "keys", "actions": ["read", "decrypt"]})

    assert (tuning_of(_keyed(reader)).concurrency, tuning_of(_keyed(decrypter)).concurrency) == (2, 5)
    assert tuning_of(_keyed()).concurrency == 2


def test_a_queue_of_a_pack_reads_the_keys_of_its_pack_and_of_the_system() -> None:
    pack, other = make_pack(), make_pack()
    key = make_key(pack, ref="speed", value=5, encrypted=True)

    assert tuning_of(_keyed(pack=pack, pack_ref=pack.ref)).concurrency == 5
    assert tuning_of(_keyed(pack=other, pack_ref=other.ref)).concurrency == 2
    key.delete()
    make_key(ref="speed", value=4)
    assert tuning_of(_keyed(pack=other, pack_ref=other.ref)).concurrency == 4


def test_what_is_no_number_is_the_fallback() -> None:
    make_key(ref="speed", value="fast")

    tuning = tuning_of(_keyed())

    assert tuning.warnings == ("concurrency: what it names is no whole number from 1 on; 2 is used",)


# --- Secrets ------------------------------------------------------------------------------------------------------

SECRET = {"password": {"type": "string", "secret": True}, "user": {"type": "string"}}
MARKER = {"$attune_secret": True, "redacted": True}


def test_a_secret_reaches_a_secret_parameter_only() -> None:
    queue = make_queue(item_schema=SECRET, action=make_action(param_schema=SECRET))
    item = make_item(queue, payload={"user": "u", "password": "hush hush"})

    (execution,) = work_off(queue)

    item.refresh_from_db()
    assert item.payload == {"user": "u", "password": MARKER}
    assert execution.config["password"] == MARKER
    assert execution.config["queue_item"]["payload"] == {"user": "u", "password": MARKER}
    real = real_config(execution)
    assert (real["password"], real["queue_item"]["payload"]["password"]) == ("hush hush", MARKER)


def test_a_secret_of_a_batch() -> None:
    item_of_batch = {"type": "object", "properties": SECRET}
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": item_of_batch}}}
    queue = make_queue(
        item_schema=SECRET, action=make_action(param_schema=schema), batch_mode="batch", config=settings(batch_size=2)
    )
    make_item(queue, payload={"password": "first"}), make_item(queue, payload={"password": "second"})

    (execution,) = work_off(queue)

    assert execution.config["items"] == [{"password": MARKER}, {"password": MARKER}]
    assert [each["password"] for each in real_config(execution)["items"]] == ["first", "second"]


def test_a_secret_for_an_open_parameter_fails_the_item() -> None:
    queue = make_queue(item_schema=SECRET)
    item = make_item(queue, payload={"password": "hush hush"})

    assert work_off(queue) == []

    item.refresh_from_db()
    assert item.status == "failed"
    assert item.last_error == "Secret value cannot be assigned to non-secret parameter path(s): password"
    assert not Execution.objects.exists()


@pytest.mark.parametrize("schema", [{"customer": {**SECRET, "secret": True}}, SECRET], ids=["object", "value"])
def test_items_with_different_secrets_are_different_groups(schema: dict[str, Any]) -> None:
    path = "customer.password" if "customer" in schema else "password"
    queue = make_queue(
        item_schema=schema,
        action=make_action(),
        batch_mode="batch",
        enabled=False,
        config=settings(batch_size=3, concurrency=4, coalescing={"enabled": True, "group_by_path": path}),
    )
    payloads = [{"password": word} for word in ("one", "two", "one")]
    items = [make_item(queue, payload={"customer": it} if "customer" in schema else it) for it in payloads]

    groups = [item.group_key for item in items]
    assert (groups[0] == groups[2], groups[0] == groups[1]) == (True, False)
    assert "one" not in str(groups)
    update_queue(queue.pk, {"config": settings(batch_size=3)})
    update_queue(queue.pk, {"config": queue.config})
    assert list(WorkQueueItem.objects.order_by("pk").values_list("group_key", flat=True)) == groups


def test_a_template_reads_secrets_for_secret_parameters_only() -> None:
    params = {"password": "{{ item.password }}", "user": "{{ item.password }}"}
    queue = make_queue(item_schema=SECRET, action=make_action(param_schema=SECRET), action_params=params)
    make_item(queue, payload={"password": "hush hush"})

    (execution,) = work_off(queue)

    real = real_config(execution)
    assert (real["password"], real["user"]) == ("hush hush", None)


def test_strict_parameters_that_do_not_fit_fail_the_item() -> None:
    action = make_action(param_schema={"n": {"type": "integer"}}, strict_parameters=True)
    queue = make_queue(action=action)
    bad, good = make_item(queue, payload={"n": "x"}), make_item(queue, payload={"n": 1})

    (execution,) = work_off(queue)

    bad.refresh_from_db()
    assert execution.config["queue"]["items"][0]["id"] == good.pk
    assert bad.status == "failed"
    assert bad.last_error is not None
    assert bad.last_error.startswith(f"Invalid parameters for action '{action.ref}': ")
    assert [attempt["execution"] for attempt in bad.attempts] == [None]
