"""The gate in front of every endpoint: who gets in, and with which words others do not (auth.md 1.2, 2)."""

import time
from datetime import timedelta

import jwt
import pytest
from django.conf import settings
from django.utils import timezone

from apps.identity import tokens
from apps.identity.callers import Caller
from apps.identity.models import Identity
from tests.clients import anonymous, bearing, signed_in, with_execution_token
from tests.factories import grant, make_admin, make_execution, make_identity, make_set

pytestmark = pytest.mark.django_db

ME = "/auth/me"


def refusal(answer):
    return answer.status_code, answer.json(), answer.get("WWW-Authenticate")


def gate(message):
    return 401, {"error": {"code": 401, "message": message}}, "Bearer"


def access_token(identity, **claims):
    now = int(time.time())
    payload = {"sub": str(identity.pk), "login": identity.login, "iat": now, "exp": now + 60, **claims}
    return jwt.encode(payload, settings.JWT_SECRET, algorithm="HS256")


def test_without_header_and_cookie_the_token_is_missing():
    assert refusal(anonymous().get(ME)) == gate("Missing authentication token")


def test_expired_token_is_told_apart():
    token = access_token(make_identity(), exp=int(time.time()) - 61)
    assert refusal(bearing(token).get(ME)) == gate("Authentication token expired")


def test_expired_token_within_the_leeway_is_good():
    token = access_token(make_identity(), exp=int(time.time()) - 30)
    assert bearing(token).get(ME).status_code == 200


def test_refresh_token_is_no_bearer():
    identity = make_identity()
    token = tokens.mint_refresh_token(identity.pk, identity.login)
    assert refusal(bearing(token).get(ME)) == gate("Invalid authentication token")


def test_token_with_another_secret_is_invalid():
    identity = make_identity()
    forged = jwt.encode(
        {"sub": str(identity.pk), "login": "x", "iat": int(time.time()), "exp": int(time.time()) + 60}, "x" * 64
    )
    assert refusal(bearing(forged).get(ME)) == gate("Invalid authentication token")


def test_cookie_is_looked_at_first():
    first, second = make_identity(login="first"), make_identity(login="second")
    client = signed_in(second)
    client.cookies["attune_access_token"] = access_token(first)
    assert client.get(ME).json()["data"]["login"] == "first"

    client.cookies["attune_access_token"] = "broken"
    assert refusal(client.get(ME)) == gate("Invalid authentication token")


def test_cookie_alone_is_enough():
    client = anonymous()
    client.cookies["attune_access_token"] = access_token(make_identity(login="anna"))
    assert client.get(ME).json()["data"]["login"] == "anna"


def test_access_token_of_a_deleted_identity():
    identity = make_identity()
    client = signed_in(identity)
    identity.delete()

    assert client.get(ME).json() == {"error": "Identity not found", "code": "NOT_FOUND", "status": 404}
    assert client.put(ME, {}).json() == {"error": "Identity not found", "code": "UNAUTHORIZED", "status": 401}


def test_frozen_identity_is_refused_with_its_next_request():
    identity = make_identity()
    client = signed_in(identity)
    assert client.get(ME).status_code == 200

    Identity.objects.filter(pk=identity.pk).update(frozen=True)

    assert client.get(ME).json() == {"error": "Identity is frozen", "code": "FORBIDDEN", "status": 403}


def test_gate_takes_one_query(django_assert_num_queries):
    client = signed_in(make_admin())
    with django_assert_num_queries(1):
        client.post("/auth/sensor-token", {})


# --- Foreign pages ----------------------------------------------------------------------------------------------


@pytest.fixture
def browser():
    client = anonymous()
    client.cookies["attune_access_token"] = access_token(make_identity())
    return client


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://testserver.evil.example", "https://testserver", ""]
)
def test_write_with_a_cookie_from_a_foreign_origin_is_forbidden(browser, origin):
    answer = browser.put(ME, {"display_name": "x"}, HTTP_ORIGIN=origin)
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert len(answer["X-Request-Id"]) == 36


@pytest.mark.parametrize("origin", ["http://testserver", "http://localhost:3000", "http://127.0.0.1:5173"])
def test_write_with_a_cookie_from_a_known_origin_is_fine(browser, origin):
    assert browser.put(ME, {"display_name": "x"}, HTTP_ORIGIN=origin).status_code == 200


def test_own_origin_behind_a_proxy_with_tls_is_known(browser):
    headers = {"HTTP_X_FORWARDED_PROTO": "https", "REMOTE_ADDR": "10.0.0.1", "HTTP_ORIGIN": "https://testserver"}
    assert browser.put(ME, {}, **headers).status_code == 200
    assert browser.put(ME, {}, **{**headers, "REMOTE_ADDR": "198.51.100.7"}).status_code == 403


def test_reads_header_tokens_and_requests_without_origin_are_not_checked(browser):
    evil = {"HTTP_ORIGIN": "http://evil.example"}
    assert browser.get(ME, **evil).status_code == 200
    assert browser.put(ME, {}).status_code == 200
    assert signed_in().put(ME, {}, **evil).status_code == 200


def test_refresh_by_cookie_checks_the_origin_too():
    identity = make_identity()
    client = anonymous()
    client.cookies["attune_refresh_token"] = tokens.mint_refresh_token(identity.pk, identity.login)
    assert client.post("/auth/refresh", HTTP_ORIGIN="http://evil.example").status_code == 403


