"""Queues and their items over HTTP (api.md section 18)."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.identity.audit import trail
from apps.identity.models import AuditEvent
from apps.keys import secret_store
from apps.queues.dispatch import pass_once
from apps.queues.models import WorkQueue, WorkQueueItem
from tests.clients import signed_in, with_execution_token
from tests.factories import grant, make_action, make_execution, make_holder, make_item, make_key, make_pack, make_queue
from tests.queueing import settings

pytestmark = pytest.mark.django_db

QUEUES = "/api/v1/queues"


def create(api: APIClient, **fields: Any) -> Any:
    body = {"ref": "mail", "label": "Mail", **fields}
    if "dispatch_action_ref" not in body:
        body["dispatch_action_ref"] = make_action().ref
    return api.post(QUEUES, body, format="json")


def put(api: APIClient, path: str, **fields: Any) -> Any:
    return api.put(f"{QUEUES}/{path}", fields, format="json")


def post_item(api: APIClient, queue: WorkQueue, **fields: Any) -> Any:
    return api.post(f"{QUEUES}/{queue.ref}/items", {"payload": {}, **fields}, format="json")


def error(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


# --- Queues -------------------------------------------------------------------------------------------------------


def test_create_with_what_is_required(api: APIClient) -> None:
    action = make_action()

    answer = create(api, dispatch_action_ref=action.ref)

    assert answer.status_code == 201
    assert answer.json()["message"] == "Queue created successfully"
    data = answer.json()["data"]
    assert {name: data[name] for name in data if name not in ("id", "created", "updated")} == {
        "ref": "mail", "pack": None, "pack_ref": None, "is_adhoc": True, "label": "Mail", "description": None,
        "enabled": True, "accepting_new_items": True, "dispatch_action": action.pk, "dispatch_action_ref": action.ref,
        "default_priority": 0, "allow_pending_update": False, "update_strategy": "replace", "batch_mode": "single",
        "item_schema": {}, "action_params": {}, "permission_set_refs": None, "config": {}, "max_depth": None,
        "resolved_dispatch_tuning": {"concurrency": 1, "batch_size": 1},
    }  # fmt: skip


def test_create_with_everything(api: APIClient) -> None:
    pack = make_pack(ref="shop", config={"size": 7})
    given = {
        "ref": "shop.mail", "pack_ref": "shop", "description": "d", "enabled": False, "accepting_new_items": False,
        "default_priority": -7, "allow_pending_update": True, "update_strategy": "merge_patch", "batch_mode": "batch",
        "item_schema": {"to": {"type": "string"}}, "action_params": {"a": "{{ items }}"},
        "permission_set_refs": ["standard"], "max_depth": 5,
        "config": settings(concurrency=3, batch_size={"source": "pack_config", "path": "size"}),
    }  # fmt: skip

    data = create(api, **given).json()["data"]

    assert {name: data[name] for name in given} == given
    assert (data["pack"], data["resolved_dispatch_tuning"]) == (pack.pk, {"concurrency": 3, "batch_size": 7})
    assert api.get(f"{QUEUES}/shop.mail").json()["data"] == data


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"dispatch_action_ref": "no.where"}, 404, "Action 'no.where' not found"),
        ({"pack_ref": "nowhere"}, 404, "Pack 'nowhere' not found"),
        ({"config": {"speed": 1}}, 400, "config.speed is unknown; known are dispatch, ack_contract"),
        ({"config": settings(batch_size=2)}, 400,
         "config.dispatch.batch_size is allowed only with batch_mode 'batch'"),
        ({"permission_set_refs": ["no.where"]}, 403, "Permission sets do not exist: no.where"),
    ],
)  # fmt: skip
def test_create_what_cannot_be(api: APIClient, fields: dict[str, Any], status: int, text: str) -> None:
    assert error(create(api, **fields)) == (status, text)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"ref": "a.b.c"}, "UNPROCESSABLE_ENTITY"),
        ({"ref": "Mail"}, "UNPROCESSABLE_ENTITY"),
        ({"label": None}, "VALIDATION_ERROR"),
        ({"batch_mode": "several"}, "VALIDATION_ERROR"),
        ({"update_strategy": "merge"}, "VALIDATION_ERROR"),
        ({"max_depth": 0}, "VALIDATION_ERROR"),
        ({"config": []}, "VALIDATION_ERROR"),
        ({"default_priority": 2**31}, "VALIDATION_ERROR"),
        ({"item_schema": {"type": "object", "properties": {"a": {"type": "no such"}}}}, "UNPROCESSABLE_ENTITY"),
    ],
)
def test_create_what_is_malformed(api: APIClient, fields: dict[str, Any], code: str) -> None:
    answer = create(api, **fields)

    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_create_twice(api: APIClient) -> None:
    create(api)

    assert error(create(api)) == (409, "Queue with ref 'mail' already exists")


def test_the_owner_is_who_created_it() -> None:
    owner = make_holder(grant("queues:create", "queues:read"))

    create(signed_in(owner))

    assert WorkQueue.objects.get().owner_identity == owner


def test_nobody_delegates_more_than_they_hold() -> None:
    api = signed_in(make_holder(grant("queues:create", "queues:update")))
    make_holder("core.admin")

    answer = create(api, permission_set_refs=["core.admin"])

    assert error(answer) == (403, "Cannot save a queue with permission sets beyond current access")
    make_queue(ref="other", permission_set_refs=["core.admin"])
    assert put(api, "other", permission_set_refs=["core.admin"], label="L").status_code == 200
    assert put(api, "other", permission_set_refs=["core.admin", "standard"]).status_code == 403


def test_lists_are_summaries_by_ref(api: APIClient) -> None:
    pack = make_pack(ref="shop")
    (
        make_queue(ref="b", enabled=False),
        make_queue(ref="shop.a", pack=pack, pack_ref="shop", is_adhoc=False, label="Big"),
    )

    def refs(path: str) -> list[str]:
        return [row["ref"] for row in api.get(path).json()["data"]]

    assert refs(QUEUES) == ["b", "shop.a"]
    assert (refs(f"{QUEUES}?enabled=true"), refs(f"{QUEUES}?is_adhoc=1")) == (["shop.a"], ["b"])
    assert (refs(f"{QUEUES}?search=bIG"), refs("/api/v1/packs/shop/queues")) == (["shop.a"], ["shop.a"])
    first = api.get(QUEUES).json()["items"][0]
    assert set(first) == {
        "id", "ref", "pack_ref", "is_adhoc", "label", "description", "enabled", "accepting_new_items",
        "dispatch_action_ref", "created", "updated",
    }  # fmt: skip
    assert error(api.get("/api/v1/packs/nowhere/queues")) == (404, "Pack 'nowhere' not found")


def test_only_what_may_be_read(api: APIClient) -> None:
    pack = make_pack(ref="shop")
    own, other = make_queue(ref="shop.a", pack=pack, pack_ref="shop"), make_queue(ref="b")
    reader = signed_in(make_holder(grant("queues:read", pack_refs=["shop"])))
    nobody = signed_in(make_holder())

    assert [row["ref"] for row in reader.get(QUEUES).json()["data"]] == [own.ref]
    assert reader.get(f"{QUEUES}/{own.ref}/items").status_code == 200
    assert reader.get(f"{QUEUES}/{other.ref}").status_code == 404
    assert reader.get(f"{QUEUES}/{other.ref}/items").status_code == 404
    assert post_item(reader, own).status_code == 403
    denied = (403, "Insufficient permissions: queues:read")
    assert (error(nobody.get(QUEUES)), error(nobody.get("/api/v1/packs/shop/queues"))) == (denied, denied)
    assert post_item(api, WorkQueue(ref="absent")).status_code == 404


def test_update(api: APIClient) -> None:
    make_pack(ref="shop")
    action = make_action()
    make_queue(ref="mail", description="old")

    data = put(
        api, "mail", label="New", description={"op": "clear"}, pack_ref={"op": "set", "value": "shop"},
        dispatch_action_ref=action.ref, max_depth=9, enabled=False,
    ).json()["data"]  # fmt: skip

    assert (data["label"], data["description"], data["pack_ref"], data["enabled"]) == ("New", None, "shop", False)
    assert (data["dispatch_action"], data["max_depth"]) == (action.pk, 9)
    assert put(api, "mail", max_depth={"op": "clear"}).json()["data"]["max_depth"] is None
    assert (
        put(api, "mail", max_depth={"op": "set", "value": 0}).status_code
        == put(api, "mail", max_depth=0).status_code
        == 422
    )
    assert put(api, "mail", config={"x": 1}).status_code == 400
    assert put(api, "absent", label="x").status_code == 404


def test_null_keeps_what_is_there(api: APIClient) -> None:
    kept = {
        "label": "Mail", "description": "d", "permission_set_refs": ["standard"], "max_depth": 3, "config": settings(concurrency=2),
        "default_priority": 4, "action_params": {"a": 1}, "item_schema": {"to": {"type": "string"}}, "batch_mode": "batch",
    }  # fmt: skip
    queue = make_queue(ref="mail", **kept)
    item = make_item(queue, payload={"to": "x"}, metadata={"m": 1}, item_key="k", priority=2)

    data = put(api, "mail", **dict.fromkeys([*kept, "pack_ref", "dispatch_action_ref"]), enabled=False).json()["data"]
    of_item = dict.fromkeys(["payload", "metadata", "item_key", "not_before"])
    changed = put(api, f"mail/items/{item.pk}", **of_item, priority=9).json()["data"]

    assert {name: data[name] for name in kept} == kept
    assert data["enabled"] is False
    assert (changed["payload"], changed["metadata"], changed["item_key"], changed["priority"]) == (
        {"to": "x"}, {"m": 1}, "k", 9
    )  # fmt: skip
    cleared = put(api, "mail", permission_set_refs={"op": "clear"}).json()["data"]
    assert cleared["permission_set_refs"] is None


def test_the_batch_mode_and_its_settings_change_together(api: APIClient) -> None:
    make_queue(ref="mail", batch_mode="batch", config=settings(batch_size=3))

    assert put(api, "mail", batch_mode="single").status_code == 400
    assert put(api, "mail", batch_mode="single", config={}).status_code == 200


def test_a_queue_that_a_pack_manages(api: APIClient) -> None:
    make_queue(ref="shop.mail", is_adhoc=False)
    text = "Queue 'shop.mail' is managed by its pack and cannot be {}; only 'enabled' and 'accepting_new_items' can"

    assert put(api, "shop.mail", enabled=False, accepting_new_items=False, label="shop.mail").status_code == 200
    assert error(put(api, "shop.mail", label="Other")) == (403, text.format("changed"))
    assert error(api.delete(f"{QUEUES}/shop.mail")) == (403, text.format("deleted"))


def test_a_queue_made_for_a_pack_is_the_packs(api: APIClient) -> None:
    make_pack(ref="shop")

    made = create(api, ref="shop.mail", pack_ref="shop").json()["data"]

    assert (made["pack_ref"], made["is_adhoc"]) == ("shop", False)
    assert api.delete(f"{QUEUES}/shop.mail").status_code == 403


def test_delete(api: APIClient) -> None:
    queue = make_queue(ref="mail", item_schema={"p": {"type": "string", "secret": True}})
    item = make_item(queue, payload={"p": "hush"})

    answer = api.delete(f"{QUEUES}/mail")

    assert answer.json() == {"success": True, "message": "Queue 'mail' deleted successfully"}
    assert not WorkQueueItem.objects.exists()
    assert secret_store.get(secret_store.QUEUE_ITEM_PAYLOAD, item.pk) == {}
    assert api.delete(f"{QUEUES}/mail").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_changes_are_in_the_audit_trail(api: APIClient) -> None:
    queue_id = create(api).json()["data"]["id"]
    put(api, "mail", label="Post")
    put(api, "mail", label="Post")  # changes nothing
    api.delete(f"{QUEUES}/mail")
    assert trail.flush()

    found = AuditEvent.objects.filter(resource_type="work_queue", resource_id=queue_id, category="admin")
    assert list(found.order_by("id").values_list("event_type", "resource_ref")) == [
        ("admin.queue.created", "mail"), ("admin.queue.updated", "mail"), ("admin.queue.deleted", "mail")
    ]  # fmt: skip


def test_a_warning_is_no_part_of_the_answer_but_the_fallback_is(api: APIClient) -> None:
    make_key(ref="speed", value="fast")
    tunable = {"source": "keystore", "key_ref": "speed", "fallback": 4}
    make_queue(ref="mail", config=settings(concurrency=tunable))

    data = api.get(f"{QUEUES}/mail").json()["data"]

    assert data["resolved_dispatch_tuning"] == {"concurrency": 4, "batch_size": 1}


# --- Items --------------------------------------------------------------------------------------------------------


def test_enqueue(api: APIClient) -> None:
    queue = make_queue(default_priority=3)

    answer = post_item(api, queue, payload={"a": 1}, item_key="k", metadata={"m": 1})

    assert answer.status_code == 201
    data = answer.json()["data"]
    item = WorkQueueItem.objects.get()
    assert data.pop("created")
    assert data.pop("updated")
    assert data == {
        "id": item.pk, "queue": queue.pk, "queue_ref": queue.ref, "item_key": "k", "priority": 3, "status": "queued",
        "payload": {"a": 1}, "metadata": {"m": 1}, "enqueue_source": "api",
        "requested_by_identity": item.requested_by_identity_id, "requested_by_execution": None,
        "requested_by_enforcement": None, "leased_execution": None, "lease_token": None, "lease_expires_at": None,
        "attempt_count": 0, "last_error": None, "ack_summary": None, "not_before": None, "attempts": [],
    }  # fmt: skip
    assert item.requested_by_identity_id is not None


def test_an_item_of_an_execution() -> None:
    queue, execution = make_queue(), make_execution(executor=make_holder())
    make_holder("core.admin")

    data = post_item(with_execution_token(execution, "core.admin"), queue).json()["data"]

    assert (data["requested_by_execution"], data["requested_by_identity"]) == (execution.pk, execution.executor_id)


@pytest.mark.parametrize("payload", [None, 0, "", [], "text", {"a": {"b": [1]}}])
def test_any_payload_without_a_schema(api: APIClient, payload: Any) -> None:
    queue = make_queue()

    assert post_item(api, queue, payload=payload).json()["data"]["payload"] == payload
    assert api.get(f"{QUEUES}/{queue.ref}/items").json()["data"][0]["payload"] == payload


@pytest.mark.parametrize(
    ("schema", "payload", "field", "text"),
    [
        ({"to": {"type": "string", "required": True}}, {}, "payload.to", "payload 'to' is required"),
        ({"type": "object", "properties": {"n": {"type": "integer"}}}, {"n": "x"}, "payload.n",
         "payload 'n' is not of type \"integer\""),
        ({"type": "string"}, 5, "payload", "item 'payload' is not of type \"string\""),
        ({"to": {"type": "string"}}, "text", "payload", "the payload is not of type \"object\""),
    ],
)  # fmt: skip
def test_a_payload_that_violates_the_schema(api: APIClient, schema: Any, payload: Any, field: str, text: str) -> None:
    answer = post_item(api, make_queue(item_schema=schema), payload=payload)

    assert error(answer) == (422, f"Invalid payload: {text}")
    assert answer.json()["details"] == [{"field": field, "message": text}]


@pytest.mark.parametrize(
    "body",
    [{}, {"payload": 1, "item_key": ""}, {"payload": 1, "item_key": "  "}, {"payload": 1, "item_key": "x" * 256},
     {"payload": 1, "priority": "high"}, {"payload": 1, "metadata": []}, {"payload": 1, "not_before": "soon"}],
)  # fmt: skip
def test_a_malformed_item(api: APIClient, body: dict[str, Any]) -> None:
    answer = api.post(f"{QUEUES}/{make_queue().ref}/items", body, format="json")

    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")


def test_a_queue_that_takes_nothing(api: APIClient) -> None:
    queue = make_queue(accepting_new_items=False)

    assert error(post_item(api, queue)) == (409, f"Queue '{queue.ref}' is not accepting new items")


def test_a_full_queue(api: APIClient) -> None:
    queue = make_queue(max_depth=1)
    post_item(api, queue)

    answer = post_item(api, queue)

    assert error(answer) == (429, f"Queue '{queue.ref}' is full: 1 items are waiting")
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("strategy", "status", "payload", "metadata"),
    [
        ("replace", 200, {"b": 2}, {"n": 2}),
        ("merge_patch", 200, {"a": 1, "b": 2}, {"m": 1, "n": 2}),
        ("immutable", 409, {"a": 1, "b": 1}, {"m": 1}),
    ],
)
def test_a_key_that_waits(api: APIClient, strategy: str, status: int, payload: Any, metadata: Any) -> None:
    queue = make_queue(allow_pending_update=True, update_strategy=strategy, max_depth=1)
    first = post_item(api, queue, payload={"a": 1, "b": 1}, item_key="k", metadata={"m": 1}).json()["data"]["id"]

    answer = post_item(api, queue, payload={"b": 2}, item_key="k", metadata={"n": 2}, priority=4)

    assert answer.status_code == status
    (item,) = WorkQueueItem.objects.all()
    assert (item.pk, item.payload, item.metadata) == (first, payload, metadata)
    assert item.priority == (4 if status == 200 else 0)


def test_what_is_merged_must_fit_the_schema(api: APIClient) -> None:
    schema = {"a": {"type": "integer", "required": True}}
    queue = make_queue(allow_pending_update=True, update_strategy="merge_patch", item_schema=schema)
    post_item(api, queue, payload={"a": 1}, item_key="k")

    assert post_item(api, queue, payload={"b": 2}, item_key="k").status_code == 200  # a patch need not be whole
    assert post_item(api, queue, payload={"a": None}, item_key="k").status_code == 422
    assert WorkQueueItem.objects.get().payload == {"a": 1, "b": 2}


def test_keys_do_not_coalesce_unless_told_to(api: APIClient) -> None:
    queue = make_queue()

    assert [post_item(api, queue, item_key="k").status_code for _ in range(2)] == [201, 201]


def test_keys_that_wait_twice_cannot_begin_to_coalesce(api: APIClient) -> None:
    queue = make_queue()
    post_item(api, queue, item_key="k"), post_item(api, queue, item_key="k")

    text = "Several items wait with the same key, which allow_pending_update forbids: 'k'"
    assert error(put(api, queue.ref, allow_pending_update=True)) == (400, text)

    WorkQueueItem.objects.latest("pk").delete()
    assert put(api, queue.ref, allow_pending_update=True).status_code == 200
    assert post_item(api, queue, item_key="k").status_code == 200
    assert put(api, queue.ref, allow_pending_update=False).status_code == 200
    assert post_item(api, queue, item_key="k").status_code == 201


def test_a_key_that_is_worked_on_may_wait_again(api: APIClient) -> None:
    queue = make_queue(allow_pending_update=True)
    post_item(api, queue, item_key="k")
    pass_once(queue.pk)

    assert post_item(api, queue, item_key="k").status_code == 201
    assert post_item(api, queue, item_key="k").status_code == 200


def test_groups_follow_the_config(api: APIClient) -> None:
    queue = make_queue(batch_mode="batch")
    item = make_item(queue, payload={"a": {"b": 7}})

    put(api, queue.ref, config=settings(coalescing={"enabled": True, "group_by_path": "a.b"}))
    item.refresh_from_db()
    assert item.group_key == "7"
    put(api, queue.ref, config={})
    item.refresh_from_db()
    assert item.group_key is None


def test_items_are_listed_next_ones_first(api: APIClient) -> None:
    queue = make_queue()
    low, high, later = (make_item(queue, priority=p, item_key=k).pk for p, k in ((1, "a"), (3, "b"), (3, "c")))
    WorkQueueItem.objects.filter(pk=later).update(status="completed")
    make_item(make_queue())

    def ids(query: str = "") -> list[int]:
        return [row["id"] for row in api.get(f"{QUEUES}/{queue.ref}/items{query}").json()["data"]]

    assert ids() == [high, later, low]
    assert ids("?statuses=completed&statuses=failed") == ids("?statuses=completed,failed") == [later]
    assert (ids("?item_key=a"), ids("?enqueue_source=rule")) == ([low], [])
    assert api.get(f"{QUEUES}/{queue.ref}/items?statuses=done").status_code == 400
    assert api.get(f"{QUEUES}/{queue.ref}/items?per_page=1").json()["pagination"]["total_items"] == 3


def test_update_an_item(api: APIClient) -> None:
    queue = make_queue(item_schema={"a": {"type": "integer"}})
    item = make_item(queue, item_key="k", payload={"a": 1}, metadata={"m": 1})

    data = put(
        api, f"{queue.ref}/items/{item.pk}", item_key={"op": "clear"}, priority=7, payload={"a": 2},
        not_before={"op": "set", "value": "2030-01-01"},
    ).json()["data"]  # fmt: skip

    assert (data["item_key"], data["priority"], data["payload"], data["metadata"]) == (None, 7, {"a": 2}, {"m": 1})
    assert data["not_before"] == "2030-01-01T00:00:00Z"
    assert put(api, f"{queue.ref}/items/{item.pk}", payload={"a": "x"}).status_code == 422
    assert put(api, f"{queue.ref}/items/{item.pk + 1}", priority=1).status_code == 404
    assert put(api, f"{make_queue().ref}/items/{item.pk}", priority=1).status_code == 404


def test_an_item_that_does_not_wait(api: APIClient) -> None:
    queue = make_queue()
    item = make_item(queue)
    pass_once(queue.pk)

    path = f"{queue.ref}/items/{item.pk}"
    assert error(put(api, path, priority=1)) == (
        409, f"Queue item {item.pk} is in status 'leased' and cannot be changed"
    )  # fmt: skip
    assert error(api.delete(f"{QUEUES}/{path}")) == (
        409, f"Queue item {item.pk} is in status 'leased' and cannot be deleted"
    )  # fmt: skip


def test_an_item_cannot_take_the_key_of_another(api: APIClient) -> None:
    queue = make_queue(allow_pending_update=True)
    make_item(queue, item_key="a")
    other = make_item(queue, item_key="b")

    answer = put(api, f"{queue.ref}/items/{other.pk}", item_key={"op": "set", "value": "a"})

    assert error(answer) == (409, f"Queue '{queue.ref}' has another pending item with key 'a'")
    assert put(api, f"{queue.ref}/items/{other.pk}", item_key={"op": "set", "value": "b"}).status_code == 200


def test_delete_an_item(api: APIClient) -> None:
    queue = make_queue()
    item = make_item(queue)

    answer = api.delete(f"{QUEUES}/{queue.ref}/items/{item.pk}")

    assert answer.json() == {"success": True, "message": f"Queue item {item.pk} deleted successfully"}
    assert api.delete(f"{QUEUES}/{queue.ref}/items/{item.pk}").status_code == 404


def test_enqueueing_takes_as_many_queries_into_a_long_queue(api: APIClient, django_assert_num_queries: Any) -> None:
    queue = make_queue(allow_pending_update=True)
    post_item(api, queue, item_key="first")  # reads what is kept in memory
    with django_assert_num_queries(100, exact=False) as first:
        post_item(api, queue, item_key="second")
    for number in range(30):
        make_item(queue, item_key=f"k{number}")
    with django_assert_num_queries(len(first)):
        post_item(api, queue, item_key="last")


def test_an_idempotency_key(api: APIClient) -> None:
    queue = make_queue()
    path, key = f"{QUEUES}/{queue.ref}/items", {"HTTP_IDEMPOTENCY_KEY": "once"}

    answers = [api.post(path, {"payload": 1}, format="json", **key) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert WorkQueueItem.objects.count() == 1


# --- Secrets ------------------------------------------------------------------------------------------------------

SECRET = {"password": {"type": "string", "secret": True}}
MARKER = {"$attune_secret": True, "redacted": True}


def test_a_secret_is_neither_stored_nor_shown(api: APIClient) -> None:
    queue = make_queue(item_schema=SECRET, allow_pending_update=True, update_strategy="merge_patch")

    data = post_item(api, queue, payload={"password": "hush hush"}, item_key="k").json()["data"]

    assert data["payload"] == {"password": MARKER}
    item = WorkQueueItem.objects.get()
    assert item.payload == {"password": MARKER}

    post_item(api, queue, payload={"user": "u"}, item_key="k")
    put(api, f"{queue.ref}/items/{item.pk}", payload={"password": MARKER, "user": "v"})
    item.refresh_from_db()
    assert item.payload == {"password": MARKER, "user": "v"}
    assert secret_store.get(secret_store.QUEUE_ITEM_PAYLOAD, item.pk) == {"/password": "hush hush"}

    put(api, f"{queue.ref}/items/{item.pk}", payload={"user": "v"})
    assert secret_store.get(secret_store.QUEUE_ITEM_PAYLOAD, item.pk) == {}


def test_a_marker_in_a_new_item_is_refused(api: APIClient) -> None:
    queue = make_queue(item_schema=SECRET)

    assert post_item(api, queue, payload={"password": MARKER}).status_code == 422
    assert not WorkQueueItem.objects.exists()
