"""The console's pages of queues and items."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.queues.dispatch import pass_once
from apps.queues.models import WorkQueue, WorkQueueItem
from tests.factories import grant, make_admin, make_holder, make_item, make_queue
from tests.queueing import ack, finish, running, settings

pytestmark = pytest.mark.django_db


@pytest.fixture
def console(client: Client) -> Client:
    client.force_login(make_admin())
    return client


def page(console: Client, name: str, *args: Any) -> str:
    answer = console.get(reverse(f"admin:queues_{name}", args=args))
    assert answer.status_code == 200
    return answer.content.decode()


def post(console: Client, name: str, *args: Any, **fields: Any) -> Any:
    return console.post(reverse(f"admin:queues_{name}", args=args), fields, follow=True)


def test_the_list_tells_how_deep_each_queue_is(console: Client, django_assert_num_queries: Any) -> None:
    queue = make_queue(ref="mail")
    for _ in range(3):
        make_item(queue)
    pass_once(queue.pk)
    with django_assert_num_queries(100, exact=False) as one:
        text = page(console, "workqueue_changelist")
    assert re.search(r"field-waiting[^>]*>\s*2\s*<", text)
    assert re.search(r"field-active[^>]*>\s*1\s*<", text)
    make_queue(), make_queue()
    with django_assert_num_queries(len(one)):
        page(console, "workqueue_changelist")


def test_the_page_of_a_queue(console: Client) -> None:
    tunable = {"source": "keystore", "key_ref": "speed"}
    queue = make_queue(ref="mail", config=settings(concurrency=tunable))
    make_item(queue, item_key="first-key"), make_item(queue, item_key="second-key")
    pass_once(queue.pk)

    text = page(console, "workqueue_change", queue.pk)

    assert "concurrency: there is no key &#x27;speed&#x27; that the queue may read; 1 is used" in text
    assert f"#{running(queue)[0].pk}</a>" in text
    assert ("second-key</td>" in text, "first-key" in text) == (True, False)  # the first is no longer next


def test_a_queue_is_switched(console: Client) -> None:
    queue = make_queue()
    for verb in ("disable", "close"):
        post(console, f"workqueue_{verb}", queue.pk)
    queue.refresh_from_db()
    assert (queue.enabled, queue.accepting_new_items) == (False, False)
    for verb in ("enable", "open"):
        post(console, f"workqueue_{verb}", queue.pk)
    queue.refresh_from_db()
    assert (queue.enabled, queue.accepting_new_items) == (True, True)


def test_a_queue_is_deleted_after_a_question(console: Client) -> None:
    queue = make_queue()

    post(console, "workqueue_remove", queue.pk)
    assert WorkQueue.objects.exists()
    post(console, "workqueue_remove", queue.pk, confirmed="1")
    assert not WorkQueue.objects.exists()


def test_the_form_enqueues(console: Client) -> None:
    queue = make_queue(item_schema={"n": {"type": "integer"}})

    answer = post(console, "workqueue_enqueue", queue.pk, payload='{"n": 7}', item_key="k", priority="3", metadata="")

    item = WorkQueueItem.objects.get()
    assert f"Item {item.pk} was enqueued." in answer.content.decode()
    assert (item.payload, item.item_key, item.priority, item.metadata) == ({"n": 7}, "k", 3, {})
    assert (item.enqueue_source, item.requested_by_identity_id is not None) == ("console", True)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"payload": '{"n": "x"}'}, "Invalid payload: payload"),
        ({"payload": "{"}, "Not JSON"),
        ({"payload": "{}", "metadata": "[]"}, "Must be a JSON object."),
    ],
)
def test_the_form_says_what_is_wrong(console: Client, fields: dict[str, str], text: str) -> None:
    queue = make_queue(item_schema={"n": {"type": "integer"}})

    answer = post(console, "workqueue_enqueue", queue.pk, **fields)

    assert text in answer.content.decode()
    assert not WorkQueueItem.objects.exists()


def test_the_page_of_an_item_tells_its_attempts(console: Client) -> None:
    queue = make_queue()
    item = make_item(queue, payload={"secret": "<b>"})
    pass_once(queue.pk)
    (execution,) = running(queue)
    finish(execution, ack((item.pk, "retry"), error="mailbox <busy>"))

    text = page(console, "workqueueitem_change", item.pk)

    assert f"#{execution.pk}</a>" in text
    assert "mailbox &lt;busy&gt;" in text
    assert "<b>" not in text


def test_an_item_is_tried_again(console: Client) -> None:
    queue = make_queue()
    item = make_item(queue)
    pass_once(queue.pk)
    finish(running(queue)[0], {})

    post(console, "workqueueitem_requeue", item.pk)

    item.refresh_from_db()
    assert (item.status, item.attempt_count, len(item.attempts)) == ("queued", 0, 1)


def test_an_item_is_cancelled_and_deleted(console: Client) -> None:
    queue = make_queue()
    first, second = make_item(queue), make_item(queue)

    post(console, "workqueueitem_cancel", first.pk, confirmed="1")
    post(console, "workqueueitem_remove", second.pk, confirmed="1")

    assert list(WorkQueueItem.objects.values_list("pk", "status")) == [(first.pk, "cancelled")]


def test_an_item_does_not_take_the_key_of_another(console: Client) -> None:
    queue = make_queue(allow_pending_update=True)
    item = make_item(queue, item_key="k")
    pass_once(queue.pk)
    finish(running(queue)[0], {})
    make_item(queue, item_key="k")

    answer = post(console, "workqueueitem_requeue", item.pk)

    assert "has another pending item with key &#x27;k&#x27;" in answer.content.decode()


def test_who_may_only_read_sees_no_verbs(client: Client) -> None:
    client.force_login(make_holder(grant("queues:read")))
    queue = make_queue()
    item = make_item(queue)

    text = page(client, "workqueue_change", queue.pk)

    assert ("Enqueue" in text, "Disable" in text) == (False, False)
    assert client.post(reverse("admin:queues_workqueue_disable", args=[queue.pk])).status_code == 403
    assert client.post(reverse("admin:queues_workqueue_enqueue", args=[queue.pk])).status_code == 403
    assert client.post(reverse("admin:queues_workqueueitem_cancel", args=[item.pk])).status_code == 403


def test_what_may_not_be_read_is_not_there(client: Client) -> None:
    client.force_login(make_holder(grant("queues:read", pack_refs=["shop"])))
    queue = make_queue(ref="mail")
    item = make_item(queue)

    for name, pk in (("workqueue", queue.pk), ("workqueueitem", item.pk)):
        assert "mail" not in page(client, f"{name}_changelist")
        assert client.get(reverse(f"admin:queues_{name}_change", args=[pk])).status_code == 302
