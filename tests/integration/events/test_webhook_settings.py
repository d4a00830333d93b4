"""Switching webhooks on and off, their settings, and what is shown of the requests they got."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.events.models import Event, Trigger, WebhookEventLog
from tests import senders
from tests.clients import anonymous, signed_in, with_execution_token
from tests.factories import make_execution, make_identity, make_trigger
from tests.webhooks import KEY, make_webhook, post

pytestmark = pytest.mark.django_db

MARKER = {"$attune_secret": True, "redacted": True}
WRAPPED = b'{"payload": 1}'


@pytest.fixture
def client() -> Any:
    return signed_in()


def path_of(trigger: Trigger, verb: str = "") -> str:
    return f"/api/v1/triggers/{trigger.ref}/webhooks{verb}"


def put(client: Any, trigger: Trigger, **config: Any) -> Any:
    return client.put(path_of(trigger), {"webhook_config": config})


# --- On and off -------------------------------------------------------------------------------------------------


def test_enable_gives_a_key_and_keeps_it(client: Any) -> None:
    trigger = make_trigger()
    first = client.post(path_of(trigger, "/enable"))
    again = client.post(path_of(trigger, "/enable"))

    key = first.json()["data"]["webhook_key"]
    assert (first.status_code, first.json()["data"]["webhook_enabled"]) == (200, True)
    assert key.startswith("wh_")
    assert uuid.UUID(hex=key[3:]).hex == key[3:]
    assert again.json()["data"]["webhook_key"] == key
    assert post(WRAPPED, key=key).status_code == 200


def test_disable_kills_the_url_at_once(client: Any) -> None:
    trigger = make_webhook()
    answer = client.post(path_of(trigger, "/disable"))

    assert (answer.status_code, answer.json()["data"]["webhook_enabled"]) == (200, False)
    assert "webhook_key" not in answer.json()["data"]
    assert post(WRAPPED).status_code == 404
    trigger.refresh_from_db()
    assert trigger.webhook_key is None
    assert client.post(path_of(trigger, "/enable")).json()["data"]["webhook_key"] != KEY


def test_regenerate_kills_the_old_key_at_once(client: Any) -> None:
    trigger = make_webhook()
    key = client.post(path_of(trigger, "/regenerate")).json()["data"]["webhook_key"]

    assert key != KEY
    assert (post(WRAPPED).status_code, post(WRAPPED, key=key).status_code) == (404, 200)


def test_regenerate_needs_an_enabled_webhook(client: Any) -> None:
    assert client.post(path_of(make_trigger(), "/regenerate")).status_code == 400


def test_settings_outlive_the_switch(client: Any) -> None:
    trigger = make_trigger()
    put(client, trigger, payload_size_limit_kb=5)
    for verb in ("enable", "regenerate", "disable", "enable"):
        client.post(path_of(trigger, f"/{verb}"))
    assert client.get(path_of(trigger)).json()["data"]["webhook_config"] == {"payload_size_limit_kb": 5}


def test_settings_of_a_webhook(client: Any, settings: Any) -> None:
    settings.PUBLIC_API_URL = "https://attune.example.org"
    trigger = make_webhook({"hmac": {"secret": "hush"}})
    assert client.get(path_of(trigger)).json()["data"] == {
        "trigger_ref": trigger.ref,
        "webhook_enabled": True,
        "webhook_key": KEY,
        "url": f"https://attune.example.org/api/v1/webhooks/{KEY}",
        "webhook_config": {"hmac": {"secret": MARKER}},
    }
    assert client.get(path_of(make_trigger())).json()["data"]["url"] is None


# --- Changing settings ------------------------------------------------------------------------------------------


def test_sections_are_replaced_removed_and_kept(client: Any) -> None:
    trigger = make_trigger(webhook_config={"own": 1})
    put(client, trigger, payload_size_limit_kb=5, rate_limit={"requests": 5, "window_seconds": 10})
    answer = put(client, trigger, payload_size_limit_kb=None, raw={"plain_url": True})

    assert (answer.status_code, answer.json()["data"]["webhook_config"]) == (
        200,
        {
            "rate_limit": {"enabled": True, "requests": 5, "window_seconds": 10},
            "raw": {"enabled": True, "plain_url": True},
        },
    )
    assert answer.json()["message"] == "Webhook settings updated successfully"
    trigger.refresh_from_db()
    assert trigger.webhook_config["own"] == 1


def test_secret_is_write_only_and_the_marker_keeps_it(client: Any) -> None:
    trigger = make_webhook()
    answers = [
        put(client, trigger, hmac={"secret": "hush-hush", "algorithm": "sha512"}),
        put(client, trigger, hmac={"secret": MARKER, "algorithm": "sha1"}),
        client.get(path_of(trigger)),
        client.get(f"/api/v1/triggers/{trigger.ref}"),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert not any("hush-hush" in answer.content.decode() for answer in answers)
    assert answers[2].json()["data"]["webhook_config"]["hmac"] == {
        "enabled": True,
        "secret": MARKER,
        "algorithm": "sha1",
    }
    assert post(WRAPPED, headers=senders.plain("hush-hush", WRAPPED, algorithm="sha1")).status_code == 200


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"payload_size_limit_kb": 0}, "payload_size_limit_kb"),
    ({"payload_size_limit_kb": "5"}, "payload_size_limit_kb"),
    ({"payload_size_limit_kb": True}, "payload_size_limit_kb"),
    ({"unknown": 1}, "unknown"),
    ({"hmac": "hush"}, "hmac"),
    ({"hmac": {"secret": "x", "unknown": 1}}, "hmac.unknown"),
    ({"hmac": {"secret": ""}}, "hmac.secret"),
    ({"hmac": {"secret": 5}}, "hmac.secret"),
    ({"hmac": {"secret": MARKER}}, "hmac.secret"),
    ({"hmac": {"enabled": True}}, "hmac.secret"),
    ({"hmac": {"enabled": "yes", "secret": "x"}}, "hmac.enabled"),
    ({"hmac": {"secret": "x", "algorithm": "md5"}}, "hmac.algorithm"),
    ({"hmac": {"secret": "x", "header": "not a header"}}, "hmac.header"),
    ({"hmac": {"secret": "x", "previous_secret": "y"}}, "hmac.previous_secret_expires_at"),
    (
        {"hmac": {"secret": "x", "previous_secret": "y", "previous_secret_expires_at": "soon"}},
        "hmac.previous_secret_expires_at",
    ),
    ({"hmac": {"secret_key_ref": "core.secret"}}, "hmac.secret_key_ref"),
    ({"preset": "github"}, "hmac.secret"),
    ({"preset": "gitbuh", "hmac": {"secret": "x"}}, "preset"),
    ({"preset": "standard", "hmac": {"secret": "no base64!"}}, "hmac.secret"),
    ({"ip_whitelist": {"enabled": True}}, "ip_whitelist.ips"),
    ({"ip_whitelist": {"ips": "10.0.0.0/8"}}, "ip_whitelist.ips"),
    ({"ip_whitelist": {"ips": ["10.0.0.0/8", "10.0.0.0/33"]}}, "ip_whitelist.ips[1]"),
    ({"ip_whitelist": {"ips": [5]}}, "ip_whitelist.ips[0]"),
    ({"rate_limit": {}}, "rate_limit.requests"),
    ({"rate_limit": {"requests": 1.5}}, "rate_limit.requests"),
    ({"rate_limit": {"requests": 10**6}}, "rate_limit.requests"),
    ({"rate_limit": {"requests": 1, "window_seconds": "60"}}, "rate_limit.window_seconds"),
    ({"raw": {"enabled": 1}}, "raw.enabled"),
    ({"raw": []}, "raw"),
    ({"replay": {"window_seconds": 0}}, "replay.window_seconds"),
    ({"replay": {"window_seconds": 43201}}, "replay.window_seconds"),
    ({"replay": {"timestamp_header": ""}}, "replay.timestamp_header"),
    ({"idempotency": {}}, "idempotency.header"),
    ({"idempotency": {"header": "X-Id", "path": "id"}}, "idempotency.header"),
]


@pytest.mark.parametrize(("config", "field"), WRONG)
def test_wrong_settings_name_the_field(client: Any, config: dict[str, Any], field: str) -> None:
    trigger = make_trigger()
    answer = put(client, trigger, **config)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")
    assert f"webhook_config.{field}" in [detail["field"] for detail in answer.json()["details"]]
    trigger.refresh_from_db()
    assert trigger.webhook_config == {}


@pytest.mark.parametrize("body", [{}, {"webhook_config": None}, {"webhook_config": []}, {"webhook_config": "x"}])
def test_body_without_settings(client: Any, body: dict[str, Any]) -> None:
    assert client.put(path_of(make_trigger()), body).status_code == 422


def test_settings_that_switch_themselves_off(client: Any) -> None:
    answer = put(client, make_trigger(), rate_limit={"requests": 0}, hmac={"enabled": False})
    assert answer.status_code == 200


# --- Who may ----------------------------------------------------------------------------------------------------

ROUTES = [
    ("get", ""), ("put", ""), ("post", "/enable"), ("post", "/disable"), ("post", "/regenerate"), ("get", "/deliveries"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "verb"), ROUTES)
def test_management_takes_an_access_token_and_the_grant(method: str, verb: str) -> None:
    trigger = make_webhook()
    body = {"webhook_config": {}}
    others = [anonymous(), signed_in(make_identity()), with_execution_token(make_execution(), "core.admin")]
    statuses = [getattr(other, method)(path_of(trigger, verb), body).status_code for other in others]
    assert statuses == [401, 403, 403]
    trigger.refresh_from_db()
    assert (trigger.webhook_enabled, trigger.webhook_key) == (True, KEY)
    assert getattr(signed_in(), method)(path_of(trigger, verb), body).status_code == 200


@pytest.mark.parametrize(("method", "verb"), ROUTES)
def test_unknown_trigger(client: Any, method: str, verb: str) -> None:
    answer = getattr(client, method)(f"/api/v1/triggers/shop.none/webhooks{verb}", {"webhook_config": {}})
    assert (answer.status_code, answer.json()["error"]) == (404, "Trigger 'shop.none' not found")


# --- The request log --------------------------------------------------------------------------------------------


def test_deliveries_newest_first_with_filters(client: Any) -> None:
    trigger = make_webhook({"hmac": {"secret": "hush"}})
    other = make_webhook(webhook_key="wh_other")
    post(WRAPPED, key="wh_other")
    post(WRAPPED)
    event_id = post(WRAPPED, headers=senders.plain("hush", WRAPPED)).json()["data"]["event_id"]

    def statuses(query: str = "") -> list[int]:
        answer = client.get(path_of(trigger, f"/deliveries{query}"))
        assert answer.status_code == 200
        return [row["status_code"] for row in answer.json()["data"]]

    assert statuses() == [200, 401]
    assert statuses("?status_code=401") == [401]
    assert statuses(f"?event_id={event_id}") == [200]
    assert statuses("?created_after=2100-01-01") == []
    assert statuses("?created_before=2100-01-01&order=asc") == [401, 200]
    assert statuses("?per_page=1&page=2") == [401]
    assert client.get(path_of(other, "/deliveries")).json()["pagination"]["total_items"] == 1


@pytest.mark.parametrize("query", ["status_code=x", "status_code=5", "event_id=x", "created_after=x"])
def test_filters_that_cannot_be_read(client: Any, query: str) -> None:
    assert client.get(path_of(make_webhook(), f"/deliveries?{query}")).status_code == 400


def test_delivery_as_it_is_shown(client: Any) -> None:
    trigger = make_webhook({"ip_whitelist": {"ips": ["10.0.0.0/8"]}})
    post(WRAPPED, headers={"User-Agent": "curl", "Authorization": "Bearer hush"}, REMOTE_ADDR="203.0.113.7")
    (row,) = client.get(path_of(trigger, "/deliveries")).json()["data"]
    assert {name: row[name] for name in row if name not in ("id", "created", "processing_time_ms", "headers")} == {
        "trigger_id": trigger.pk,
        "trigger_ref": trigger.ref,
        "webhook_key": "wh_0123...cdef",
        "event_id": None,
        "source_ip": "203.0.113.7",
        "user_agent": "curl",
        "payload_size_bytes": 14,
        "hmac_verified": None,
        "rate_limited": False,
        "ip_allowed": False,
        "status_code": 403,
        "error_message": "This address may not send to this webhook",
    }
    assert sorted(row["headers"]) == ["content-length", "content-type", "user-agent"]


def test_log_goes_with_the_trigger_and_events_stay(client: Any) -> None:
    trigger = make_webhook()
    post(WRAPPED)
    assert client.delete(f"/api/v1/triggers/{trigger.ref}").status_code == 200
    assert WebhookEventLog.objects.count() == 0
    assert (Event.objects.get().trigger, Event.objects.get().trigger_ref) == (None, trigger.ref)
    assert post(WRAPPED).status_code == 404


# --- Alerts -----------------------------------------------------------------------------------------------------


def test_repeated_wrong_signatures_raise_one_alert_an_hour() -> None:
    make_trigger(ref="core.alert")
    trigger = make_webhook({"hmac": {"secret": "hush"}})
    alerts = Event.objects.filter(trigger_ref="core.alert")

    for _ in range(4):
        post(WRAPPED)
    assert alerts.count() == 0
    for _ in range(4):
        post(WRAPPED, headers=senders.plain("other", WRAPPED))

    # Ten requests may lie on both sides of a full hour.
    assert 1 <= alerts.count() <= 2
    payload = alerts.order_by("id")[0].payload
    assert (payload["severity"], payload["failure_type"]) == ("warning", "webhook_signature_failures")
    assert (payload["component_type"], payload["component_ref"]) == ("trigger", trigger.ref)
    assert KEY not in str(payload)


def test_old_wrong_signatures_raise_none() -> None:
    make_trigger(ref="core.alert")
    make_webhook({"hmac": {"secret": "hush"}})
    for _ in range(4):
        post(WRAPPED)
    WebhookEventLog.objects.update(created=timezone.now() - timedelta(minutes=11))
    post(WRAPPED)
    assert Event.objects.count() == 0
