"""Requests to a webhook: every check, in its order, with what it answers, stores and logs."""

import base64
import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.events.models import Event, WebhookEventLog
from apps.identity.models import IdempotencyRecord
from tests import senders
from tests.clients import anonymous, signed_in
from tests.webhooks import KEY, make_webhook, post, post_payload, told

pytestmark = pytest.mark.django_db

SHOWN_KEY = "wh_0123...cdef"
WRAPPED = b'{"payload": {"n": 1}}'
STANDARD_SECRET = "whsec_" + base64.b64encode(b"thirty two bytes of random stuff").decode()


def log_row() -> WebhookEventLog:
    return WebhookEventLog.objects.get()


def assert_refused(answer: Any, status: int, message: str) -> None:
    """The answer says so, there is no event, and the request stands in the log."""
    assert told(answer) == (status, message)
    assert Event.objects.count() == 0
    row = log_row()
    assert (row.status_code, row.error_message, row.event_id) == (status, message, None)


# --- What becomes of a good one ---------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [{"n": 1}, {}, [], [1, "x"], "text", 5, 1.5, True, None])
def test_event_of_a_wrapped_payload(payload: Any) -> None:
    trigger = make_webhook()

    answer = post_payload(payload)

    event = Event.objects.get()
    received_at = answer.json()["data"]["received_at"]
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "data": {
                "event_id": event.pk,
                "trigger_ref": trigger.ref,
                "received_at": received_at,
                "message": "Webhook received successfully",
            }
        },
    )
    assert (event.trigger, event.trigger_ref, event.source, event.source_ref) == (
        trigger,
        trigger.ref,
        None,
        "webhook",
    )
    assert event.payload == payload
    assert event.config == {"source": "webhook", "webhook_key": SHOWN_KEY, "received_at": received_at}


def test_optional_fields_of_the_body_stand_in_the_config_as_sent() -> None:
    make_webhook({"hmac": {"secret": "hush"}})
    body = json.dumps(
        {"payload": 1, "headers": {"X-A": ["b"]}, "source_ip": "not checked", "user_agent": "curl", "extra": 1}
    ).encode()

    post(body, headers=senders.plain("hush", body))

    config = Event.objects.get().config
    assert {name: value for name, value in config.items() if name != "received_at"} == {
        "source": "webhook",
        "webhook_key": SHOWN_KEY,
        "headers": {"X-A": ["b"]},
        "source_ip": "not checked",
        "user_agent": "curl",
        "hmac_verified": True,
    }


