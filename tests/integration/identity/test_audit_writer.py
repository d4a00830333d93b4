"""The thread that writes the audit trail, beside a real database: in time, patient, and in nobody's way."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from django.db import connection, transaction

from apps.identity import audit
from apps.identity.audit import trail
from apps.identity.audit.trail import Trail
from apps.identity.models import AuditEvent
from apps.identity.sensor_tokens import issue
from tests.clients import anonymous
from tests.factories import make_pack, make_sensor, make_trigger
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trail]:
    """The trail of this process, with its thread at work."""
    monkeypatch.setattr(trail, "_background", True)
    yield trail
    assert trail.close(10)
    trail.after_fork()  # as new


def count() -> int:
    return AuditEvent.objects.count()


def test_event_is_readable_a_second_after_its_request(written: Trail) -> None:
    client, took = anonymous(), []
    for number in range(1, 4):
        client.get("/auth/settings")
        began = time.monotonic()
        wait_until(lambda number=number: count() == number, what="the event")
        took.append(time.monotonic() - began)

    assert min(took) < 1  # what keeps all three waiting is not the machine


@contextmanager
def locked_table() -> Iterator[None]:
    """Nobody writes meanwhile."""
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("LOCK TABLE audit_event IN SHARE MODE")
            held.set()
            done.wait(60)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_database_that_is_busy_delays_events_and_no_requests(written: Trail) -> None:
    client = anonymous()
    client.get("/auth/settings")
    with locked_table():
        statuses = [client.get("/auth/settings").status_code for _ in range(50)]
        unwritten = len(trail)

    assert statuses == [200] * 50
    assert unwritten >= 50  # the table was still locked
    assert trail.flush(60)
    assert count() == 51


def rename(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


def test_events_of_an_outage_are_kept_and_written_once(written: Trail, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="apps.identity.audit.trail")
    rename("audit_event", "audit_event_away")
    try:
        for number in range(250):
            audit.record("pack.updated", resource_id=number)
        wait_until(lambda: "cannot be written" in caplog.text, what="the first failure")
        flushed = trail.flush(0.2)
    finally:
        rename("audit_event_away", "audit_event")

    assert not flushed
    assert trail.flush(60)
    assert list(AuditEvent.objects.order_by("id").values_list("resource_id", flat=True)) == list(range(250))
    texts = [record.getMessage() for record in caplog.records]
    assert len([text for text in texts if "cannot be written just now" in text]) == 1
    assert len([text for text in texts if "are written again" in text]) == 1


def test_event_that_the_database_does_not_take_keeps_no_other_from_it(written: Trail) -> None:
    for number in (1, 2**70, 3):
        audit.record("pack.updated", resource_id=number)

    assert trail.flush(60)
    rows = AuditEvent.objects.order_by("id").values_list("event_type", "resource_id", "details")
    assert list(rows) == [
        ("pack.updated", 1, {}),
        ("pack.updated", None, {"incomplete": True}),
        ("pack.updated", 3, {}),
    ]


def test_many_threads_at_once_lose_nothing(written: Trail) -> None:
    def act(thread: int) -> None:
        client = anonymous()
        for number in range(25):
            client.get(f"/nothing/{thread}/{number}")
        connection.close()

    threads = [threading.Thread(target=act, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert trail.flush(60)
    assert AuditEvent.objects.values("http_path").distinct().count() == count() == 200


def test_full_buffer_makes_requests_wait_until_there_is_room(written: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "_capacity", 10)
    answered = []

    def act() -> None:
        client = anonymous()
        for _number in range(20):
            answered.append(client.get("/auth/settings").status_code)
        connection.close()

    thread = threading.Thread(target=act)
    with locked_table():
        thread.start()
        wait_until(lambda: len(trail) == 10, what="a full buffer")
        thread.join(0.5)
        waits = thread.is_alive(), len(answered)
    thread.join(60)

    assert waits == (True, 10)
    assert answered == [200] * 20
    assert trail.flush(60)
    assert count() == 20


def test_denial_within_a_transaction_never_waits_for_room(written: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite whoever has begun to write keeps the trail's thread from making room."""
    monkeypatch.setattr(trail, "_capacity", 1)
    began = time.monotonic()
    with transaction.atomic():
        for _number in range(5):
            audit.record("rbac.denied", outcome="denied")

    assert time.monotonic() - began < 5
    assert trail.flush(60)
    assert count() == 5


def test_answer_that_was_held_is_one_request(server: str, written: Trail) -> None:
    trigger = make_trigger(pack=make_pack(ref="lab"), ref="lab.seen")
    sensor = make_sensor(trigger, pack=trigger.pack, ref="lab.watcher")
    headers = {"Authorization": f"Bearer {issue(sensor.ref, [trigger.ref]).token}"}
    url = f"{server}/api/v1/sensors/lab.watcher/rules"
    with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:
        version = client.get(url).json()["data"]["version"]
        answer = client.get(url, params={"version": version, "wait": 1})
        hostile = client.get(url, headers={"attune.repeated": "1", "attune-repeated": "1"})

    assert (answer.status_code, hostile.status_code) == (200, 200)
    assert trail.flush(60)
    ids = [str(found) for found in AuditEvent.objects.order_by("id").values_list("request_id", flat=True)]
    assert len(ids) == 3
    assert ids[1:] == [answer.headers["X-Request-Id"], hostile.headers["X-Request-Id"]]
