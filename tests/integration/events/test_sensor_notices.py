"""Which rules a sensor serves, over HTTP, and the long poll that follows them."""

import threading
import time

import httpx
import pytest
from django.db import connection
from django.db.models import F

from apps.events import notices
from apps.events.models import Sensor, SensorNotice
from apps.events.sensors import logs
from apps.events.sensors.output import Keeping, RotatingLog
from apps.identity import sensor_tokens
from apps.rules import services
from tests.clients import bearing, signed_in
from tests.factories import make_action, make_identity, make_pack, make_rule, make_sensor, make_trigger

pytestmark = pytest.mark.django_db


@pytest.fixture
def trigger(db):
    return make_trigger(pack=make_pack(ref="lab"), ref="lab.seen")


@pytest.fixture
def sensor(trigger):
    return make_sensor(trigger, pack=trigger.pack, ref="lab.watcher")


def rules_url(sensor):
    return f"/api/v1/sensors/{sensor.ref}/rules"


def new_rule(trigger, **fields):
    action = make_action(pack=trigger.pack)
    return services.create_rule(
        ref=fields.pop("ref", "lab.one"), pack_ref=trigger.pack_ref, label="One", action_ref=action.ref,
        trigger_ref=trigger.ref, owner=None, **fields,
    )  # fmt: skip


def entry(rule):
    return {
        "id": rule.pk, "ref": rule.ref, "trigger_ref": rule.trigger_ref, "trigger_params": rule.trigger_params,
        "config": rule.trigger_params,
    }  # fmt: skip


# --- Notices -----------------------------------------------------------------------------------------------------


def test_each_change_of_a_rule_has_its_notice(sensor, trigger, api):
    first = api.get(rules_url(sensor)).json()["data"]["version"]
    rule = new_rule(trigger, trigger_params={"path": "/a"})
    services.update_rule(rule.pk, {"trigger_params": {"path": "/b"}})
    services.disable_rule(rule.pk)
    services.enable_rule(rule.pk)
    services.delete_rule(rule.pk)

    data = api.get(rules_url(sensor), {"version": first}).json()["data"]

    assert data["version"] == first + 5
    assert [change["event_type"] for change in data["changes"]] == [
        "RuleCreated", "RuleUpdated", "RuleDisabled", "RuleEnabled", "RuleDeleted",
    ]  # fmt: skip
    change = data["changes"][1]
    assert change.pop("timestamp").endswith("Z")
    assert change == {
        "event_type": "RuleUpdated", "rule_id": rule.pk, "rule_ref": "lab.one", "trigger_ref": "lab.seen",
        "trigger_type": "lab.seen", "trigger_params": {"path": "/b"},
    }  # fmt: skip
    assert data["rules"] == []


def test_rules_are_the_enabled_ones_of_all_its_triggers(sensor, trigger, api):
    second = make_trigger(pack=trigger.pack, ref="lab.also", sensor=sensor)
    foreign = make_trigger(pack=trigger.pack, ref="lab.foreign")
    b = make_rule(trigger=trigger, ref="lab.b", trigger_params={"x": [1]})
    a = make_rule(trigger=second, ref="lab.a")
    make_rule(trigger=trigger, ref="lab.off", enabled=False)
    make_rule(trigger=foreign, ref="lab.foreign")

    data = api.get(rules_url(sensor)).json()["data"]

    assert (data["rules"], data["changes"]) == ([entry(a), entry(b)], [])


def test_change_of_the_sensor_or_of_its_triggers_is_another_version(sensor, trigger):
    before = notices.versions_of([sensor.pk])[sensor.pk]
    seen = notices.fingerprint()

    make_trigger(pack=trigger.pack, ref="lab.also")
    sensor.set(config={"x": 1})

    assert notices.versions_of([sensor.pk])[sensor.pk] > before
    assert notices.fingerprint() != seen


def test_notices_raise_no_update_of_the_sensor(sensor, trigger):
    before = Sensor.objects.get(pk=sensor.pk).updated

    new_rule(trigger)

    assert Sensor.objects.get(pk=sensor.pk).updated == before


def test_rule_of_a_trigger_without_a_sensor_has_no_notice(trigger):
    new_rule(trigger)

    assert not SensorNotice.objects.exists()


def test_old_notices_go(sensor, trigger, monkeypatch):
    monkeypatch.setattr(notices, "KEPT", 5)
    monkeypatch.setattr(notices, "_TIDY_EVERY", 10)
    rule = new_rule(trigger)

    for number in range(40):
        services.update_rule(rule.pk, {"trigger_params": {"n": number}})

    assert SensorNotice.objects.count() <= 5 + 10


# --- Who may -----------------------------------------------------------------------------------------------------


def test_sensor_reads_the_rules_of_itself_only(sensor, trigger):
    other = make_sensor(pack=trigger.pack, ref="lab.other")
    own = bearing(sensor_tokens.issue(sensor.ref, [trigger.ref]).token)

    assert own.get(rules_url(sensor)).status_code == 200
    assert own.get(rules_url(other)).status_code == 403
    assert own.get("/api/v1/sensors/lab.watcher/logs").status_code == 403


def test_who_may_not_see_triggers_finds_nothing(sensor, api):
    stranger = signed_in(make_identity())

    for path in ("rules", "logs", "logs/stdout"):
        assert stranger.get(f"/api/v1/sensors/lab.watcher/{path}").status_code == 404
        assert api.get(f"/api/v1/sensors/lab.watcher/{path}").status_code == 200
        assert api.get(f"/api/v1/sensors/lab.none/{path}").status_code == 404