def test_event_of_a_raw_body() -> None:
    make_webhook({"preset": "github", "hmac": {"secret": "hush-hush"}})
    body = b'{"ref": "refs/heads/main"}'
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/1",
        "Authorization": "Bearer x",
        "Cookie": "a=b",
        "X-Copy": "hush-hush",
        "X-Forwarded-For": "203.0.113.7",
        **senders.github("hush-hush", body),
    }

    answer = post(body, raw=True, headers=headers, query="?a=1&b=2&b=3&c")

    event = Event.objects.get()
    config = event.config
    assert event.payload == {"ref": "refs/heads/main"}
    assert config.pop("headers") == {
        "content-length": str(len(body)),
        "content-type": "application/json",
        "user-agent": "GitHub-Hookshot/1",
        "x-forwarded-for": "203.0.113.7",
        **{name.lower(): value for name, value in senders.github("hush-hush", body).items()},
    }
    assert config == {
        "source": "webhook",
        "mode": "raw",
        "webhook_key": SHOWN_KEY,
        "received_at": answer.json()["data"]["received_at"],
        "method": "POST",
        "content_type": "application/json",
        "query": {"a": "1", "b": ["2", "3"], "c": ""},
        "source_ip": "203.0.113.7",
        "user_agent": "GitHub-Hookshot/1",
        "hmac_verified": True,
        "event_type": "push",
        "delivery_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    }


def test_plain_url_in_raw_mode() -> None:
    make_webhook({"raw": {"plain_url": True}})
    post(b"a=1", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert Event.objects.get().payload == {"a": "1"}
    assert Event.objects.get().config["mode"] == "raw"


def test_content_type_of_a_wrapped_body_does_not_matter() -> None:
    make_webhook()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense", ""):
        assert post(WRAPPED, headers={"Content-Type": kind}).status_code == 200
    assert Event.objects.count() == 5


def test_event_of_a_disabled_trigger_is_stored() -> None:
    make_webhook(enabled=False)
    assert post_payload(1).status_code == 200
    assert Event.objects.count() == 1


def test_log_row_of_a_good_request() -> None:
    trigger = make_webhook()
    answer = post(WRAPPED, headers={"User-Agent": "curl", "X-Gitlab-Token": "hush"}, REMOTE_ADDR="::ffff:203.0.113.7")
    row = log_row()
    assert (row.trigger, row.trigger_ref, row.webhook_key) == (trigger, trigger.ref, SHOWN_KEY)
    assert (row.status_code, row.event_id) == (200, answer.json()["data"]["event_id"])
    assert (row.source_ip, row.user_agent, row.payload_size_bytes) == ("203.0.113.7", "curl", len(WRAPPED))
    assert (row.hmac_verified, row.ip_allowed, row.rate_limited, row.error_message) == (None, None, False, None)
    assert row.processing_time_ms is not None
    assert row.headers == {"content-length": "21", "content-type": "application/json", "user-agent": "curl"}


# --- The checks -------------------------------------------------------------------------------------------------

EVERYTHING = {
    "payload_size_limit_kb": 1,
    "ip_whitelist": {"ips": ["203.0.113.0/24"]},
    "rate_limit": {"requests": 3, "window_seconds": 3600},
    "hmac": {"secret": "hush"},
    "replay": {"enabled": True},
}


@pytest.mark.parametrize("raw", [False, True])
def test_first_check_that_fails_answers(raw: bool) -> None:
    trigger = make_webhook(EVERYTHING, webhook_enabled=False)
    body, stale = WRAPPED, str(int(time.time()) - 3600)
    listed = {"REMOTE_ADDR": "203.0.113.7"}
    large = b'{"payload": "' + b"x" * 1100 + b'"}'

    def told_of(body: bytes, headers: dict[str, str], **where: Any) -> tuple[int, str]:
        return told(post(body, raw=raw, headers=headers, **where))

    unknown = told(post(b"{", key="wh_unknown", raw=raw))
    assert unknown[0] == (404 if raw else 400)
    assert told(post(large, key="wh_unknown", raw=raw)) == (404, "Invalid webhook key")
    if not raw:
        assert told_of(b"{", {})[1].startswith("Invalid JSON payload: ")
    assert told_of(large, {}) == (400, "Webhooks are not enabled for this trigger")
    trigger.set(webhook_enabled=True)
    assert told_of(large, {}) == (400, "Payload too large. Maximum size: 1 KB")
    assert told_of(body, {}) == (403, "This address may not send to this webhook")
    for number in range(3):
        make_log_row(trigger, number)
    limited = post(body, raw=raw, **listed)
    assert (limited.status_code, limited["Retry-After"]) == (429, "3600")
    trigger.set(webhook_config={**EVERYTHING, "rate_limit": {"requests": 0}})
    assert told_of(body, {}, **listed) == (401, "Signature required")
    assert told_of(body, senders.timed("other", body, stale), **listed) == (401, "Invalid webhook signature")
    assert told_of(body, {"X-Webhook-Signature": "md5=00"}, **listed)[1].startswith("Signature verification failed: ")
    outside = told_of(body, senders.timed("hush", body, stale), **listed)
    assert outside == (401, "Timestamp outside the allowed window")
    assert Event.objects.count() == 0
    now = str(int(time.time()))
    assert post(body, raw=raw, headers=senders.timed("hush", body, now), **listed).status_code == 200
    assert Event.objects.count() == 1


def make_log_row(trigger: Any, number: int = 0, **fields: Any) -> WebhookEventLog:
    defaults = {"trigger_ref": trigger.ref, "webhook_key": SHOWN_KEY, "source_ip": "203.0.113.7", "status_code": 200}
    return WebhookEventLog.objects.create(**{"trigger": trigger, **defaults, **fields})


DEEP = b"[" * 10_000 + b"]" * 10_000


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"[]", b"{}", b'{"payload": "\\u0000"}', b'{"payload": ' + DEEP + b"}", b"\xff"]
)
def test_body_that_cannot_be_read(body: bytes) -> None:
    make_webhook()
    answer = post(body)
    assert answer.json()["error"].startswith("Invalid JSON payload: ")
    assert_refused(answer, 400, answer.json()["error"])


