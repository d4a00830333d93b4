"""Tokens of sensors (auth.md 2.6, 2.7; api.md section 3)."""

from datetime import UTC, datetime

import pytest

from apps.identity import sensor_tokens, tokens
from apps.identity.models import Identity
from tests.clients import anonymous, bearing, signed_in, with_execution_token
from tests.factories import make_execution, make_identity, make_trigger

pytestmark = pytest.mark.django_db

OURS, INTERNAL = "/auth/sensor-token", "/auth/internal/sensor-token"
SHOWN = "supervisors-only"


@pytest.fixture
def trigger():
    return make_trigger(ref="shop.order")


def body(**changes):
    return {"sensor_ref": "shop.watch", "trigger_types": ["shop.order"], **changes}


def seconds_left(data):
    return datetime.fromisoformat(data["expires_at"]).timestamp() - datetime.now(UTC).timestamp()


# --- Over the bearer --------------------------------------------------------------------------------------------


def test_an_administrator_gets_a_token_of_a_sensor_that_need_not_exist(api, trigger):
    answer = api.post(OURS, body())

    data = answer.json()["data"]
    assert (answer.status_code, set(data)) == (
        200, {"identity_id", "sensor_ref", "token", "expires_at", "trigger_types"},
    )  # fmt: skip
    identity = Identity.objects.get(login="sensor:shop.watch")
    assert (data["identity_id"], data["sensor_ref"], data["trigger_types"]) == (
        identity.pk, "shop.watch", ["shop.order"],
    )  # fmt: skip
    assert (identity.password_hash, identity.assignments.count()) == (None, 0)
    claims = tokens.read(data["token"])
    assert (claims.subject, claims.login, claims.token_type, claims.scope) == (
        identity.pk, "shop.watch", "sensor", "sensor",
    )  # fmt: skip
    assert claims.metadata == {"trigger_types": ["shop.order"]}
    assert claims.expires_at - claims.issued_at == 86_400
    assert 86_300 < seconds_left(data) <= 86_400


def test_its_identity_is_made_once(api, trigger):
    ids = {api.post(OURS, body()).json()["data"]["identity_id"] for _ in range(3)}

    assert len(ids) == 1


@pytest.mark.parametrize("seconds", [3_600, 259_200])
def test_lifetime_on_request(api, trigger, seconds):
    claims = tokens.read(api.post(OURS, body(ttl_seconds=seconds)).json()["data"]["token"])

    assert claims.expires_at - claims.issued_at == seconds


@pytest.mark.parametrize(
    "changes",
    [
        {"sensor_ref": ""}, {"sensor_ref": None}, {"sensor_ref": "x" * 256}, {"sensor_ref": 5}, {"trigger_types": []},
        {"trigger_types": None}, {"trigger_types": "shop.order"}, {"trigger_types": [1]}, {"trigger_types": [""]},
        {"trigger_types": [None]}, {"trigger_types": ["x"] * 1001}, {"ttl_seconds": 3_599}, {"ttl_seconds": 259_201},
        {"ttl_seconds": "3600"}, {"ttl_seconds": 3600.5},
    ],
)  # fmt: skip
def test_bad_requests(api, settings, changes):
    settings.INTERNAL_TOKEN = SHOWN

    answers = [
        api.post(OURS, body(**changes)),
        anonymous().post(INTERNAL, body(**changes), HTTP_X_ATTUNE_INTERNAL_TOKEN=SHOWN),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(422, "VALIDATION_ERROR")] * 2
    assert not Identity.objects.filter(login__startswith="sensor:").exists()


def test_it_takes_the_grant_to_change_each_trigger(trigger):
    stranger = signed_in(make_identity())
    execution = make_execution()

    refused = [
        stranger.post(OURS, body()),
        stranger.post(OURS, body(trigger_types=["no.such"])),
        with_execution_token(execution).post(OURS, body()),
    ]

    assert [answer.status_code for answer in refused] == [403] * 3
    assert refused[0].json()["error"] == "Insufficient permissions: triggers:update"
    assert with_execution_token(execution, "core.admin").post(OURS, body()).status_code == 403  # there is no such set


def test_an_execution_with_the_grant_gets_one(core_pack, trigger):
    client = with_execution_token(make_execution(), "core.admin")

    assert client.post(OURS, body(trigger_types=["shop.order", "no.such"])).status_code == 200