@pytest.mark.parametrize("query", [{"wait": "61"}, {"wait": "-1"}, {"wait": "x"}, {"version": "x"}])
def test_query_that_makes_no_sense_is_refused(sensor, api, query):
    assert api.get(rules_url(sensor), query).status_code == 400


# --- Logs --------------------------------------------------------------------------------------------------------


def test_logs_before_there_is_output(sensor, api):
    assert api.get("/api/v1/sensors/lab.watcher/logs").json() == {
        "sensor_ref": "lab.watcher",
        "logs": [
            {"stream": "stdout", "artifact_ref": "sensor.lab.watcher.stdout", "artifact_id": None},
            {"stream": "stderr", "artifact_ref": "sensor.lab.watcher.stderr", "artifact_id": None},
        ],
    }
    empty = api.get("/api/v1/sensors/lab.watcher/logs/stdout")
    assert (empty.status_code, b"".join(empty.streaming_content)) == (200, b"")
    assert api.get("/api/v1/sensors/lab.watcher/logs/stdin").status_code == 422


def test_log_is_read_across_its_files(sensor, api, settings, tmp_path):
    settings.ARTIFACTS_DIR = tmp_path
    text = b"".join(b"line %d\n" % number for number in range(100))
    sink = RotatingLog(logs.files_of(sensor.pk, "stdout", 3), Keeping(file_bytes=100, files=50), lambda: None)
    sink.feed(text)
    sink.close()
    logs.bring_in_step(sensor, 3)

    def body(**query):
        answer = api.get("/api/v1/sensors/lab.watcher/logs/stdout", query)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        return b"".join(answer.streaming_content)

    assert body() == text
    assert body(tail=3) == b"line 97\nline 98\nline 99\n"
    assert body(tail=0) == b""
    assert body(tail=1000) == text


# --- The long poll, on a real server -----------------------------------------------------------------------------


@pytest.fixture
def polled(server, transactional_db):
    """A sensor, and a function that polls for its rules; gives status, seconds and data."""
    trigger = make_trigger(pack=make_pack(ref="lab"), ref="lab.seen")
    sensor = make_sensor(trigger, pack=trigger.pack, ref="lab.watcher")
    token = sensor_tokens.issue(sensor.ref, [trigger.ref]).token
    client = httpx.Client(base_url=server, headers={"Authorization": f"Bearer {token}"}, timeout=30, trust_env=False)

    def poll(**query):
        began = time.monotonic()
        answer = client.get("/api/v1/sensors/lab.watcher/rules", params=query)
        assert "x-attune-hold" not in answer.headers
        return answer.status_code, time.monotonic() - began, answer.json().get("data")

    yield sensor, trigger, poll
    client.close()
    connection.close()


def later(seconds, act):
    def do():
        time.sleep(seconds)
        act()
        connection.close()

    thread = threading.Thread(target=do)
    thread.start()
    return thread


def test_poll_without_a_version_or_with_an_old_one_is_answered_at_once(polled):
    _, _, poll = polled
    _, _, data = poll(wait=20)

    for query in ({}, {"wait": 20}, {"version": data["version"] - 1, "wait": 20}):
        status, seconds, _ = poll(**query)
        assert (status, seconds < 15) == (200, True)


def test_poll_waits_for_a_change(polled):
    _, trigger, poll = polled
    version = poll()[2]["version"]
    change = later(0.5, lambda: new_rule(trigger))

    status, seconds, data = poll(version=version, wait=20)

    change.join()
    assert (status, 0.4 < seconds < 15) == (200, True)
    assert [rule["ref"] for rule in data["rules"]] == ["lab.one"]
    assert [found["event_type"] for found in data["changes"]] == ["RuleCreated"]


def test_poll_sees_what_another_process_changed(polled):
    sensor, _, poll = polled
    version = poll()[2]["version"]
    rows = Sensor.objects.filter(pk=sensor.pk)
    change = later(0.3, lambda: rows.update(rules_version=F("rules_version") + 1))  # nobody is rung

    _, seconds, data = poll(version=version, wait=20)

    change.join()
    assert seconds < 15
    assert data["version"] == version + 1


def test_poll_without_a_change_ends_with_its_time(polled):
    _, _, poll = polled
    version = poll()[2]["version"]

    status, seconds, data = poll(version=version, wait=1)

    assert (status, data["version"], data["changes"]) == (200, version, [])
    assert 0.9 < seconds < 15


def test_many_polls_hold_up_nobody(polled, server):
    sensor, trigger, poll = polled
    version = poll()[2]["version"]
    answers = []
    waiting = [
        threading.Thread(target=lambda: answers.append(poll_alone(server, sensor, trigger, version)))
        for _ in range(60)
    ]
    for thread in waiting:
        thread.start()
    time.sleep(1)

    began = time.monotonic()
    assert poll()[0] == 200
    assert time.monotonic() - began < 10  # the others wait for 30

    new_rule(trigger)
    for thread in waiting:
        thread.join(60)
    assert answers == [version + 1] * 60


def poll_alone(server, sensor, trigger, version):
    token = sensor_tokens.issue(sensor.ref, [trigger.ref]).token
    connection.close()
    answer = httpx.get(
        f"{server}/api/v1/sensors/lab.watcher/rules",
        params={"version": version, "wait": 30},
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
    )
    return answer.json()["data"]["version"]


def test_poll_of_a_sensor_that_is_deleted_ends(polled):
    sensor, _, poll = polled
    version = poll()[2]["version"]
    deletion = later(0.3, lambda: Sensor.objects.get(pk=sensor.pk).delete())

    status, seconds, _ = poll(version=version, wait=20)

    deletion.join()
    assert (status, seconds < 3) == (404, True)