@pytest.mark.parametrize("body", [DEEP, b"{", b'"\\u0000"', b"NaN"])
def test_raw_json_that_cannot_be_kept(body: bytes) -> None:
    make_webhook()
    answer = post(body, raw=True)
    assert answer.json()["error"].startswith("Invalid JSON payload: ")
    assert_refused(answer, 400, answer.json()["error"])


def test_packed_raw_body_is_refused() -> None:
    make_webhook()
    answer = post(b"\x1f\x8b", raw=True, headers={"Content-Encoding": "gzip"})
    assert_refused(answer, 415, "The body must be sent without Content-Encoding")


@pytest.mark.parametrize("key", ["wh_unknown", "x", "é", "wh_" + "0" * 1000, "%F0%9F%92%A9", "'; --"])
@pytest.mark.parametrize("raw", [False, True])
def test_unknown_key_leaves_nothing(key: str, raw: bool) -> None:
    make_webhook()
    assert told(post(WRAPPED, key=key, raw=raw)) == (404, "Invalid webhook key")
    assert (Event.objects.count(), WebhookEventLog.objects.count()) == (0, 0)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_other_methods(method: str) -> None:
    make_webhook()
    path = f"/api/v1/webhooks/{KEY}"
    assert (anonymous().generic(method, path).status_code, signed_in().generic(method, path).status_code) == (401, 405)


def test_webhooks_that_are_off() -> None:
    make_webhook(webhook_enabled=False)
    assert_refused(post(WRAPPED), 400, "Webhooks are not enabled for this trigger")


def test_raw_mode_that_is_off() -> None:
    make_webhook({"raw": {"enabled": False}})
    assert_refused(post(b"{}", raw=True), 400, "Raw mode is switched off for this webhook")
    assert post(WRAPPED).status_code == 200


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("limit_kb", [1, 1024])
def test_body_above_the_webhooks_own_limit(limit_kb: int, raw: bool) -> None:
    make_webhook({} if limit_kb == 1024 else {"payload_size_limit_kb": limit_kb})
    filler = limit_kb * 1024 - len(b'{"payload": ""}')
    fits, above = (b'{"payload": "' + b"x" * (filler + more) + b'"}' for more in (0, 1))
    assert_refused(post(above, raw=raw), 400, f"Payload too large. Maximum size: {limit_kb} KB")
    assert post(fits, raw=raw).status_code == 200


@pytest.mark.parametrize("key", [KEY, "wh_unknown"])
@pytest.mark.parametrize("raw", [False, True])
def test_body_above_the_servers_limit_is_refused_whatever_the_key(settings: Any, key: str, raw: bool) -> None:
    settings.WEBHOOK_MAX_BODY_BYTES = 2048
    make_webhook()
    answer = post(b"x" * 2049, key=key, raw=raw)
    assert told(answer) == (400, "Payload too large. Maximum size: 2 KB")
    assert WebhookEventLog.objects.count() == (1 if key == KEY else 0)


@pytest.mark.parametrize(
    ("peer", "forwarded", "allowed"),
    [
        ("203.0.113.7", None, True),
        ("203.0.113.8", None, False),
        ("::ffff:203.0.113.7", None, True),
        ("::ffff:203.0.113.8", None, False),
        ("2001:db8::5", None, True),
        ("2001:db9::5", None, False),
        ("203.0.113.8", "203.0.113.7", False),
        ("127.0.0.1", "203.0.113.7", True),
        ("127.0.0.1", "203.0.113.7, 203.0.113.8", False),
        ("127.0.0.1", "203.0.113.8, 203.0.113.7", True),
        ("127.0.0.1", "::ffff:203.0.113.7", True),
        ("127.0.0.1", "garbage", False),
        ("127.0.0.1", None, False),
        ("", None, True),
    ],
)
def test_addresses(peer: str, forwarded: str | None, allowed: bool) -> None:
    make_webhook({"ip_whitelist": {"ips": ["203.0.113.7", "2001:db8::/32"]}})
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}

    answer = post(WRAPPED, headers=headers, REMOTE_ADDR=peer)

    assert answer.status_code == (200 if allowed else 403)
    assert Event.objects.count() == int(allowed)
    assert log_row().ip_allowed is allowed


# --- The rate ---------------------------------------------------------------------------------------------------