def test_no_other_token_gets_one(trigger):
    worker = tokens.mint(
        subject=1, login="worker:1", token_type="worker", lifetime_seconds=60, metadata={"worker_id": 1}
    )

    assert bearing(worker).post(OURS, body()).status_code == 403
    assert anonymous().post(OURS, body()).status_code == 401


# --- Renewal ----------------------------------------------------------------------------------------------------


def test_a_sensor_renews_its_own_token_for_no_more_triggers(trigger):
    own = sensor_tokens.issue("shop.watch", ["shop.order", "shop.refund"])
    client = bearing(own.token)

    renewed = client.post(OURS, body())

    assert (renewed.status_code, renewed.json()["data"]["identity_id"]) == (200, own.identity_id)
    fewer = bearing(renewed.json()["data"]["token"])
    assert fewer.post(OURS, body(trigger_types=["shop.refund"])).status_code == 403
    assert client.post(OURS, body(sensor_ref="shop.other")).status_code == 403
    assert client.post(OURS, body(trigger_types=["shop.order", "core.alert"])).status_code == 403


def test_a_token_without_a_list_serves_every_trigger(trigger):
    client = bearing(sensor_tokens.issue("shop.watch", []).token)

    assert client.post(OURS, body(trigger_types=["core.alert"])).status_code == 200


def test_a_frozen_sensor_is_out_at_once(trigger):
    own = sensor_tokens.issue("shop.watch", ["shop.order"])
    Identity.objects.filter(pk=own.identity_id).update(frozen=True)

    assert bearing(own.token).post(OURS, body()).status_code == 403
    Identity.objects.filter(pk=own.identity_id).delete()
    assert bearing(own.token).post(OURS, body()).status_code == 401


def test_a_ref_as_long_as_a_ref_may_be_has_an_identity(api):
    ref = f"shop.{'x' * 250}"

    first = api.post(OURS, body(sensor_ref=ref)).json()["data"]
    second = api.post(OURS, body(sensor_ref=ref)).json()["data"]

    assert first["sensor_ref"] == ref
    assert first["identity_id"] == second["identity_id"]
    assert bearing(first["token"]).get("/api/v1/sensors/" + ref).status_code == 404


# --- For supervisors --------------------------------------------------------------------------------------------


def test_a_supervisor_shows_the_internal_token(settings):
    settings.INTERNAL_TOKEN = SHOWN

    answer = anonymous().post(INTERNAL, body(), HTTP_X_ATTUNE_INTERNAL_TOKEN=SHOWN)

    assert answer.status_code == 200
    assert tokens.read(answer.json()["data"]["token"]).login == "shop.watch"


@pytest.mark.parametrize("given", [None, "", "wrong", SHOWN + "x", SHOWN[:-1], "\u00e9", "x" * 10_000])
def test_another_internal_token_is_refused(settings, given):
    settings.INTERNAL_TOKEN = SHOWN
    header = {} if given is None else {"HTTP_X_ATTUNE_INTERNAL_TOKEN": given}

    answers = [client.post(INTERNAL, body(), **header) for client in (anonymous(), signed_in())]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(401, "UNAUTHORIZED")] * 2
    assert not Identity.objects.filter(login__startswith="sensor:").exists()


def test_none_configured_is_not_found(settings):
    settings.INTERNAL_TOKEN = None

    assert anonymous().post(INTERNAL, body(), HTTP_X_ATTUNE_INTERNAL_TOKEN="").status_code == 404


# --- What it admits ---------------------------------------------------------------------------------------------


def test_a_sensor_reaches_its_few_routes_and_no_others(trigger):
    client = bearing(sensor_tokens.issue("shop.watch", ["shop.order"]).token)

    assert client.get("/api/v1/triggers/shop.order").status_code == 200
    assert client.post("/api/v1/events", {"trigger_ref": "shop.order"}).status_code == 201
    refused = [
        client.get(path)
        for path in (
            "/api/v1/triggers", "/api/v1/triggers/enabled", "/api/v1/triggers/shop.order/sensors", "/api/v1/events",
            "/api/v1/events/1", "/api/v1/actions", "/api/v1/packs", "/api/v1/executions", "/auth/me",
            "/api/v1/packs/shop/triggers", "/api/v1/packs/shop/sensors",
        )
    ]  # fmt: skip
    refused += [client.post("/api/v1/triggers", {}), client.post("/api/v1/triggers/shop.order/disable")]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
