"""Webhook requests at the same time, and what comes over a real connection."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.db import connection
from django.test import RequestFactory

from apps.events.models import Event, Trigger, WebhookEventLog
from apps.events.webhooks.receiving import UnknownKey, received
from apps.events.webhooks.requests import read
from apps.identity.models import IdempotencyRecord
from tests import senders
from tests.webhooks import KEY, make_webhook, post, post_payload

pytestmark = pytest.mark.django_db(transaction=True)

WRAPPED = b'{"payload": 1}'
AT_ONCE = 8


def at_once(work: Callable[[int], Any]) -> list[Any]:
    """Do the work in several threads that begin together; return what each gives."""
    together = threading.Barrier(AT_ONCE)

    def run(number: int) -> Any:
        try:
            together.wait(60)
            return work(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, range(AT_ONCE)))


def test_requests_with_one_key_make_one_event() -> None:
    make_webhook()
    answers = at_once(lambda _number: post_payload({"n": 1}, headers={"Idempotency-Key": "k"}))

    event = Event.objects.get()
    assert {answer.status_code for answer in answers} <= {200, 409}
    accepted = [answer for answer in answers if answer.status_code == 200]
    assert {answer.json()["data"]["event_id"] for answer in accepted} == {event.pk}
    assert sum(answer.get("Idempotent-Replayed") is None for answer in accepted) == 1
    assert {answer["Retry-After"] for answer in answers if answer.status_code == 409} <= {"1"}
    assert IdempotencyRecord.objects.filter(scope__startswith="webhook:").count() == 1
    logged = WebhookEventLog.objects.values_list("status_code", flat=True)
    assert sorted(logged) == sorted(answer.status_code for answer in answers)


def test_deliveries_of_one_sender_make_one_event() -> None:
    make_webhook({"preset": "github", "hmac": {"secret": "hush"}})
    headers = senders.github("hush", b"{}")
    answers = at_once(lambda _number: post(b"{}", raw=True, headers=headers))
    assert {answer.status_code for answer in answers} <= {200, 409}
    assert Event.objects.count() == 1


@pytest.mark.parametrize("limit", [1, 3])
def test_rate_holds_for_requests_at_once(limit: int) -> None:
    make_webhook({"rate_limit": {"requests": limit, "window_seconds": 60}})
    statuses = at_once(lambda _number: post(WRAPPED).status_code)
    assert sorted(statuses) == [200] * limit + [429] * (AT_ONCE - limit)
    assert Event.objects.count() == limit
    assert WebhookEventLog.objects.filter(rate_limited=True).count() == AT_ONCE - limit


def test_rate_holds_for_wrong_signatures_and_keys_at_once() -> None:
    make_webhook({"rate_limit": {"requests": 4, "window_seconds": 60}, "hmac": {"secret": "hush"}})
    good = {**senders.plain("hush", WRAPPED), "Idempotency-Key": "k"}
    statuses = at_once(lambda number: post(WRAPPED, headers=good if number % 2 else {}).status_code)
    assert statuses.count(429) == AT_ONCE - 4
    assert Event.objects.count() <= 1
    assert WebhookEventLog.objects.filter(rate_limited=False).count() == 4


def test_trigger_that_is_deleted_meanwhile() -> None:
    trigger = make_webhook()
    path = f"/api/v1/webhooks/{KEY}"
    request = RequestFactory().generic("POST", path, WRAPPED, content_type="application/json")
    delivery = read(request, key=KEY, to_raw_url=False)
    Trigger.objects.filter(pk=trigger.pk).delete()

    with pytest.raises(UnknownKey):
        received(trigger, delivery)
    assert (Event.objects.count(), WebhookEventLog.objects.count()) == (0, 0)


# --- Over a real connection -------------------------------------------------------------------------------------


def test_body_in_chunks(server: str) -> None:
    make_webhook()
    pieces = iter([b'{"payl', b'oad": {"n"', b": 1}}"])
    answer = httpx.post(f"{server}/api/v1/webhooks/{KEY}", content=pieces)
    assert answer.status_code == 200
    assert Event.objects.get().payload == {"n": 1}
    row = WebhookEventLog.objects.get()
    assert (row.payload_size_bytes, "content-length" in row.headers) == (21, False)


def test_body_without_end_is_refused_on_the_way(server: str, settings: Any) -> None:
    settings.WEBHOOK_MAX_BODY_BYTES = 512 * 1024
    make_webhook()
    sent = 0

    def without_end() -> Iterator[bytes]:
        nonlocal sent
        while not answered.is_set() and sent < 1_000_000_000:
            sent += 65536
            yield b"x" * 65536

    answered = threading.Event()
    where = urlsplit(server)
    client = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    client.putrequest("POST", f"/api/v1/webhooks/{KEY}/raw")
    client.putheader("Transfer-Encoding", "chunked")
    client.endheaders()

    def send() -> None:
        for piece in without_end():
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")

    sender = threading.Thread(target=send)
    sender.start()
    answer = client.getresponse()
    answered.set()
    sender.join(30)

    assert (answer.status, json.loads(answer.read())["error"]) == (400, "Payload too large. Maximum size: 512 KB")
    assert WebhookEventLog.objects.get().status_code == 400
    client.request("POST", f"/api/v1/webhooks/{KEY}/raw", b"{}")  # the connection is still good
    assert client.getresponse().status == 200
    client.close()


def test_announced_size_is_enough_to_refuse(server: str) -> None:
    make_webhook()
    where = urlsplit(server)
    with socket.create_connection((where.hostname, where.port), timeout=30) as client:
        head = f"POST /api/v1/webhooks/wh_unknown HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\n\r\n"
        client.sendall(head.encode() + b"x" * 200_000)
        assert b"Payload too large. Maximum size: 10240 KB" in client.recv(10_000)


def test_repeated_headers_are_joined(server: str) -> None:
    make_webhook()
    headers = [("X-Tag", "a"), ("x-tag", "b"), ("Cookie", "c=d"), ("X-Under_Score", "evil")]
    httpx.post(f"{server}/api/v1/webhooks/{KEY}/raw", content=b"{}", headers=headers).raise_for_status()
    kept = Event.objects.get().config["headers"]
    assert kept["x-tag"] == "a, b"
    assert "cookie" not in kept


def test_client_that_leaves_in_the_middle_leaves_nothing(server: str) -> None:
    make_webhook()
    where = urlsplit(server)
    with socket.create_connection((where.hostname, where.port), timeout=30) as client:
        head = f"POST /api/v1/webhooks/{KEY}/raw HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        client.sendall(head.encode() + b"{}")
    assert httpx.post(f"{server}/api/v1/webhooks/{KEY}", content=WRAPPED).status_code == 200
    assert Event.objects.get().payload == 1