def test_request_over_the_rate() -> None:
    make_webhook({"rate_limit": {"requests": 2, "window_seconds": 60}})
    answers = [post(WRAPPED) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert answers[2].json()["code"] == "TOO_MANY_REQUESTS"
    assert 1 <= int(answers[2]["Retry-After"]) <= 60
    assert Event.objects.count() == 2
    rows = WebhookEventLog.objects.order_by("id").values_list("status_code", "rate_limited")
    assert list(rows) == [(200, False), (200, False), (429, True), (429, True)]


def test_addresses_and_triggers_are_counted_apart() -> None:
    limit = {"rate_limit": {"requests": 1}}
    make_webhook(limit)
    make_webhook(limit, webhook_key="wh_other")
    assert [post(WRAPPED).status_code for _ in range(2)] == [200, 429]
    assert post(WRAPPED, REMOTE_ADDR="203.0.113.7").status_code == 200
    assert post(WRAPPED, key="wh_other").status_code == 200


def test_new_key_begins_anew() -> None:
    trigger = make_webhook({"rate_limit": {"requests": 1}})
    post(WRAPPED)
    trigger.set(webhook_key="wh_fedcba9876543210fedcba9876543210")
    assert post(WRAPPED, key=trigger.webhook_key or "").status_code == 200


def test_what_was_refused_for_another_reason_counts() -> None:
    make_webhook({"rate_limit": {"requests": 3}, "hmac": {"secret": "hush"}})
    post(b"{")
    post(WRAPPED)
    post(WRAPPED, headers=senders.plain("other", WRAPPED))
    assert post(WRAPPED, headers=senders.plain("hush", WRAPPED)).status_code == 429
    assert Event.objects.count() == 0


def test_rows_outside_the_window_do_not_count() -> None:
    trigger = make_webhook({"rate_limit": {"requests": 1, "window_seconds": 60}})
    make_log_row(trigger, created=timezone.now() - timedelta(seconds=61), source_ip="127.0.0.1")
    assert post(WRAPPED).status_code == 200
    assert post(WRAPPED).status_code == 429


# --- Signatures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "Signature required"),
        (senders.plain("other", WRAPPED), "Invalid webhook signature"),
        (senders.plain("hush", WRAPPED + b" "), "Invalid webhook signature"),
        ({"X-Webhook-Signature": "sha256=nonsense"}, "Invalid webhook signature"),
        (
            senders.plain("hush", WRAPPED, algorithm="sha512"),
            "Signature verification failed: the signature is not of the algorithm sha256",
        ),
    ],
)
def test_signature_that_is_not_right(headers: dict[str, str], message: str) -> None:
    make_webhook({"hmac": {"enabled": True, "secret": "hush", "algorithm": "sha256"}})
    assert_refused(post(WRAPPED, headers=headers), 401, message)
    assert log_row().hmac_verified is False


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("raw", [False, True])
def test_signature_is_taken_over_the_bytes_as_they_came(algorithm: str, raw: bool) -> None:
    make_webhook({"hmac": {"enabled": True, "secret": "h\u00fcsh", "algorithm": algorithm}})
    body = b' {"payload" :\n{ "z": 1, "a": 2 } } '
    assert post(body, raw=raw, headers=senders.plain("h\u00fcsh", body, algorithm=algorithm)).status_code == 200
    assert log_row().hmac_verified is True


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hmac": {"enabled": True}}, "Signature verification failed: there is no secret to verify it with"),
        ({"preset": "github"}, "Signature verification failed: there is no secret to verify it with"),
        (
            {"hmac": {"secret_key_ref": "core.secret", "secret": "hush"}},
            "Signature verification failed: there is no secret to verify it with",
        ),
        ({"preset": "gitbuh", "hmac": {"secret": "hush"}}, "Signature verification failed: unknown preset"),
        (
            {"hmac": {"secret": "hush", "algorithm": "md5"}},
            "Signature verification failed: the configured algorithm is not supported",
        ),
    ],
)
def test_column_by_which_nothing_can_be_verified(config: Any, message: str) -> None:
    make_webhook(config)
    headers = {**senders.plain("hush", WRAPPED), **senders.github("hush", WRAPPED)}
    assert_refused(post(WRAPPED, headers=headers), 401, message)


def test_change_of_the_column_counts_at_once() -> None:
    trigger = make_webhook()
    assert post(WRAPPED).status_code == 200
    trigger.set(webhook_config={"hmac": {"secret": "hush"}, "nonsense": [1]})
    assert post(WRAPPED).status_code == 401
    trigger.set(webhook_config="nonsense")
    assert post(WRAPPED).status_code == 200


# --- Presets ----------------------------------------------------------------------------------------------------