def test_cors_names_origin_methods_and_headers():
    preflight = anonymous().options(
        ME, HTTP_ORIGIN="http://localhost:5173", HTTP_ACCESS_CONTROL_REQUEST_METHOD="PUT",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization, idempotency-key",
    )  # fmt: skip
    assert preflight.status_code == 200
    assert preflight["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert preflight["Access-Control-Allow-Credentials"] == "true"
    assert set(preflight["Access-Control-Allow-Methods"].split(", ")) == {
        "GET",
        "POST",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
    }
    assert set(preflight["Access-Control-Allow-Headers"].split(", ")) == {
        "authorization", "content-type", "accept", "idempotency-key", "last-event-id", "range", "x-request-id"
    }  # fmt: skip


def test_pages_of_known_origins_may_read_the_headers_that_the_contract_names():
    answer = anonymous().get("/auth/settings", HTTP_ORIGIN="http://localhost:5173")
    assert set(answer["Access-Control-Expose-Headers"].split(", ")) >= {
        "x-request-id", "idempotent-replayed", "retry-after", "content-disposition", "content-range", "etag",
        "x-log-size", "x-log-offset", "x-log-next-offset", "x-log-complete", "x-log-truncated", "x-log-dropped-bytes",
    }  # fmt: skip


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3001.evil.example", "https://localhost:3000"]
)
def test_cors_is_silent_for_other_origins(origin):
    assert "Access-Control-Allow-Origin" not in anonymous().get(ME, HTTP_ORIGIN=origin)


# --- Execution tokens -------------------------------------------------------------------------------------------


def test_execution_token_speaks_for_its_executor_with_the_rights_it_names():
    admin = make_admin()
    execution = make_execution(executor=admin, epoch=1, status="running")

    plain = with_execution_token(execution).get(ME).json()["data"]
    mighty = with_execution_token(execution, "core.admin").get(ME)

    assert (plain["login"], plain["effective_permissions"]) == (admin.login, [])
    assert mighty.status_code == 200


def test_execution_token_names_all_sets_that_do_not_exist():
    make_admin()
    execution = make_execution(epoch=1, status="running")
    answer = with_execution_token(execution, "core.admin", "no.b", "no.a", "standard").get(ME)
    assert answer.status_code == 403
    assert answer.json()["error"] == "Permission sets do not exist: no.a, no.b"


def test_execution_token_of_another_epoch_is_invalid():
    execution = make_execution(epoch=2, status="running")
    assert refusal(with_execution_token(execution, epoch=1).get(ME)) == gate("Invalid authentication token")
    assert with_execution_token(execution).get(ME).status_code == 200


def test_execution_token_outlives_its_execution_by_a_minute():
    just_ended = make_execution(epoch=1, status="completed", finished_at=timezone.now() - timedelta(seconds=50))
    long_ended = make_execution(epoch=1, status="completed", finished_at=timezone.now() - timedelta(seconds=70))

    assert with_execution_token(just_ended).get(ME).status_code == 200
    assert refusal(with_execution_token(long_ended).get(ME)) == gate("Invalid authentication token")


def test_execution_token_of_an_execution_that_is_gone_is_invalid():
    execution = make_execution(epoch=1, status="running")
    client = with_execution_token(execution)
    execution.delete()
    assert refusal(client.get(ME)) == gate("Invalid authentication token")


def test_execution_token_without_epoch_lives_by_its_expiry():
    admin = make_admin()
    token = tokens.mint(
        subject=admin.pk, login="execution:1", token_type="execution", lifetime_seconds=60,
        scope="execution", metadata={"execution_id": 999_999, "permission_set_refs": []},
    )  # fmt: skip
    assert bearing(token).get(ME).status_code == 200


def test_execution_token_of_a_frozen_executor_goes_on():
    execution = make_execution(executor=make_identity(frozen=True), epoch=1, status="running")
    assert with_execution_token(execution).get(ME).status_code == 200


def test_execution_token_of_a_deleted_executor_goes_on_for_the_system():
    execution = make_execution(executor=make_identity(), epoch=1, status="running")
    client = with_execution_token(execution, make_set(grant("actions:read")).ref)
    execution.executor.delete()

    me = client.get(ME)

    assert (me.status_code, me.json()["data"]["login"]) == (200, "system")
    assert [each["resource"] for each in me.json()["data"]["effective_permissions"]] == ["actions"]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"execution_id": "7"},
        {"execution_id": 0},
        {"execution_id": True},
        {"execution_id": 2**63},
        {"execution_id": 7, "permission_set_refs": "core.admin"},
        {"execution_id": 7, "permission_set_refs": [1]},
        {"execution_id": 7, "epoch": "1"},
    ],
)
def test_execution_token_with_metadata_of_another_form_is_invalid(metadata):
    token = tokens.mint(subject=1, login="execution:7", token_type="execution", lifetime_seconds=60, metadata=metadata)
    assert refusal(bearing(token).get(ME)) == gate("Invalid authentication token")


def test_profile_and_password_need_an_access_token():
    client = with_execution_token(make_execution(epoch=1, status="running"), "standard")
    assert client.put(ME, {"display_name": "x"}).status_code == 403
    assert (
        client.post("/auth/change-password", {"current_password": "x", "new_password": "12345678"}).status_code == 403
    )


@pytest.mark.parametrize("token_type", ["sensor", "worker"])
def test_sensor_and_worker_tokens_are_not_admitted(token_type):
    token = tokens.mint(
        subject=make_identity().pk, login="x", token_type=token_type, lifetime_seconds=60, metadata={"worker_id": 1}
    )
    answer = bearing(token).get(ME)
    assert (answer.status_code, answer.json()["error"]) == (403, f"Not admitted here: a token of type {token_type}")


def test_administrators_do_not_decrypt_what_executions_keep_secret():
    caller = Caller(holder=make_admin(), token_type="access", login="root")
    assert caller.allows("executions:read")
    assert not caller.allows("executions:decrypt")
    assert not caller.allows("enforcements:decrypt")
