"""A sensor that sends more events than it may."""

import threading
from datetime import UTC, datetime
from types import SimpleNamespace

import httpx
import pytest

from apps.events import flood
from apps.events.models import Event
from apps.executions.models import Execution
from apps.identity import sensor_tokens
from tests.clients import bearing, with_execution_token
from tests.factories import make_execution, make_pack, make_sensor, make_trigger
from tests.processes import wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _slow(settings):
    settings.SENSOR_EVENTS_PER_SECOND = 2
    flood.forget()
    yield
    flood.forget()


@pytest.fixture(autouse=True)
def passed(monkeypatch):
    """Time stands still: a list of the seconds that are to have passed."""
    passed = []
    monkeypatch.setattr(flood, "time", SimpleNamespace(monotonic=lambda: 1000.0 + sum(passed)))
    return passed


@pytest.fixture
def trigger(db):
    trigger = make_trigger(pack=make_pack(ref="lab"), ref="lab.seen")
    make_sensor(trigger, pack=trigger.pack, ref="lab.watcher")
    return trigger


def token(ref="lab.watcher"):
    return sensor_tokens.issue(ref, []).token


def send(client, **headers):
    return client.post("/api/v1/events", {"trigger_ref": "lab.seen", "payload": {}}, **headers)


def test_burst_passes_and_the_rest_is_refused(trigger):
    make_trigger(ref="core.alert")
    client = bearing(token())

    answers = [send(client) for _ in range(15)]

    assert [answer.status_code for answer in answers] == [201] * 10 + [429] * 5
    assert answers[-1].json()["code"] == "TOO_MANY_REQUESTS"
    assert answers[-1].headers["Retry-After"] == "1"
    assert Event.objects.filter(trigger_ref="lab.seen").count() == 10
    [alert] = Event.objects.filter(trigger_ref="core.alert")
    assert (alert.payload["failure_type"], alert.payload["component_ref"]) == ("event_flood", "lab.watcher")


def test_bucket_fills_again_with_time(trigger, passed):
    client = bearing(token())
    for _ in range(10):
        send(client)
    passed.append(1.5)

    assert [send(client).status_code for _ in range(4)] == [201] * 3 + [429]
    passed.append(3600)
    assert [send(client).status_code for _ in range(11)] == [201] * 10 + [429]


def test_others_are_not_concerned(trigger):
    first, second = bearing(token()), bearing(token("lab.other"))
    program = with_execution_token(make_execution(status="running"))
    for _ in range(12):
        send(first)

    assert send(first).status_code == 429
    assert send(second).status_code == 201
    assert [send(program).status_code for _ in range(20)] == [201] * 20


@pytest.mark.parametrize(
    ("waiting", "fields", "status"),
    [
        (10, {}, 429),
        (9, {}, 201),
        (10, {"status": "completed"}, 201),
        (10, {"not_before": datetime(2100, 1, 1, tzinfo=UTC)}, 201),  # delayed by a throttle
        (10, {"created": datetime(2026, 1, 1, tzinfo=UTC)}, 201),  # a slow sensor's, while workers were away
        (10, {"trigger_ref": "lab.other"}, 201),
    ],
)
def test_sensor_whose_executions_wait_is_held_back(trigger, waiting, fields, status):
    make_trigger(ref="core.alert")
    for _ in range(waiting):
        make_execution(**{"status": "requested", "trigger_ref": "lab.seen", **fields})

    answer = send(bearing(token()))

    assert answer.status_code == status
    alerts = Event.objects.filter(trigger_ref="core.alert")
    assert [alert.payload["failure_type"] for alert in alerts] == ["event_backlog"] * (status == 429)


def test_sensor_may_send_again_when_its_executions_ran(trigger, monkeypatch):
    monkeypatch.setattr(flood, "LOOK_EVERY_SECONDS", 0.0)
    waiting = [make_execution(status="requested", trigger_ref="lab.seen") for _ in range(10)]
    client = bearing(token())

    assert send(client).status_code == 429
    Execution.objects.filter(pk=waiting[0].pk).update(status="completed")
    assert send(client).status_code == 201


def test_key_of_a_refused_event_is_taken_later(trigger):
    client = bearing(token())
    for _ in range(10):
        send(client)

    assert send(client, HTTP_IDEMPOTENCY_KEY="k1").status_code == 429
    flood.forget()
    assert send(client, HTTP_IDEMPOTENCY_KEY="k1").status_code == 201


def test_no_limit(trigger, settings):
    settings.SENSOR_EVENTS_PER_SECOND = 0
    client = bearing(token())

    assert {send(client).status_code for _ in range(30)} == {201}


@pytest.mark.django_db(transaction=True)
def test_refusals_are_slow_and_the_rest_of_the_product_is_not(server, trigger, monkeypatch):
    monkeypatch.setattr(flood, "RETRY_AFTER_SECONDS", 5)
    bearer = {"Authorization": f"Bearer {token()}"}
    statuses = []

    def go():
        answer = httpx.post(
            f"{server}/api/v1/events", json={"trigger_ref": "lab.seen"}, headers=bearer, timeout=60, trust_env=False
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=go) for _ in range(50)]
    for thread in threads:
        thread.start()
    wait_until(lambda: statuses.count(201) == 10)
    for _ in range(10):
        assert httpx.get(f"{server}/health/ready", timeout=60, trust_env=False).status_code == 200

    assert statuses == [201] * 10  # nobody was told meanwhile
    for thread in threads:
        thread.join()
    assert statuses == [201] * 10 + [429] * 40