PRESETS: dict[str, Any] = {
    "github": ("hush", lambda secret, body, at: senders.github(secret, body)),
    "gitlab": ("hush", lambda secret, body, at: senders.gitlab(secret)),
    "gitlab signed": (STANDARD_SECRET, lambda secret, body, at: senders.standard(secret, body, at)),
    "slack": ("hush", senders.slack),
    "stripe": ("whsec_hush", senders.stripe),
    "standard": (STANDARD_SECRET, senders.standard),
}
BODIES = {
    "slack": b'{"type": "event_callback", "event_id": "Ev1", "event": {"type": "message"}}',
    "stripe": b'{"id": "evt_1", "type": "invoice.paid"}',
}
BODY = b'{"type": "invoice.paid", "payload": 1}'
TIMED = [name for name in PRESETS if name not in ("github", "gitlab")]


def sent(name: str, *, at: int | None = None, secret: str | None = None) -> tuple[bytes, dict[str, str]]:
    own, make = PRESETS[name]
    body = BODIES.get(name, BODY)
    return body, make(own if secret is None else secret, body, int(time.time()) if at is None else at)


def make_preset(name: str, **config: Any) -> None:
    make_webhook({"preset": name.split()[0], "hmac": {"secret": PRESETS[name][0]}, **config})


@pytest.mark.parametrize("name", PRESETS)
def test_right_delivery_of_a_preset(name: str) -> None:
    make_preset(name)
    body, headers = sent(name)
    assert post(body, raw=True, headers=headers).status_code == 200
    event = Event.objects.get()
    assert event.payload == json.loads(body)
    assert event.config["hmac_verified"] is True


@pytest.mark.parametrize("name", PRESETS)
def test_wrong_or_missing_signature_of_a_preset(name: str) -> None:
    make_preset(name)
    body, headers = sent(name, secret="whsec_b3RoZXI=")
    assert told(post(body, raw=True, headers=headers)) == (401, "Invalid webhook signature")
    assert told(post(body, raw=True)) == (401, "Signature required")
    if name != "gitlab":  # whose token is no signature
        _body, headers = sent(name)
        assert told(post(body + b" ", raw=True, headers=headers)) == (401, "Invalid webhook signature")
    assert Event.objects.count() == 0


@pytest.mark.parametrize("name", PRESETS)
def test_delivery_of_a_preset_that_comes_again(name: str) -> None:
    make_preset(name)
    body, headers = sent(name)
    first = post(body, raw=True, headers=headers)
    again = post(body, raw=True, headers=headers)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert (first.get("Idempotent-Replayed"), again.get("Idempotent-Replayed")) == (None, "true")
    assert Event.objects.count() == 1
    rows = WebhookEventLog.objects.values_list("status_code", "event_id")
    assert list(rows) == [(200, Event.objects.get().pk)] * 2


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("seconds", [-310, 310])
def test_stale_delivery_of_a_preset(name: str, seconds: int) -> None:
    make_preset(name)
    body, headers = sent(name, at=int(time.time()) + seconds)
    answer = post(body, raw=True, headers=headers)
    assert_refused(answer, 401, "Timestamp outside the allowed window")
    assert log_row().hmac_verified is True


@pytest.mark.parametrize("name", TIMED)
def test_window_of_a_preset_can_be_changed_and_switched_off(name: str) -> None:
    make_preset(name, replay={"window_seconds": 1000})
    body, headers = sent(name, at=int(time.time()) - 900)
    assert post(body, raw=True, headers=headers).status_code == 200
    body, headers = sent(name, at=int(time.time()) - 1100)
    assert post(body, raw=True, headers=headers).status_code == 401
    make_webhook({"preset": name.split()[0], "hmac": {"secret": PRESETS[name][0]}, "replay": {"enabled": False}},
                 webhook_key="wh_other")  # fmt: skip
    assert post(body, key="wh_other", raw=True, headers=headers).status_code == 200


@pytest.mark.parametrize("name", TIMED)
def test_captured_delivery_makes_no_event_under_another_name(name: str) -> None:
    make_preset(name)
    body, headers = sent(name)
    first = post(body, raw=True, headers=headers)
    again = post(body, raw=True, headers={**headers, "Idempotency-Key": "another", "X-GitHub-Delivery": "another"})
    assert again.json() == first.json()
    assert Event.objects.count() == 1


