"""Triggers over HTTP (api.md section 7)."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.events.models import Event, Sensor, Trigger
from apps.events.signals import sensors_changed, triggers_changed
from apps.identity import sensor_tokens
from tests.clients import bearing, signed_in
from tests.factories import (
    make_event,
    make_identity,
    make_pack,
    make_rule,
    make_sensor,
    make_trigger,
)

pytestmark = pytest.mark.django_db

TRIGGERS = "/api/v1/triggers"
SUMMARY = {"id", "ref", "pack_ref", "label", "description", "enabled", "webhook_enabled", "created", "updated"}
ALWAYS = SUMMARY | {"pack", "param_schema", "out_schema", "is_adhoc"}
SCHEMA = {"host": {"type": "string", "required": True, "odd": [1]}}


def body(**changes):
    return {"ref": "shop.order", "label": "Order", **changes}


def heard(signal):
    """The refs that a signal tells of from now on."""
    found = []

    def listener(*, refs, **_signal):
        found.extend(refs)

    signal.connect(listener, weak=False, dispatch_uid="test")
    return found


@pytest.fixture
def news():
    yield heard(triggers_changed), heard(sensors_changed)
    triggers_changed.disconnect(dispatch_uid="test")
    sensors_changed.disconnect(dispatch_uid="test")


# --- Create -----------------------------------------------------------------------------------------------------


def test_create_with_the_least(api):
    answer = api.post(TRIGGERS, body())

    assert (answer.status_code, answer.json()["message"]) == (201, "Trigger created successfully")
    data = answer.json()["data"]
    assert set(data) == ALWAYS
    assert (data["pack"], data["pack_ref"], data["enabled"], data["is_adhoc"]) == (None, None, True, True)
    assert (data["param_schema"], data["out_schema"], data["webhook_enabled"]) == (None, None, False)
    assert api.get(f"{TRIGGERS}/shop.order").json() == {"data": data}


def test_create_with_everything(api):
    pack = make_pack(ref="shop")
    full = {"pack_ref": "shop", "description": "d", "param_schema": SCHEMA, "out_schema": {}, "enabled": False}

    data = api.post(TRIGGERS, body(**full)).json()["data"]

    assert {name: data[name] for name in full} == full
    assert data["pack"] == pack.pk
    (row,) = api.get(TRIGGERS).json()["data"]
    assert row == {name: data[name] for name in SUMMARY}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"ref": None}, 422, "VALIDATION_ERROR"),
        ({"ref": ""}, 422, "VALIDATION_ERROR"),
        ({"ref": 5}, 422, "VALIDATION_ERROR"),
        ({"ref": "Shop.order"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "shop"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "shop.a.b"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "shop.a b"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "shop./etc"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "x" * 256}, 422, "VALIDATION_ERROR"),
        ({"ref": "shop.taken"}, 409, "CONFLICT"),
        ({"label": ""}, 422, "VALIDATION_ERROR"),
        ({"label": "x" * 256}, 422, "VALIDATION_ERROR"),
        ({"pack_ref": "none"}, 404, "NOT_FOUND"),
        ({"pack_ref": ""}, 422, "VALIDATION_ERROR"),
        ({"param_schema": []}, 422, "VALIDATION_ERROR"),
        ({"out_schema": "x"}, 422, "VALIDATION_ERROR"),
        ({"param_schema": {"a": {"description": "x" * 300_000}}}, 422, "VALIDATION_ERROR"),
        ({"enabled": "yes"}, 422, "VALIDATION_ERROR"),
        ({"enabled": 1}, 422, "VALIDATION_ERROR"),
    ],
)
def test_create_refuses(api, changes, status, code):
    make_trigger(ref="shop.taken")

    answer = api.post(TRIGGERS, body(**changes))

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert Trigger.objects.count() == 1


def test_a_schema_nested_too_deeply_is_refused(api):
    schema = {}
    for _ in range(60):
        schema = {"properties": schema, "type": "object"}

    assert api.post(TRIGGERS, body(param_schema={"a": schema})).status_code == 422


# --- Read -------------------------------------------------------------------------------------------------------


def test_list_is_by_ref_in_code_point_order_and_filters_the_enabled(api):
    for ref in ("b.a", "a.b", "a_.a", "a.a"):
        make_trigger(ref=ref, enabled=ref != "a.b")

    listed = [row["ref"] for row in api.get(TRIGGERS).json()["data"]]
    enabled = api.get(f"{TRIGGERS}/enabled").json()

    assert listed == ["a.a", "a.b", "a_.a", "b.a"]
    assert [row["ref"] for row in enabled["items"]] == ["a.a", "a_.a", "b.a"]
    assert (enabled["pagination"]["page_size"], enabled["pagination"]["total_items"]) == (50, 3)
    assert set(enabled["data"][0]) == SUMMARY


@pytest.mark.parametrize("path", ["", "/enabled", "?page=2&page_size=1"])
def test_list_asks_as_much_for_one_row_as_for_many(api, path):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert api.get(TRIGGERS + path).status_code == 200
        return len(captured)

    make_trigger()
    make_trigger()
    few = queries()
    for _ in range(10):
        make_trigger()

    assert queries() == few <= 4


def test_sensor_and_its_ref_are_left_out_without_one(api):
    trigger = make_trigger()
    sensor = make_sensor(trigger)

    data = api.get(f"{TRIGGERS}/{trigger.ref}").json()["data"]

    assert (data["sensor"], data["sensor_ref"]) == (sensor.pk, sensor.ref)
    assert set(data) == ALWAYS | {"sensor", "sensor_ref"}


def test_webhook_key_is_shown_to_whoever_may_change_the_trigger():
    key = "wh_0123456789abcdef0123456789abcdef"
    trigger = make_trigger(webhook_enabled=True, webhook_key=key)
    off = make_trigger(webhook_enabled=False, webhook_key="wh_1")
    sensor = bearing(sensor_tokens.issue("a.b", [trigger.ref]).token)

    assert signed_in().get(f"{TRIGGERS}/{trigger.ref}").json()["data"]["webhook_key"] == key
    assert sensor.get(f"{TRIGGERS}/{trigger.ref}").json()["data"]["webhook_key"] == "wh_****"
    assert "webhook_key" not in signed_in().get(f"{TRIGGERS}/{off.ref}").json()["data"]


def test_sensors_of_a_trigger(api):
    trigger, alone = make_trigger(), make_trigger()
    sensor = make_sensor(trigger)
    make_sensor()

    answer = api.get(f"{TRIGGERS}/{trigger.ref}/sensors").json()

    assert [(row["ref"], row["trigger_ref"]) for row in answer["data"]] == [(sensor.ref, trigger.ref)]
    assert api.get(f"{TRIGGERS}/{alone.ref}/sensors").json()["data"] == []
    assert api.get(f"{TRIGGERS}/no.one/sensors").status_code == 404


def test_triggers_of_a_pack(api):
    pack = make_pack(ref="shop")
    for ref in ("shop.b", "shop.a"):
        make_trigger(pack=pack, ref=ref)
    make_trigger()

    assert [row["ref"] for row in api.get("/api/v1/packs/shop/triggers").json()["data"]] == ["shop.a", "shop.b"]
    assert api.get("/api/v1/packs/none/triggers").status_code == 404


# --- Change -----------------------------------------------------------------------------------------------------


def test_update_is_partial_and_clears_what_is_told_to(api):
    trigger = make_trigger(ref="a.b", description="d", param_schema=SCHEMA, out_schema=SCHEMA)

    answer = api.put(
        f"{TRIGGERS}/a.b",
        {"label": "New", "description": {"op": "clear"}, "param_schema": {"op": "set", "value": {}}, "enabled": False},
    )

    assert (answer.status_code, answer.json()["message"]) == (200, "Trigger updated successfully")
    trigger.refresh_from_db()
    assert (trigger.label, trigger.description, trigger.param_schema, trigger.enabled) == ("New", None, {}, False)
    assert trigger.out_schema == SCHEMA
    data = answer.json()["data"]
    assert (data["ref"], data["label"], data["out_schema"]) == ("a.b", "New", SCHEMA)


@pytest.mark.parametrize(
    "changes",
    [
        {"label": ""}, {"label": 1}, {"description": "text"}, {"description": {"op": "set"}}, {"param_schema": {}},
        {"param_schema": {"op": "set", "value": []}}, {"out_schema": {"op": "drop"}}, {"enabled": "true"},
        {"param_schema": {"op": "set", "value": {"a": {"x": "y" * 300_000}}}},
    ],
)  # fmt: skip
def test_update_refuses(api, changes):
    trigger = make_trigger(ref="a.b", label="old")

    answer = api.put(f"{TRIGGERS}/a.b", changes)

    trigger.refresh_from_db()
    assert (answer.status_code, answer.json()["code"], trigger.label) == (422, "VALIDATION_ERROR", "old")


def test_what_is_the_servers_cannot_be_changed(api):
    trigger = make_trigger(ref="a.b")

    api.put(f"{TRIGGERS}/a.b", {"ref": "x.y", "is_adhoc": True, "webhook_key": "wh_1", "sensor": 7, "pack_ref": "z"})

    trigger.refresh_from_db()
    assert (trigger.ref, trigger.is_adhoc, trigger.webhook_key, trigger.sensor_id) == ("a.b", False, None, None)


def test_enable_and_disable(api, news):
    make_trigger(ref="a.b")
    told, _ = news
    del told[:]

    off = api.post(f"{TRIGGERS}/a.b/disable").json()
    api.post(f"{TRIGGERS}/a.b/disable")  # nothing changes: nobody is disturbed
    on = api.post(f"{TRIGGERS}/a.b/enable", {"anything": 1}).json()

    assert (off["data"]["enabled"], off["message"]) == (False, "Trigger disabled successfully")
    assert (on["data"]["enabled"], on["message"]) == (True, "Trigger enabled successfully")
    assert told == ["a.b", "a.b"]
    assert api.post(f"{TRIGGERS}/no.one/enable").status_code == 404


def test_every_change_of_a_row_is_told_whoever_makes_it(news):
    triggers, sensors = news
    pack = make_pack()
    trigger = make_trigger(pack=pack, ref="a.b")
    sensor = make_sensor(trigger, ref="s.s")
    trigger.set(webhook_config={})  # says nothing about when rules fire
    sensor.set(lease_worker=1)  # nor this about when it runs
    del triggers[:], sensors[:]

    trigger.set(enabled=False)
    pack.delete()

    assert triggers == ["a.b", "a.b"]
    assert sensors == ["s.s"]  # it has lost its trigger


# --- Delete -----------------------------------------------------------------------------------------------------


def test_delete_leaves_events_and_rules_with_the_ref(api):
    trigger = make_trigger(ref="a.b")
    sensor = make_sensor(trigger)
    event = make_event(trigger=trigger)
    rule = make_rule(trigger=trigger)
    make_rule(trigger=trigger, enabled=False)

    answer = api.delete(f"{TRIGGERS}/a.b")

    assert (answer.status_code, answer.json()) == (
        200, {"success": True, "message": "Trigger 'a.b' deleted successfully; 1 rule stops firing"},
    )  # fmt: skip
    event.refresh_from_db()
    rule.refresh_from_db()
    assert (event.trigger_id, event.trigger_ref) == (None, "a.b")
    assert (rule.trigger_id, rule.trigger_ref) == (None, "a.b")
    assert Sensor.objects.get().pk == sensor.pk
    assert api.delete(f"{TRIGGERS}/a.b").status_code == 404


def test_a_trigger_made_again_is_another_one(api):
    trigger = make_trigger(ref="a.b")
    rule = make_rule(trigger=trigger)
    make_event(trigger=trigger)
    api.delete(f"{TRIGGERS}/a.b")

    api.post(TRIGGERS, body(ref="a.b"))

    rule.refresh_from_db()
    assert rule.trigger_id is None
    assert Event.objects.get().trigger_id is None


# --- Who may ----------------------------------------------------------------------------------------------------


def test_without_a_grant_nothing_is_seen_and_nothing_done():
    trigger = make_trigger(ref="a.b")
    client = signed_in(make_identity())

    assert client.get(TRIGGERS).json()["pagination"]["total_items"] == 0
    assert client.get(f"{TRIGGERS}/enabled").json()["data"] == []
    assert client.get(f"{TRIGGERS}/a.b").status_code == 404
    assert client.get(f"{TRIGGERS}/a.b/sensors").status_code == 404
    refused = [
        client.post(TRIGGERS, body()),
        client.put(f"{TRIGGERS}/a.b", {"label": "x"}),
        client.post(f"{TRIGGERS}/a.b/enable"),
        client.post(f"{TRIGGERS}/a.b/disable"),
        client.delete(f"{TRIGGERS}/a.b"),
    ]
    assert [answer.status_code for answer in refused] == [403] * 5
    assert client.put(f"{TRIGGERS}/no.one", {"label": "x"}).status_code == 404
    assert Trigger.objects.get().enabled is trigger.enabled
