"""Events over HTTP (events.md 2, api.md section 11)."""

import json
import logging
import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.api import contains
from apps.events.models import Event
from apps.events.secrets import real_payload
from apps.events.signals import event_stored
from apps.identity import sensor_tokens, tokens
from apps.identity.models import IdempotencyRecord
from tests.clients import anonymous, bearing, signed_in, with_execution_token
from tests.factories import (
    make_event,
    make_execution,
    make_identity,
    make_rule,
    make_sensor,
    make_trigger,
)

pytestmark = pytest.mark.django_db

EVENTS = "/api/v1/events"
SUMMARY = {
    "id", "trigger", "trigger_ref", "source", "source_ref", "rule", "rule_ref", "created", "replay_of",
    "correlation_id", "has_payload",
}  # fmt: skip
ALWAYS = (SUMMARY - {"has_payload"}) | {"config", "payload"}


def sensor_client(ref="shop.watch", *trigger_types):
    return bearing(sensor_tokens.issue(ref, trigger_types).token)


@pytest.fixture
def trigger(db):
    return make_trigger(ref="shop.order")


@pytest.fixture
def client(trigger):
    """What sends events: a sensor for any trigger."""
    return sensor_client()


def post(client, key=None, **body):
    header = {} if key is None else {"HTTP_IDEMPOTENCY_KEY": key}
    return client.post(EVENTS, {"trigger_ref": "shop.order", **body}, **header)


# --- Create -----------------------------------------------------------------------------------------------------


def test_an_event_of_an_unknown_sensor(client, trigger):
    answer = post(client, payload={"a": 1}, config={"b": [2]}, source="ignored", created="2000-01-01", id=77)

    assert (answer.status_code, set(answer.json())) == (201, {"data"})
    data = answer.json()["data"]
    event = Event.objects.get()
    assert set(data) == ALWAYS
    assert (data["id"], data["trigger"], data["trigger_ref"]) == (event.pk, trigger.pk, "shop.order")
    assert (data["payload"], data["config"]) == ({"a": 1}, {"b": [2]})
    assert (data["source"], data["source_ref"], data["rule"], data["rule_ref"]) == (None, "shop.watch", None, None)
    assert (data["replay_of"], data["correlation_id"]) == (None, str(event.correlation_id))
    assert signed_in().get(f"{EVENTS}/{event.pk}").json() == {"data": data}


def test_the_sensor_of_the_token_is_the_source(trigger):
    sensor = make_sensor(trigger, ref="shop.watch")

    data = post(sensor_client("shop.watch", "shop.order")).json()["data"]

    assert (data["source"], data["source_ref"]) == (sensor.pk, "shop.watch")


@pytest.mark.parametrize("kind", ["execution", "worker"])
def test_programs_of_other_kinds_have_no_source(trigger, kind):
    make_sensor(ref="worker.1")
    worker = tokens.mint(
        subject=1, login="worker.1", token_type="worker", lifetime_seconds=60, metadata={"worker_id": 1}
    )
    client = bearing(worker) if kind == "worker" else with_execution_token(make_execution())

    answer = post(client)

    assert answer.status_code == 201, answer.content
    assert (answer.json()["data"]["source"], answer.json()["data"]["source_ref"]) == (None, None)


@pytest.mark.parametrize(
    "payload",
    [
        None, {}, [], "", "text", 0, 1.5, -(2**62), False, True, [1, [2, None]], {"a": {"b": None}}, {"": ""},
        {"\u00e4\U0001f600": "\u2028"}, {"__class__": "{{ 1 }}"}, {"$attune_secret": True},
    ],
)  # fmt: skip
def test_payload_and_config_are_kept_verbatim(client, payload):
    data = post(client, payload=payload, config=payload).json()["data"]

    event = Event.objects.get()
    assert (data["payload"], data["config"], event.payload, event.config) == (payload,) * 4
    (row,) = signed_in().get(EVENTS).json()["data"]
    assert row["has_payload"] is (payload is not None)


def test_the_payload_is_not_checked_against_the_schema(client, trigger):
    trigger.set(out_schema={"n": {"type": "integer", "required": True}})

    assert post(client, payload={"n": "x"}).status_code == 201