def test_retry_of_a_sender_is_signed_anew_and_known_by_its_id() -> None:
    make_preset("stripe")
    first = post(BODIES["stripe"], raw=True, headers=sent("stripe", at=int(time.time()) - 60)[1])
    again = post(BODIES["stripe"], raw=True, headers=sent("stripe")[1])
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"


def test_preset_holds_for_wrapped_bodies_too() -> None:
    make_preset("github")
    assert told(post(BODY)) == (401, "Signature required")
    assert post(BODY, headers=sent("github")[1]).status_code == 200
    assert Event.objects.get().payload == 1


def test_challenge_of_slack_is_given_back() -> None:
    make_preset("slack")
    body = b'{"type": "url_verification", "challenge": "3eZbrw1a", "token": "x"}'
    answer = post(body, raw=True, headers=senders.slack("hush", body, int(time.time())))
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1a"})
    assert told(post(body, raw=True)) == (401, "Signature required")
    assert Event.objects.count() == 0
    assert list(WebhookEventLog.objects.order_by("id").values_list("status_code", flat=True)) == [200, 401]


def test_challenge_is_an_event_to_everybody_else() -> None:
    make_webhook()
    assert "data" in post(b'{"type": "url_verification", "challenge": "x"}', raw=True).json()


# --- Replay and idempotency -------------------------------------------------------------------------------------


def test_signed_time_is_accepted_once() -> None:
    make_webhook({"hmac": {"secret": "hush"}, "replay": {"enabled": True}})
    headers = senders.timed("hush", WRAPPED, str(int(time.time())))
    first, again = (post(WRAPPED, headers=headers) for _ in range(2))
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    later = senders.timed("hush", WRAPPED, str(int(time.time()) + 1))
    assert post(WRAPPED, headers=later).json() != first.json()
    assert Event.objects.count() == 2


@pytest.mark.parametrize("value", [None, "", "soon", "0"])
def test_time_without_signatures(value: str | None) -> None:
    make_webhook({"replay": {"timestamp_header": "X-Sent"}})
    headers = {} if value is None else {"X-Sent": value}
    assert_refused(post(WRAPPED, headers=headers), 401, "Timestamp outside the allowed window")
    for text in (timezone.now().isoformat(), str(int(time.time()))):
        assert post(WRAPPED, headers={"X-Sent": text}).status_code == 200
    assert Event.objects.count() == 2


@pytest.mark.parametrize("place", [{"header": "X-Delivery-Id"}, {"path": "order.id"}])
def test_delivery_id_of_the_sender(place: dict[str, str]) -> None:
    make_webhook({"idempotency": place})

    def send(number: str, **more: Any) -> Any:
        return post_payload({"order": {"id": number}, **more}, headers={"X-Delivery-Id": number})

    first, again, other = send("1"), send("1", changed=True), send("2")

    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    assert other.json()["data"]["event_id"] != first.json()["data"]["event_id"]
    assert list(Event.objects.order_by("id").values_list("idempotency_key", flat=True)) == ["1", "2"]


def test_request_without_a_delivery_id_is_new() -> None:
    make_webhook({"idempotency": {"path": "id"}})
    for payload in ({}, {"id": None}, {"id": ""}, {"id": {}}, "x"):
        assert post_payload(payload).status_code == 200
    assert Event.objects.count() == 5


def test_same_key_and_content() -> None:
    make_webhook()
    first = post_payload({"a": 1, "b": 2}, headers={"Idempotency-Key": "k"})
    again = post(b'{ "idempotency_key": "k", "payload": {"b":2,"a":1} }')
    assert (again.status_code, again.json(), again["Idempotent-Replayed"]) == (200, first.json(), "true")
    assert Event.objects.count() == 1


