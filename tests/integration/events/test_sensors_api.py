"""Sensors over HTTP (api.md section 9)."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.events.models import Sensor, Trigger
from apps.identity import sensor_tokens
from tests.clients import bearing, signed_in
from tests.factories import make_event, make_identity, make_pack, make_runtime, make_sensor, make_trigger

pytestmark = pytest.mark.django_db

SENSORS = "/api/v1/sensors"
SUMMARY = {"id", "ref", "pack_ref", "label", "description", "trigger_ref", "enabled", "created", "updated"}
ALWAYS = SUMMARY | {
    "pack", "entrypoint", "runtime", "runtime_ref", "trigger", "trigger_refs", "param_schema", "worker_selector",
    "worker_tolerations", "worker_affinity",
}  # fmt: skip
RETENTION = {
    "artifact_retention_policy": "days",
    "artifact_retention_limit": 1,
    "log_retention_policy": "versions",
    "log_retention_limit": 2,
}
FULL = {
    "description": "d",
    "param_schema": {"path": {"type": "string", "odd": [1]}},
    "worker_selector": {"zone": "eu"},
    "worker_tolerations": [{"key": "gpu"}],
    "worker_affinity": {"required": [{"match_labels": {"a": "b"}}]},
    "enabled": False,
    **RETENTION,
}


@pytest.fixture
def known(db):
    """What a sensor needs."""
    pack = make_pack(ref="shop")
    make_runtime(ref="core.python")
    return make_trigger(pack=pack, ref="shop.order")


def body(**changes):
    return {
        "ref": "shop.watch", "pack_ref": "shop", "label": "Watch", "entrypoint": "watch.py",
        "runtime_ref": "core.python", "trigger_ref": "shop.order", **changes,
    }  # fmt: skip


# --- Create -----------------------------------------------------------------------------------------------------


def test_create_with_the_least(api, known):
    answer = api.post(SENSORS, body())

    assert (answer.status_code, answer.json()["message"]) == (201, "Sensor created successfully")
    data = answer.json()["data"]
    assert set(data) == ALWAYS
    assert (data["trigger"], data["trigger_ref"], data["trigger_refs"]) == (known.pk, "shop.order", ["shop.order"])
    assert (data["enabled"], data["worker_selector"], data["worker_tolerations"]) == (True, {}, [])
    assert api.get(f"{SENSORS}/shop.watch").json() == {"data": data}
    sensor = Sensor.objects.get()
    known.refresh_from_db()
    assert (sensor.is_adhoc, known.sensor_id, known.sensor_ref) == (True, sensor.pk, "shop.watch")


def test_create_with_everything(api, known):
    data = api.post(SENSORS, body(config={"a": 1}, **FULL)).json()["data"]

    assert {name: data[name] for name in FULL} == FULL
    assert Sensor.objects.get().config == {"a": 1}
    (row,) = api.get(SENSORS).json()["data"]
    assert row == {name: data[name] for name in SUMMARY | set(RETENTION)}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"ref": "Shop.watch"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "shop"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "../etc.x"}, 422, "UNPROCESSABLE_ENTITY"),
        ({"ref": "shop.taken"}, 409, "CONFLICT"),
        ({"pack_ref": None}, 422, "VALIDATION_ERROR"),
        ({"pack_ref": "none"}, 404, "NOT_FOUND"),
        ({"runtime_ref": None}, 422, "VALIDATION_ERROR"),
        ({"runtime_ref": "core.none"}, 404, "NOT_FOUND"),
        ({"trigger_ref": None}, 422, "VALIDATION_ERROR"),
        ({"trigger_ref": "shop.none"}, 404, "NOT_FOUND"),
        ({"entrypoint": ""}, 422, "VALIDATION_ERROR"),
        ({"entrypoint": "x" * 1025}, 422, "VALIDATION_ERROR"),
        ({"label": ""}, 422, "VALIDATION_ERROR"),
        ({"param_schema": []}, 422, "VALIDATION_ERROR"),
        ({"config": "x"}, 422, "VALIDATION_ERROR"),
        ({"worker_selector": []}, 400, "BAD_REQUEST"),
        ({"worker_tolerations": {}}, 400, "BAD_REQUEST"),
        ({"worker_affinity": {"required": {}}}, 400, "BAD_REQUEST"),
        ({"log_retention_limit": 0}, 422, "VALIDATION_ERROR"),
        ({"log_retention_limit": 2**31}, 422, "VALIDATION_ERROR"),
        ({"log_retention_policy": "never"}, 422, "VALIDATION_ERROR"),
        ({"enabled": "yes"}, 422, "VALIDATION_ERROR"),
    ],
)
def test_create_refuses(api, known, changes, status, code):
    make_sensor(ref="shop.taken")

    answer = api.post(SENSORS, body(**changes))

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    known.refresh_from_db()
    assert (Sensor.objects.count(), known.sensor_id) == (1, None)


def test_a_trigger_moves_to_the_sensor_that_names_it_last(api, known):
    first = make_sensor(known, ref="shop.first")

    answer = api.post(SENSORS, body()).json()

    assert answer["message"] == "Sensor created successfully; its trigger was served by shop.first until now"
    assert answer["data"]["trigger_ref"] == "shop.order"
    assert api.get(f"{SENSORS}/{first.ref}").json()["data"]["trigger_refs"] == []


# --- Read -------------------------------------------------------------------------------------------------------


def test_list_is_by_ref_and_filters_the_enabled(api):
    for ref in ("b.a", "a.b", "a.a"):
        make_sensor(ref=ref, enabled=ref != "a.b")

    listed = api.get(SENSORS).json()["data"]
    enabled = api.get(f"{SENSORS}/enabled").json()["items"]

    assert [row["ref"] for row in listed] == ["a.a", "a.b", "b.a"]
    assert [row["ref"] for row in enabled] == ["a.a", "b.a"]
    assert set(listed[0]) == SUMMARY


@pytest.mark.parametrize("url", [SENSORS, f"{SENSORS}/enabled", "/api/v1/packs/shop/sensors"])
def test_list_asks_as_much_for_one_row_as_for_many(api, url):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert api.get(url).status_code == 200
        return len(captured)

    pack = make_pack(ref="shop")
    make_sensor(make_trigger(), make_trigger(), pack=pack)
    few = queries()
    for _ in range(5):
        make_sensor(make_trigger(), make_trigger(), pack=pack)

    assert queries() == few <= 6


def test_the_first_trigger_by_ref_is_the_sensors_trigger(api):
    last, first = make_trigger(ref="z.a"), make_trigger(ref="a.z")
    sensor, idle = make_sensor(last, first), make_sensor()

    data = api.get(f"{SENSORS}/{sensor.ref}").json()["data"]
    nothing = api.get(f"{SENSORS}/{idle.ref}").json()["data"]

    assert (data["trigger"], data["trigger_ref"], data["trigger_refs"]) == (first.pk, "a.z", ["a.z", "z.a"])
    assert (nothing["trigger"], nothing["trigger_ref"], nothing["trigger_refs"]) == (0, "", [])


def test_sensors_of_a_pack(api):
    pack = make_pack(ref="shop")
    for ref in ("shop.b", "shop.a"):
        make_sensor(pack=pack, ref=ref)
    make_sensor()

    assert [row["ref"] for row in api.get("/api/v1/packs/shop/sensors").json()["data"]] == ["shop.a", "shop.b"]
    assert api.get("/api/v1/packs/none/sensors").status_code == 404


# --- Change -----------------------------------------------------------------------------------------------------


def test_update_is_partial_and_clears_what_is_told_to(api):
    sensor = make_sensor(make_trigger(), ref="a.b", description="d", **{**RETENTION, "param_schema": {"a": {}}})

    answer = api.put(
        f"{SENSORS}/a.b",
        {
            "label": "New", "entrypoint": "other.py", "param_schema": {"op": "clear"}, "worker_selector": {"zone": "eu"},
            "log_retention_policy": {"op": "set", "value": "days"}, "log_retention_limit": {"op": "clear"},
            "enabled": False, "ref": "x.y", "trigger_ref": "none.none",
        },
    )  # fmt: skip

    assert (answer.status_code, answer.json()["message"]) == (200, "Sensor updated successfully")
    sensor.refresh_from_db()
    assert (sensor.ref, sensor.label, sensor.entrypoint, sensor.param_schema) == ("a.b", "New", "other.py", None)
    assert (sensor.description, sensor.worker_selector, sensor.enabled) == ("d", {"zone": "eu"}, False)
    assert (sensor.log_retention_policy, sensor.log_retention_limit) == ("days", None)
    data = answer.json()["data"]
    assert "log_retention_limit" not in data
    assert data["trigger_refs"] == [Trigger.objects.get().ref]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"label": ""}, 422), ({"entrypoint": 1}, 422), ({"param_schema": {}}, 422), ({"log_retention_limit": 5}, 422),
        ({"log_retention_limit": {"op": "set", "value": 0}}, 422), ({"worker_selector": "eu"}, 400),
        ({"worker_tolerations": [{}]}, 400), ({"enabled": 0}, 422),
        ({"log_retention_policy": {"op": "set", "value": "x"}}, 422),
    ],
)  # fmt: skip
def test_update_refuses(api, changes, status):
    sensor = make_sensor(ref="a.b")

    answer = api.put(f"{SENSORS}/a.b", changes)

    before = sensor.updated
    sensor.refresh_from_db()
    assert (answer.status_code, sensor.updated) == (status, before)


def test_enable_and_disable(api):
    make_sensor(ref="a.b")

    off = api.post(f"{SENSORS}/a.b/disable").json()
    on = api.post(f"{SENSORS}/a.b/enable").json()

    assert (off["data"]["enabled"], off["message"]) == (False, "Sensor disabled successfully")
    assert (on["data"]["enabled"], on["message"]) == (True, "Sensor enabled successfully")
    assert api.post(f"{SENSORS}/no.one/disable").status_code == 404


def test_delete_takes_it_from_its_triggers_and_leaves_its_events(api):
    trigger = make_trigger()
    sensor = make_sensor(trigger, ref="a.b")
    event = make_event(trigger=trigger, source=sensor, source_ref="a.b")

    answer = api.delete(f"{SENSORS}/a.b")

    assert (answer.status_code, answer.json()) == (
        200, {"success": True, "message": "Sensor 'a.b' deleted successfully"},
    )  # fmt: skip
    trigger.refresh_from_db()
    event.refresh_from_db()
    assert (trigger.sensor_id, trigger.sensor_ref) == (None, None)
    assert (event.source_id, event.source_ref) == (None, "a.b")
    assert api.delete(f"{SENSORS}/a.b").status_code == 404


# --- Who may ----------------------------------------------------------------------------------------------------


def test_a_sensor_reads_itself_and_nothing_else_of_sensors():
    own, other = make_sensor(ref="a.own"), make_sensor(ref="a.other")
    client = bearing(sensor_tokens.issue(own.ref, ["a.t"]).token)

    assert client.get(f"{SENSORS}/a.own").json()["data"]["id"] == own.pk
    assert client.get(f"{SENSORS}/{other.ref}").status_code == 403
    assert client.get(f"{SENSORS}/no.one").status_code == 403
    refused = [
        client.get(SENSORS),
        client.get(f"{SENSORS}/enabled"),
        client.post(SENSORS, body()),
        client.put(f"{SENSORS}/a.own", {"label": "x"}),
        client.post(f"{SENSORS}/a.own/disable"),
        client.delete(f"{SENSORS}/a.own"),
    ]
    assert [answer.status_code for answer in refused] == [403] * 6


def test_without_a_grant_nothing_is_seen_and_nothing_done():
    make_sensor(ref="a.b")
    client = signed_in(make_identity())

    assert client.get(SENSORS).json()["pagination"]["total_items"] == 0
    assert client.get(f"{SENSORS}/a.b").status_code == 404
    refused = [
        client.post(SENSORS, body()),
        client.put(f"{SENSORS}/a.b", {"label": "x"}),
        client.post(f"{SENSORS}/a.b/enable"),
        client.post(f"{SENSORS}/a.b/disable"),
        client.delete(f"{SENSORS}/a.b"),
    ]
    assert [answer.status_code for answer in refused] == [403] * 5
