"""Integration tokens: made, used, ended (auth.md 2.5, api.md sections 3 and 20)."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone

from apps.identity import tokens
from apps.identity.models import IdempotencyRecord, Identity, IntegrationToken
from tests.clients import anonymous, bearing, signed_in, with_execution_token
from tests.factories import grant, make_admin, make_execution, make_holder, make_identity

pytestmark = pytest.mark.django_db

LOGIN, REFRESH = "/auth/token-login", "/auth/refresh"
INVALID = {"error": "Invalid token", "code": "UNAUTHORIZED", "status": 401}


@pytest.fixture
def anna():
    return make_holder("core.viewer", login="anna", display_name="Anna")


@pytest.fixture
def admin():
    return make_admin(login="admin")


@pytest.fixture
def client(admin):
    return signed_in(admin)


def at(identity, *rest):
    return "/".join([f"/api/v1/identities/{identity.pk}/integration-tokens", *map(str, rest)])


def make(client, identity, **body):
    answer = client.post(at(identity), {"label": "ci", **body})
    assert answer.status_code == 201, answer.content
    return answer.json()["data"]


def log_in(secret, **headers):
    return anonymous().post(LOGIN, {"token": secret}, **headers)


def refresh(token, **headers):
    return anonymous().post(REFRESH, {"refresh_token": token}, **headers)


def error(answer):
    return answer.status_code, answer.json()["code"]


# --- Made -------------------------------------------------------------------------------------------------------


def test_secret_is_shown_once_and_kept_as_its_hash(client, admin, anna):
    answer = client.post(at(anna), {"label": "ci", "description": "builds"}).json()

    secret, shown = answer["data"]["token"], answer["data"]["integration_token"]
    token = IntegrationToken.objects.get()
    assert re.fullmatch(r"attune_it_[A-Za-z0-9_-]{43,}", secret)
    assert token.token_hash == hashlib.sha256(secret.encode()).hexdigest()
    assert shown == {
        "id": token.pk, "identity_id": anna.pk, "label": "ci", "description": "builds", "token_prefix": secret[:14],
        "token_suffix": secret[-4:], "created_by": admin.pk, "expires_at": None, "last_used_at": None,
        "last_used_ip": None, "revoked_at": None, "revoked_by": None, "revocation_reason": None, "active": True,
        "created": shown["created"], "updated": shown["updated"],
    }  # fmt: skip
    assert datetime.fromisoformat(shown["created"]) <= datetime.now(UTC)
    assert client.get(at(anna)).json() == {"data": [shown]}
    assert secret not in json.dumps([*IntegrationToken.objects.values()], default=str)


def test_tokens_are_listed_newest_first(client, anna, django_assert_num_queries):
    make(client, make_identity())
    labels = [make(client, anna, label=f"t{number}")["integration_token"]["label"] for number in range(3)]
    with django_assert_num_queries(4):  # who, what they may, the identity, its tokens
        shown = client.get(at(anna)).json()["data"]
    assert [token["label"] for token in shown] == labels[::-1]


def test_end_in_the_future_is_kept(client, anna):
    ends = timezone.now() + timedelta(days=1)
    shown = make(client, anna, expires_at=ends.isoformat())["integration_token"]
    assert datetime.fromisoformat(shown["expires_at"]) == ends
    assert shown["active"] is True


@pytest.mark.parametrize("ends", ["2020-01-01T00:00:00Z", "2020-01-01", "0001-01-01T00:00:00Z"])
def test_end_in_the_past_is_a_bad_request(client, anna, ends):
    assert error(client.post(at(anna), {"label": "ci", "expires_at": ends})) == (400, "BAD_REQUEST")
    assert not IntegrationToken.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {}, {"label": ""}, {"label": "  "}, {"label": "x" * 256}, {"label": 5}, {"label": None},
        {"label": "ci", "description": "x" * 2001}, {"label": "ci", "description": 5},
        {"label": "ci", "expires_at": "tomorrow"}, {"label": "ci", "expires_at": 4102444800},
        {"label": "ci", "expires_at": "9999-12-31T23:59:59-23:59"}, [], "x",
    ],
)  # fmt: skip
def test_bodies_of_another_form_are_refused(client, anna, body):
    assert error(client.post(at(anna), body)) == (422, "VALIDATION_ERROR")
    assert not IntegrationToken.objects.exists()


def test_nothing_else_is_taken_from_a_body(client, anna, admin):
    given = {
        "id": 4711, "identity_id": admin.pk, "token": "attune_it_mine", "token_hash": "x", "created_by": anna.pk,
        "token_prefix": "p", "last_used_ip": "x", "revoked_at": "2020-01-01T00:00:00Z", "active": False,
    }  # fmt: skip
    made = make(client, anna, **given)
    token = IntegrationToken.objects.get()
    assert (token.identity_id, token.created_by_id, token.revoked_at) == (anna.pk, admin.pk, None)
    assert made["token"] != "attune_it_mine"
    assert log_in("attune_it_mine").status_code == 401


def test_repeat_with_an_idempotency_key_shows_the_secret_and_keeps_none(client, anna):
    first = client.post(at(anna), {"label": "ci"}, HTTP_IDEMPOTENCY_KEY="k")
    again = client.post(at(anna), {"label": "ci"}, HTTP_IDEMPOTENCY_KEY="k")

    assert (again["Idempotent-Replayed"], again.json()) == ("true", first.json())
    assert IntegrationToken.objects.count() == 1
    secret = first.json()["data"]["token"]
    assert secret not in json.dumps([*IdempotencyRecord.objects.values()], default=str)


def test_repeat_whose_answer_cannot_be_read_any_more_is_a_conflict(client, anna, settings):
    client.post(at(anna), {"label": "ci"}, HTTP_IDEMPOTENCY_KEY="k")
    settings.ENCRYPTION_KEY, settings.ENCRYPTION_PREVIOUS_KEYS = "another key of thirty-two characters", []
    assert client.post(at(anna), {"label": "ci"}, HTTP_IDEMPOTENCY_KEY="k").status_code == 409
    assert IntegrationToken.objects.count() == 1


def test_grants_of_reading_and_changing_identities_decide(anna):
    reader, writer = (signed_in(make_holder(grant(name))) for name in ("identities:read", "identities:update"))
    token = IntegrationToken.objects.create(identity=anna, label="t", token_hash="h")
    bot = make_identity()

    assert reader.get(at(anna)).status_code == 200
    assert writer.get(at(anna)).status_code == 403
    assert reader.get("/api/v1/identities/999999/integration-tokens").status_code == 404
    assert writer.get("/api/v1/identities/999999/integration-tokens").status_code == 403
    assert reader.post(at(bot), {"label": "l"}).status_code == 403
    assert reader.post(at(anna, token.pk, "revoke"), {}).status_code == 403
    assert reader.delete(at(anna, token.pk)).status_code == 403
    assert writer.post(at(bot), {"label": "l"}).status_code == 201
    assert writer.post(at(anna, token.pk, "revoke"), {}).status_code == 200
    assert writer.delete(at(anna, token.pk)).status_code == 200


# --- Used -------------------------------------------------------------------------------------------------------


def test_secret_signs_in_as_its_identity(client, anna):
    secret = make(client, anna)["token"]

    answer = log_in(secret, REMOTE_ADDR="198.51.100.7")

    data = answer.json()["data"]
    assert answer.status_code == 200
    assert set(data) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert data["user"] == {"id": anna.pk, "login": "anna", "display_name": "Anna"}
    assert not answer.cookies
    assert bearing(data["access_token"]).get("/auth/me").json()["data"]["login"] == "anna"
    token = IntegrationToken.objects.get()
    assert token.last_used_ip == "198.51.100.7"
    assert timezone.now() - token.last_used_at < timedelta(minutes=1)
    access, kept = (
        jwt.decode(data[name], django_settings.JWT_SECRET, algorithms=["HS256"])
        for name in ("access_token", "refresh_token")
    )
    assert (access["sub"], access["token_type"], "scope" in access, "metadata" in access) == (
        str(anna.pk), "access", False, False,
    )  # fmt: skip
    assert (kept["sub"], kept["login"], kept["token_type"], kept["scope"]) == (
        str(token.pk), "anna", "refresh", "integration_token",
    )  # fmt: skip
    assert kept["metadata"] == {
        "identity_id": anna.pk, "integration_token_id": token.pk, "auth_method": "integration_token"
    }  # fmt: skip
    assert kept["exp"] - kept["iat"] == 604800


def test_refresh_gives_two_tokens_again_and_again(client, anna):
    first = log_in(make(client, anna)["token"]).json()["data"]["refresh_token"]
    IntegrationToken.objects.update(last_used_at=None, last_used_ip=None)

    data = refresh(first, REMOTE_ADDR="198.51.100.8").json()["data"]

    assert set(data) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert bearing(data["access_token"]).get("/auth/me").status_code == 200
    assert refresh(data["refresh_token"]).status_code == 200
    assert refresh(first).status_code == 200
    assert IntegrationToken.objects.get().last_used_at is not None
    assert tokens.read(data["refresh_token"]).scope == "integration_token"


def test_refresh_by_cookie_works_too(client, anna):
    browser = anonymous()
    browser.cookies["attune_refresh_token"] = log_in(make(client, anna)["token"]).json()["data"]["refresh_token"]
    answer = browser.post(REFRESH)
    assert answer.status_code == 200
    assert tokens.read(answer.cookies["attune_refresh_token"].value).scope == "integration_token"


def ended(how, token, client):
    match how:
        case "revoked":
            assert client.post(at(token.identity, token.pk, "revoke"), {}).status_code == 200
        case "deleted":
            assert client.delete(at(token.identity, token.pk)).status_code == 200
        case "expired":
            IntegrationToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "frozen":
            Identity.objects.filter(pk=token.identity_id).update(frozen=True)
        case "identity deleted":
            token.identity.delete()


@pytest.mark.parametrize("how", ["revoked", "deleted", "expired", "frozen", "identity deleted"])
def test_both_ways_end_with_the_token(client, anna, how):
    secret = make(client, anna)["token"]
    kept = log_in(secret).json()["data"]["refresh_token"]

    ended(how, IntegrationToken.objects.get(), client)

    assert (log_in(secret).status_code, log_in(secret).json()) == (401, INVALID)
    if how == "frozen":
        assert refresh(kept).json() == {"error": "Identity is frozen", "code": "FORBIDDEN", "status": 403}
    else:
        assert (refresh(kept).status_code, refresh(kept).json()) == (401, INVALID)


def test_ends_and_beginnings_of_secrets_are_no_secrets(client, anna):
    secret = make(client, anna)["token"]
    token = IntegrationToken.objects.get()
    for wrong in (
        secret[:-1],
        secret + "x",
        f" {secret}",
        secret.upper(),
        token.token_hash,
        token.token_prefix,
        "x" * 9999,
    ):
        assert log_in(wrong).json() == INVALID
        IntegrationToken.objects.all()
        connection.cursor().execute("DELETE FROM sign_in_failures")
    assert log_in("").status_code == 422
    assert anonymous().post(LOGIN, {"token": 5}).status_code == 422


@pytest.mark.parametrize(
    "metadata",
    [
        None, {}, {"identity_id": 0, "integration_token_id": 0},
        lambda token: {"identity_id": token.identity_id, "integration_token_id": token.pk + 1},
        lambda token: {"identity_id": token.identity_id + 1, "integration_token_id": token.pk},
        lambda token: {"identity_id": str(token.identity_id), "integration_token_id": token.pk},
    ],
)  # fmt: skip
def test_refresh_token_that_names_two_things_is_invalid(client, anna, metadata):
    make(client, anna)
    token = IntegrationToken.objects.get()
    given = metadata(token) if callable(metadata) else metadata
    forged = tokens.mint(
        subject=token.pk,
        login="anna",
        token_type="refresh",
        lifetime_seconds=60,
        scope="integration_token",
        metadata=given,
    )
    assert refresh(forged).json() == INVALID


def test_refresh_token_of_an_integration_is_no_bearer(client, anna):
    kept = log_in(make(client, anna)["token"]).json()["data"]["refresh_token"]
    assert bearing(kept).get("/auth/me").json() == {"error": {"code": 401, "message": "Invalid authentication token"}}


def test_ten_failures_from_one_address_lock_it_out(client, anna):
    secret = make(client, anna)["token"]
    for _ in range(10):
        assert log_in("attune_it_wrong").status_code == 401

    locked = log_in(secret)

    assert error(locked) == (429, "TOO_MANY_REQUESTS")
    assert locked["Retry-After"] == "60"
    assert IntegrationToken.objects.get().last_used_at is None
    assert log_in(secret, REMOTE_ADDR="198.51.100.9").status_code == 200
    assert anonymous().post("/auth/login", {"login": "integration token", "password": "x"}).status_code == 401


def test_success_clears_the_failures(client, anna):
    secret = make(client, anna)["token"]
    for _ in range(2):
        for _ in range(9):
            log_in("attune_it_wrong")
        assert log_in(secret).status_code == 200


# --- Ended ------------------------------------------------------------------------------------------------------


def test_revoking_says_when_by_whom_and_why(client, admin, anna):
    token = IntegrationToken.objects.create(identity=anna, label="t", token_hash="h")

    shown = client.post(at(anna, token.pk, "revoke"), {"reason": "left"}).json()["data"]

    assert (shown["revoked_by"], shown["revocation_reason"], shown["active"]) == (admin.pk, "left", False)
    again = client.post(at(anna, token.pk, "revoke"), {"reason": "again"}).json()["data"]
    assert (again["revoked_at"], again["revocation_reason"]) == (shown["revoked_at"], "left")
    assert client.get(at(anna)).json()["data"] == [again]


def test_revoking_takes_a_body_in_json(client, anna):
    token = IntegrationToken.objects.create(identity=anna, label="t", token_hash="h")
    path = at(anna, token.pk, "revoke")
    assert client.generic("POST", path, b"x", content_type="text/plain").status_code == 415
    assert client.post(path).status_code == 415
    assert client.generic("POST", path, b"", content_type="application/json").status_code == 400
    assert client.generic("POST", path, b"{", content_type="application/json").status_code == 400
    assert error(client.post(path, {"reason": 5})) == (422, "VALIDATION_ERROR")
    token.refresh_from_db()
    assert token.revoked_at is None
    assert client.post(path, {"reason": None}).json()["data"]["revocation_reason"] is None


def test_token_is_reached_by_way_of_its_own_identity_only(client, anna, admin):
    token = IntegrationToken.objects.create(identity=anna, label="t", token_hash="h")
    for wrong in (at(admin, token.pk), at(anna, token.pk + 1), at(anna, 0)):
        assert error(client.delete(wrong)) == (404, "NOT_FOUND")
        assert error(client.post(f"{wrong}/revoke", {})) == (404, "NOT_FOUND")
    assert error(client.delete(at(anna, "abc"))) == (400, "BAD_REQUEST")
    token.refresh_from_db()
    assert token.revoked_at is None


def test_deleted_token_is_gone(client, anna):
    token = IntegrationToken.objects.create(identity=anna, label="t", token_hash="h")
    assert client.delete(at(anna, token.pk)).json() == {
        "data": {"success": True, "message": "Integration token 't' deleted successfully"}
    }
    assert error(client.delete(at(anna, token.pk))) == (404, "NOT_FOUND")


def test_program_makes_tokens_in_the_name_of_its_executor(admin, anna):
    program = with_execution_token(make_execution(executor=admin, status="running", epoch=1), "core.admin")
    assert make(program, anna)["integration_token"]["created_by"] == admin.pk