@pytest.mark.parametrize("changed", [{"payload": 2}, {"payload": 1, "user_agent": "x"}])
def test_same_key_and_other_content(changed: dict[str, Any]) -> None:
    make_webhook()
    post_payload(1, headers={"Idempotency-Key": "k"})
    answer = post_payload(**changed, headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert Event.objects.count() == 1
    assert WebhookEventLog.objects.filter(status_code=422, idempotency_key="k").count() == 1


def test_key_of_a_raw_body() -> None:
    make_webhook()

    def send(body: bytes, query: str = "") -> Any:
        return post(body, raw=True, headers={"Idempotency-Key": "k"}, query=query)

    first = send(b'{"a": 1}')
    assert send(b'{ "a":1 }').json() == first.json()
    assert send(b'{"a": 2}').status_code == 422
    assert send(b'{"a": 1}', "?x=1").status_code == 422


def test_explicit_key_wins_over_the_delivery_id() -> None:
    make_webhook({"idempotency": {"header": "X-Delivery-Id"}})
    answers = [
        post_payload(1, headers={"X-Delivery-Id": "d", "Idempotency-Key": key}).json()["data"]["event_id"]
        for key in ("k1", "k2", "k1")
    ]
    assert answers[0] == answers[2] != answers[1]


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9"])
def test_key_that_is_none(key: str) -> None:
    make_webhook()
    assert post_payload(1, headers={"Idempotency-Key": key}).status_code == 400
    assert post_payload(1, idempotency_key=key).status_code == 400
    assert Event.objects.count() == 0


def test_two_keys() -> None:
    make_webhook()
    assert post_payload(1, headers={"Idempotency-Key": "a"}, idempotency_key="b").status_code == 400
    assert post_payload(1, headers={"Idempotency-Key": "a"}, idempotency_key="a").status_code == 200


def test_keys_of_triggers_are_apart() -> None:
    make_webhook()
    make_webhook(webhook_key="wh_other")
    for key in (KEY, "wh_other"):
        assert post(WRAPPED, key=key, headers={"Idempotency-Key": "k"}).status_code == 200
    assert Event.objects.count() == 2


def test_refused_request_leaves_no_key_behind() -> None:
    trigger = make_webhook({"hmac": {"secret": "hush"}})
    headers = {"Idempotency-Key": "k"}
    assert post(WRAPPED, headers={**headers, **senders.plain("other", WRAPPED)}).status_code == 401
    trigger.set(webhook_config={})
    assert post_payload("repaired", headers=headers).status_code == 200
    assert Event.objects.get().payload == "repaired"


def test_key_expires(settings: Any) -> None:
    settings.IDEMPOTENCY_TTL = timedelta(hours=2)
    make_webhook()
    post_payload(1, headers={"Idempotency-Key": "k"})
    record = IdempotencyRecord.objects.get()
    left = record.expires_at - timezone.now()
    assert abs(left - timedelta(hours=2)) < timedelta(minutes=1)
    IdempotencyRecord.objects.update(expires_at=timezone.now())
    assert post_payload(2, headers={"Idempotency-Key": "k"}).status_code == 200
    assert Event.objects.count() == 2


# --- What it costs ----------------------------------------------------------------------------------------------


def fill_log(trigger: Any) -> None:
    """Put good requests from many addresses there: a planner that sees a short table reads all of it."""
    columns = {"trigger": trigger, "trigger_ref": trigger.ref, "webhook_key": SHOWN_KEY, "status_code": 200}
    WebhookEventLog.objects.bulk_create(
        WebhookEventLog(**columns, source_ip=f"198.51.{number // 250}.{number % 250}") for number in range(3000)
    )


def plan_of(recorded: CaptureQueriesContext, word: str) -> str:
    """Return how the database runs the one SELECT of the request log that has this word in it."""
    (statement,) = (
        query["sql"]
        for query in recorded
        if query["sql"].startswith("SELECT") and "webhook_event_log" in query["sql"] and word in query["sql"]
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE webhook_event_log")
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if connection.vendor == 'sqlite' else ''}{statement}")
        return str(cursor.fetchall())


def test_count_of_the_rate_reads_an_index_of_its_own() -> None:
    fill_log(make_webhook({"rate_limit": {"requests": 1}}))
    post(WRAPPED)
    with CaptureQueriesContext(connection) as recorded:
        assert post(WRAPPED).status_code == 429
    assert "webhook_log_rate" in plan_of(recorded, "rate_limited")


def test_count_of_wrong_signatures_reads_an_index_of_its_own() -> None:
    fill_log(make_webhook({"hmac": {"secret": "hush"}}))
    with CaptureQueriesContext(connection) as recorded:
        post(WRAPPED)
    assert "webhook_log_unsigned" in plan_of(recorded, "hmac_verified")


def test_request_without_rate_and_key_takes_few_queries() -> None:
    make_webhook()
    with CaptureQueriesContext(connection) as recorded:
        post(WRAPPED)
    statements = [query["sql"] for query in recorded if "SAVEPOINT" not in query["sql"]]
    assert sum("webhook_event_log" in sql for sql in statements) == 1
    assert sum('FROM "trigger"' in sql for sql in statements) == 1