def test_marker_in_the_place_of_a_secret_is_refused_and_in_an_edited_payload_keeps_it(client, trigger):
    trigger.set(out_schema={"token": {"type": "string", "secret": True}, "host": {"type": "string"}})
    old = post(client, payload={"token": "hush-hush", "host": "a"}).json()["data"]

    refused = post(client, payload=old["payload"])
    edited = {"payload": {**old["payload"], "host": "b"}}
    answer = signed_in().post(f"{EVENTS}/{old['id']}/replay", edited, format="json")

    assert (refused.status_code, refused.json()["details"][0]["field"]) == (422, "payload.token")
    assert answer.status_code == 201
    new = Event.objects.get(pk=answer.json()["data"]["id"])
    assert new.payload == {"token": {"$attune_secret": True, "redacted": True}, "host": "b"}
    assert real_payload(new) == {"token": "hush-hush", "host": "b"}


def test_the_other_name_of_the_trigger(client, trigger):
    other = make_trigger(ref="shop.other")

    by_alias = client.post(EVENTS, {"trigger_type": "shop.order"}).json()["data"]
    both = client.post(EVENTS, {"trigger_type": "shop.order", "trigger_ref": "shop.other"}).json()["data"]

    assert (by_alias["trigger"], both["trigger"]) == (trigger.pk, other.pk)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "VALIDATION_ERROR"),
        ({"trigger_ref": ""}, 422, "VALIDATION_ERROR"),
        ({"trigger_ref": None}, 422, "VALIDATION_ERROR"),
        ({"trigger_type": ""}, 422, "VALIDATION_ERROR"),
        ({"trigger_ref": ["shop.order"]}, 422, "VALIDATION_ERROR"),
        ({"trigger_ref": "shop.none"}, 404, "NOT_FOUND"),
        ({"trigger_ref": "x" * 100_000}, 404, "NOT_FOUND"),
        ({"trigger_ref": "shop.order", "rule_ref": 5}, 422, "VALIDATION_ERROR"),
        ({"trigger_ref": "shop.order", "idempotency_key": ""}, 422, "VALIDATION_ERROR"),
        ({"trigger_ref": "shop.order", "idempotency_key": "x" * 256}, 422, "VALIDATION_ERROR"),
        ([], 422, "VALIDATION_ERROR"),
        ("shop.order", 422, "VALIDATION_ERROR"),
    ],
)
def test_create_refuses(client, body, status, code):
    answer = client.post(EVENTS, body, format="json")

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 422), (b"{", 400), (b'{"trigger_ref": "shop.order", "payload": NaN}', 400),
        (b'{"trigger_ref": "shop.order", "payload": "\\u0000"}', 400),
        (b'{"trigger_ref": "shop.order", "payload": "\\ud800"}', 400),
        (b'{"trigger_ref": "shop.order", "payload": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
        (b'{"trigger_ref": "shop.order", "payload": "\xff"}', 400),
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(client, raw, status):
    assert client.generic("POST", EVENTS, raw, content_type="application/json").status_code == status
    assert not Event.objects.exists()


def test_a_body_above_the_limit_is_too_large(client, settings):
    settings.EVENT_MAX_PAYLOAD_BYTES = 1024
    fits = json.dumps({"trigger_ref": "shop.order", "payload": ""})
    fits = fits.replace('""', '"' + "x" * (1024 - len(fits)) + '"')

    answers = [
        client.generic("POST", EVENTS, raw.encode(), content_type="application/json") for raw in (fits, fits + " ")
    ]

    assert [answer.status_code for answer in answers] == [201, 413]
    assert answers[1].json() == {
        "error": "The request body is larger than 1 KiB", "code": "PAYLOAD_TOO_LARGE", "status": 413,
    }  # fmt: skip


def test_the_limit_is_a_mebibyte(client):
    assert post(client, payload="x" * (1024**2 - 100)).status_code == 201
    assert post(client, payload="x" * 1024**2).status_code == 413


def test_people_bring_no_events_in(trigger, client):
    answers = [post(signed_in()), post(signed_in(make_identity())), post(anonymous())]

    assert [answer.status_code for answer in answers] == [403, 403, 401]
    assert not Event.objects.exists()


def test_a_token_serves_its_triggers_only(trigger):
    make_trigger(ref="shop.other")
    client = sensor_client("shop.watch", "shop.other", "shop.gone")

    assert post(client).status_code == 403
    assert client.post(EVENTS, {"trigger_ref": "shop.other"}).status_code == 201
    assert client.post(EVENTS, {"trigger_ref": "shop.gone"}).status_code == 404


def test_a_disabled_trigger_keeps_its_events(client, trigger):
    trigger.set(enabled=False)

    assert post(client).status_code == 201


def test_storing_one_takes_few_queries(client):
    with CaptureQueriesContext(connection) as captured:
        assert post(client, payload={"a": 1}).status_code == 201

    asked = [query["sql"] for query in captured if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    # Whose token, trigger, sensor, the event, its rules; and once in a while what the flood control counts.
    assert len(asked) <= 6, asked


# --- Bound to a rule --------------------------------------------------------------------------------------------


def test_an_event_is_bound_by_id_or_ref(client, trigger):
    rule = make_rule(trigger=trigger, ref="shop.r")

    bodies = [
        {"trigger_instance_id": f"rule_{rule.pk}"}, {"trigger_instance_id": "rule_shop.r"}, {"rule_ref": "shop.r"},
        {"trigger_instance_id": "rule_999999", "rule_ref": "shop.r"}, {"trigger_instance_id": "x", "rule_ref": "shop.r"},
    ]  # fmt: skip
    found = [post(client, **body).json()["data"] for body in bodies]

    assert [(data["rule"], data["rule_ref"]) for data in found] == [(rule.pk, "shop.r")] * 5


@pytest.mark.parametrize(
    "body",
    [
        {"trigger_instance_id": ""}, {"trigger_instance_id": "rule_"}, {"trigger_instance_id": "rule_0"},
        {"trigger_instance_id": "rule_999999"}, {"trigger_instance_id": "rule_" + "9" * 5000},
        {"trigger_instance_id": "rule_\u0663"}, {"trigger_instance_id": "rule_-1"}, {"trigger_instance_id": "RULE_1"},
        {"trigger_instance_id": "rule_no.such"}, {"trigger_instance_id": "5"}, {"rule_ref": "no.such"},
        {"rule_ref": ""}, {"rule_ref": "shop.of_another"}, {"rule_ref": "x" * 1000}, {"rule_ref": "%s\n'; --"},
    ],
)  # fmt: skip
def test_what_binds_to_nothing_is_a_warning(client, body, caplog):
    make_rule(ref="shop.of_another")

    with caplog.at_level(logging.WARNING):
        data = post(client, **body).json()["data"]

    assert (data["rule"], data["rule_ref"]) == (None, None)
    assert "names no rule of trigger 'shop.order'" in caplog.text


def test_a_rule_that_does_not_fail_is_not_warned_of(client, trigger, caplog):
    make_rule(trigger=trigger, ref="shop.r")

    with caplog.at_level(logging.WARNING):
        post(client, rule_ref="shop.r")
        post(client)

    assert "names no rule" not in caplog.text


# --- Idempotency ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["header", "body"])
def test_the_same_key_gives_the_first_answer_again(client, where):
    named = {"key": "delivery-1"} if where == "header" else {"idempotency_key": "delivery-1"}

    first = post(client, payload={"a": 1, "b": 2}, **named)
    again = post(client, payload={"b": 2, "a": 1}, extra="ignored", **named)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert (first.get("Idempotent-Replayed"), again.get("Idempotent-Replayed")) == (None, "true")
    assert Event.objects.get().idempotency_key == "delivery-1"


def test_header_and_body_are_one_key_and_must_agree(client):
    first = post(client, key="k", idempotency_key="k")

    assert post(client, key="k").json() == first.json()
    assert post(client, idempotency_key="k").json() == first.json()
    refused = post(client, key="k", idempotency_key="other")
    assert (refused.status_code, refused.json()["code"]) == (400, "BAD_REQUEST")
    assert post(client, key="a b").status_code == 400
    assert Event.objects.count() == 1


@pytest.mark.parametrize("other", [{"payload": 2}, {"payload": 1, "config": 1}, {"payload": 1, "rule_ref": "a.b"}])
def test_another_event_under_the_same_key_is_refused(client, other):
    post(client, key="k", payload=1)

    answer = post(client, key="k", **other)

    assert (answer.status_code, answer.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert Event.objects.count() == 1


def test_keys_belong_to_trigger_and_token(client, trigger):
    make_trigger(ref="shop.other")

    answers = [
        post(client, key="k"),
        client.post(EVENTS, {"trigger_ref": "shop.other"}, HTTP_IDEMPOTENCY_KEY="k"),
        post(sensor_client("shop.second"), key="k"),
        post(with_execution_token(make_execution()), key="k"),
    ]

    assert [answer.get("Idempotent-Replayed") for answer in answers] == [None] * 4
    assert Event.objects.count() == 4


def test_a_renewed_token_has_the_keys_of_the_old_one(client):
    first = post(client, key="k")

    assert post(sensor_client(), key="k").json() == first.json()


def test_a_refused_request_leaves_no_key(client, trigger):
    client_of_other = sensor_client("shop.watch", "shop.x")

    refused = [post(client, key="k", rule_ref=5), post(client_of_other, key="k")]
    refused.append(client.post(EVENTS, {"trigger_ref": "shop.late"}, HTTP_IDEMPOTENCY_KEY="k"))

    assert [answer.status_code for answer in refused] == [422, 403, 404]
    assert not IdempotencyRecord.objects.exists()
    make_trigger(ref="shop.late")
    assert client.post(EVENTS, {"trigger_ref": "shop.late"}, HTTP_IDEMPOTENCY_KEY="k").status_code == 201


def test_how_long_a_key_lives_is_a_setting(client, settings):
    settings.IDEMPOTENCY_TTL = timedelta(hours=2)
    post(client, key="k")
    record = IdempotencyRecord.objects.get()

    left = record.expires_at - datetime.now(UTC)
    IdempotencyRecord.objects.update(expires_at=datetime.now(UTC) - timedelta(seconds=1))

    assert timedelta(hours=1, minutes=59) < left <= timedelta(hours=2)
    assert post(client, key="k", payload="other").status_code == 201
    assert Event.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_two_at_once_make_one_event():
    make_trigger(ref="shop.order")
    client, other = sensor_client(), sensor_client()
    begun, may_end, answers = threading.Event(), threading.Event(), []

    def slow(**_signal):
        begun.set()
        assert may_end.wait(60)

    def send():
        try:
            answers.append(post(client, key="k"))
        finally:
            connection.close()

    event_stored.connect(slow, weak=False, dispatch_uid="test")
    thread = threading.Thread(target=send)
    try:
        thread.start()
        assert begun.wait(60)
        meanwhile = post(other, key="k")
    finally:
        may_end.set()
        thread.join(60)
        event_stored.disconnect(dispatch_uid="test")

    assert (meanwhile.status_code, meanwhile.get("Retry-After")) == (409, "1")
    assert post(other, key="k").json() == answers[0].json()
    assert Event.objects.count() == 1


# --- Read -------------------------------------------------------------------------------------------------------


def ids(client, **params):
    answer = client.get(EVENTS, params)
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["data"]]


def test_list_is_newest_first_and_a_summary(api):
    events = [make_event() for _ in range(3)]

    answer = api.get(EVENTS).json()

    assert [row["id"] for row in answer["items"]] == [event.pk for event in reversed(events)]
    assert set(answer["data"][0]) == SUMMARY
    assert (answer["pagination"]["page_size"], answer["pagination"]["total_items"]) == (50, 3)


def test_a_thousand_per_page_is_honoured(api):
    assert api.get(EVENTS, {"per_page": 1000}).json()["pagination"]["effective_page_size"] == 1000
    assert api.get(EVENTS, {"page_size": 2000}).json()["pagination"]["effective_page_size"] == 1000
    assert "total_items" not in api.get(EVENTS, {"include_total": "false"}).json()["pagination"]


def test_a_cursor_goes_on_without_skips_or_repeats(api):
    trigger = make_trigger()
    made = [make_event(trigger=trigger).pk for _ in range(7)]

    first = api.get(EVENTS, {"per_page": 3}).json()
    make_event(trigger=trigger)
    second = api.get(EVENTS, {"per_page": 3, "cursor": first["pagination"]["next_cursor"]}).json()
    third = api.get(EVENTS, {"per_page": 3, "cursor": second["pagination"]["next_cursor"]}).json()

    assert [row["id"] for page in (first, second, third) for row in page["data"]] == made[::-1]
    assert third["pagination"]["next_cursor"] is None
    assert ids(api, before_id=made[2]) == made[:2][::-1]
    assert ids(api, order="asc", per_page=2) == made[:2]


def test_filters(api):
    trigger, other = make_trigger(ref="shop.order"), make_trigger(ref="shopping.cart")
    sensor = make_sensor(ref="shop.watch")
    rule = make_rule(trigger=trigger, ref="shop.r")
    wanted = make_event(
        trigger=trigger, source=sensor, source_ref="shop.watch", rule=rule.pk, rule_ref="shop.r", payload={"a": 1}
    )
    make_event(trigger=other, source_ref="webhook")

    for name, value in {
        "trigger": trigger.pk, "trigger_ref": "shop.order", "rule": rule.pk, "rule_ref": "shop.r", "source": sensor.pk,
        "source_ref": "shop.watch", "correlation_id": str(wanted.correlation_id), "payload_contains": '"A"',
    }.items():  # fmt: skip
        assert ids(api, **{name: value}) == [wanted.pk], name
    assert ids(api, trigger_ref="shop.*", source_ref="shop.*", rule_ref="shop.*") == [wanted.pk]
    assert ids(api, trigger_ref="shop.order", source_ref="webhook") == []
    assert ids(api, trigger=2**70, source=0) == []
    assert ids(api, correlation_id=str(uuid4())) == []
    assert len(ids(api, trigger="", trigger_ref="", payload_contains="", nonsense="1")) == 2


def test_time_ranges_tile(api):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    events = [make_event(created=noon + timedelta(hours=hour)) for hour in range(3)]

    assert ids(api, created_after="2026-03-01T13:00:00Z") == [events[2].pk, events[1].pk]
    assert ids(api, created_before="2026-03-01T13:00:00Z") == [events[0].pk]
    assert ids(api, created_after="2026-03-01", created_before="2026-03-02") == [event.pk for event in events[::-1]]


@pytest.mark.parametrize(
    "query",
    [
        "trigger=abc", "source=1.5", "rule=true", "created_after=tomorrow", "created_before=2026-13-01", "page=x",
        "correlation_id=1", "cursor=abc", "order=up", "include_total=maybe", "payload_contains=%00",
        "payload_contains=" + "x" * 1001,
    ],
)  # fmt: skip
def test_values_that_cannot_be_understood_are_bad_requests(api, query):
    answer = api.get(f"{EVENTS}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("text", ["needle", "NEEDLE", "m\u00e4rz", "M\u00c4RZ", 'a"b', "50%", "_x_", "\\d"])
def test_payload_contains_any_text_in_any_case(api, text):
    wanted = make_event(payload={"deep": [{"Needle": 'M\u00e4rz a"b 50% _x_ \\d'}]})
    make_event(payload={"deep": "needl e", "other": "50 yxy d"})
    make_event(config={"Needle": 'M\u00e4rz a"b 50% _x_ \\d'})

    assert ids(api, payload_contains=text) == [wanted.pk]


def test_payload_contains_looks_through_a_window(api, monkeypatch):
    monkeypatch.setattr(contains, "WINDOW", 3)
    trigger = make_trigger(ref="shop.order")
    found = [make_event(trigger=trigger, payload="needle").pk for _ in range(5)]
    make_event(payload="needle")

    body = api.get(EVENTS, {"payload_contains": "needle", "trigger_ref": "shop.order"}).json()

    assert [row["id"] for row in body["data"]] == found[:1:-1]
    assert body["pagination"]["window"] == 3
    assert "window" not in api.get(EVENTS).json()["pagination"]


@pytest.mark.parametrize("query", ["", "?trigger_ref=shop.*&per_page=1000", "?payload_contains=a", "?rule=1"])
def test_list_asks_as_much_for_one_row_as_for_many(api, query):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert api.get(EVENTS + query).status_code == 200
        return len(captured)

    sensor = make_sensor()
    trigger = make_trigger(ref="shop.order")
    make_event(trigger=trigger, source=sensor, payload="a", rule=1)
    few = queries()
    for _ in range(10):
        make_event(trigger=trigger, source=sensor, payload="a", rule=1)

    assert queries() == few <= 5


def test_a_page_reads_no_payloads(api):
    make_event(payload="x" * 100)

    with CaptureQueriesContext(connection) as captured:
        api.get(EVENTS)

    (page,) = [query["sql"] for query in captured if "LIMIT 51" in query["sql"]]
    columns = page.partition(" FROM ")[0].replace('"event"."payload" IS NOT NULL', "")
    assert '"payload"' not in columns
    assert '"config"' not in columns


@pytest.mark.parametrize(("row_id", "status"), [("0", 404), ("-1", 404), ("999999", 404), ("x", 400), ("1.5", 400)])
def test_an_event_that_is_none(api, row_id, status):
    assert api.get(f"{EVENTS}/{row_id}").status_code == status
    assert api.post(f"{EVENTS}/{row_id}/replay").status_code == status


def test_nothing_changes_or_deletes_an_event(api):
    event = make_event()

    answers = [getattr(api, method)(f"{EVENTS}/{event.pk}", {}) for method in ("put", "patch", "delete", "post")]

    assert [answer.status_code for answer in answers] == [405] * 4


def test_without_a_grant_nothing_is_seen_and_nothing_sent_again():
    event = make_event()
    client = signed_in(make_identity())

    assert client.get(EVENTS).json()["pagination"]["total_items"] == 0
    assert client.get(f"{EVENTS}/{event.pk}").status_code == 404
    assert client.post(f"{EVENTS}/{event.pk}/replay").status_code == 403
    assert Event.objects.count() == 1


# --- Replay -----------------------------------------------------------------------------------------------------


def test_replay_is_a_new_event_like_the_old_one(api, trigger):
    rule = make_rule(trigger=trigger)
    old = make_event(
        trigger=trigger, payload={"a": None}, config={"b": 1}, source_ref="webhook", rule=rule.pk, rule_ref=rule.ref,
        idempotency_key="k",
    )  # fmt: skip

    answer = api.post(f"{EVENTS}/{old.pk}/replay")

    data = answer.json()["data"]
    assert (answer.status_code, answer.json()["message"]) == (201, f"Event {old.pk} was sent again as {data['id']}")
    assert data["id"] > old.pk
    assert (data["trigger"], data["payload"], data["config"]) == (trigger.pk, {"a": None}, {"b": 1})
    assert (data["rule"], data["rule_ref"], data["replay_of"]) == (rule.pk, rule.ref, old.pk)
    assert data["correlation_id"] != str(old.correlation_id)
    assert Event.objects.get(pk=data["id"]).idempotency_key is None


def test_replay_with_another_payload_for_one_rule(api, trigger):
    rule = make_rule(trigger=trigger, ref="shop.r")
    old = make_event(trigger=trigger, payload={"a": 1})

    data = api.post(f"{EVENTS}/{old.pk}/replay", {"rule_ref": "shop.r", "payload": [], "reason": "try"}).json()["data"]

    assert (data["rule"], data["payload"]) == (rule.pk, [])
    assert api.post(f"{EVENTS}/{old.pk}/replay", {"payload": None}).json()["data"]["payload"] == {"a": 1}


@pytest.mark.parametrize(
    ("body", "status"),
    [({"rule_ref": "no.such"}, 422), ({"rule_ref": "shop.of_another"}, 422), ({"rule_ref": 1}, 422), ([], 422)],
)
def test_replay_refuses(api, trigger, body, status):
    make_rule(ref="shop.of_another")
    old = make_event(trigger=trigger)

    assert api.post(f"{EVENTS}/{old.pk}/replay", body, format="json").status_code == status
    assert Event.objects.count() == 1


def test_what_is_gone_or_disabled_takes_no_replay(api):
    off, gone, kept = make_trigger(enabled=False), make_trigger(), make_trigger()
    events = [make_event(trigger=off), make_event(trigger=gone), make_event(trigger=kept, rule_ref="shop.gone")]
    gone.delete()

    answers = [api.post(f"{EVENTS}/{event.pk}/replay") for event in events]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(409, "CONFLICT")] * 3
    assert answers[2].json()["error"].startswith("Rule 'shop.gone', which alone looked at it, is gone")


def test_replay_with_a_key_happens_once(api):
    old = make_event()

    first, again = (api.post(f"{EVENTS}/{old.pk}/replay", {}, HTTP_IDEMPOTENCY_KEY="k") for _ in range(2))

    assert again.json() == first.json()
    assert Event.objects.count() == 2


def test_an_execution_replays_with_the_grant(core_pack):
    old = make_event()
    execution = make_execution()

    assert with_execution_token(execution).post(f"{EVENTS}/{old.pk}/replay").status_code == 403
    assert with_execution_token(execution, "core.admin").post(f"{EVENTS}/{old.pk}/replay").status_code == 201
    assert sensor_client().post(f"{EVENTS}/{old.pk}/replay").status_code == 403
