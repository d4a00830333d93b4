"""Login, refresh, registration, the own account (api.md section 3)."""

import threading
import time

import argon2
import jwt
import pytest
from django.conf import settings
from django.db import connection

from apps.identity import passwords, services, throttle, tokens
from apps.identity.models import Identity, SignInFailures
from tests.clients import anonymous, signed_in
from tests.factories import make_admin, make_identity

pytestmark = pytest.mark.django_db

LOGIN, REFRESH, ME = "/auth/login", "/auth/refresh", "/auth/me"
WRONG = {"error": "Invalid login or password", "code": "UNAUTHORIZED", "status": 401}
PASSWORD = "correct horse"


def make_person(login="anna", password=PASSWORD, **fields):
    return make_identity(login=login, password_hash=passwords.hashed(password), **fields)


def log_in(login="anna", password=PASSWORD, client=None, **headers):
    return (client or anonymous()).post(LOGIN, {"login": login, "password": password}, **headers)


# --- Login ------------------------------------------------------------------------------------------------------


def test_login_answers_tokens_and_user():
    anna = make_person(display_name="Anna")

    answer = log_in()

    assert answer.status_code == 200
    data = answer.json()["data"]
    assert list(answer.json()) == ["data"]
    assert data["user"] == {"id": anna.pk, "login": "anna", "display_name": "Anna"}
    assert (data["token_type"], data["expires_in"]) == ("Bearer", 3600)
    assert set(data) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    claims = jwt.decode(data["access_token"], settings.JWT_SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["login"], claims["token_type"]) == (str(anna.pk), "anna", "access")
    assert claims["exp"] - claims["iat"] == 3600
    refresh = jwt.decode(data["refresh_token"], settings.JWT_SECRET, algorithms=["HS256"])
    assert (refresh["token_type"], refresh["exp"] - refresh["iat"]) == ("refresh", 604800)
    assert not answer.cookies
    anna.refresh_from_db()
    assert anna.last_login_at is not None


def test_login_failures_do_not_tell_why():
    make_person()
    make_identity(login="nopassword")
    for login, password in (
        ("nobody", "x"),
        ("nopassword", "x"),
        ("anna", "wrong"),
        ("Anna", PASSWORD),
        (" anna", PASSWORD),
        ("system", ""),
    ):
        answer = log_in(login, password or "x")
        assert (answer.status_code, answer.json()) == (401, WRONG)


def test_unknown_login_costs_the_work_of_a_wrong_password(settings):
    settings.ARGON2_PARAMETERS = {"time_cost": 3, "memory_cost": 16384, "parallelism": 1}
    passwords._hasher.cache_clear()
    passwords._nobody.cache_clear()
    try:
        make_person()
        make_identity(login="nopassword")
        log_in("nobody")

        def seconds(login):
            begun = time.thread_time()
            log_in(login, "wrong")
            return time.thread_time() - begun

        known, unknown, without = (min(seconds(login) for _ in range(3)) for login in ("anna", "nobody", "nopassword"))
        assert unknown > known / 2
        assert without > known / 2
    finally:
        passwords._hasher.cache_clear()
        passwords._nobody.cache_clear()


def test_frozen_identity_may_not_sign_in_and_is_told_only_with_the_right_password():
    make_person(frozen=True)
    assert log_in().json() == {"error": "Identity is frozen", "code": "FORBIDDEN", "status": 403}
    assert log_in(password="wrong").json() == WRONG


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"login": "anna"},
        {"login": "", "password": "x"},
        {"login": "anna", "password": ""},
        {"login": "x" * 256, "password": "x"},
        {"login": 1, "password": "x"},
        {"login": "anna", "password": None},
        {"login": ["anna"], "password": "x"},
        [],
    ],
)
def test_login_body_of_another_form_is_a_validation_error(body):
    answer = anonymous().post(LOGIN, body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")


def test_login_is_open_to_whoever_holds_a_stale_token():
    make_person()
    client = anonymous()
    client.cookies["attune_access_token"] = "stale"
    assert log_in(client=client, HTTP_AUTHORIZATION="Bearer stale").status_code == 200


def test_password_is_hashed_anew_when_the_defaults_have_grown():
    weaker = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=16)
    anna = make_identity(login="anna", password_hash=weaker.hash(PASSWORD))

    assert log_in().status_code == 200

    anna.refresh_from_db()
    assert anna.password_hash.startswith("$argon2id$v=19$m=8,")
    assert not passwords.is_outdated(anna.password_hash)
    assert log_in().status_code == 200


def test_hash_that_is_no_phc_string_lets_nobody_in():
    for broken in ("", "plain", "$argon2id$v=19$m=x", "pbkdf2_sha256$1$a$b"):
        Identity.objects.filter(login="anna").delete()
        make_identity(login="anna", password_hash=broken)
        assert log_in(password=broken or "x").status_code == 401


# --- Throttling -------------------------------------------------------------------------------------------------


def fail(times, login="anna", **headers):
    return [log_in(login, "wrong", **headers).status_code for _ in range(times)]


def test_ten_failures_of_one_login_from_one_address_close_it_there():
    make_person()
    make_person("bert")

    assert fail(10) == [401] * 10
    answer = log_in()

    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (429, "TOO_MANY_REQUESTS", "60")
    assert log_in("bert").status_code == 200
    assert log_in(REMOTE_ADDR="198.51.100.7").status_code == 200


def test_unknown_logins_are_counted_alike():
    assert fail(11, "nobody") == [401] * 10 + [429]


def test_success_clears_the_count():
    make_person()
    fail(9)
    assert log_in().status_code == 200
    assert SignInFailures.objects.count() == 0
    assert fail(10) == [401] * 10


def test_count_begins_anew_after_five_minutes():
    make_person()
    fail(10)
    SignInFailures.objects.update(since=SignInFailures.objects.get().since - throttle.WINDOW)
    assert log_in().status_code == 200
    fail(10)
    SignInFailures.objects.update(since=SignInFailures.objects.get().since - throttle.WINDOW)
    assert fail(1) == [401]
    assert SignInFailures.objects.get().failures == 1


def test_forwarded_addresses_count_only_from_trusted_proxies():
    make_person()
    spoofed = [{"HTTP_X_FORWARDED_FOR": f"203.0.113.{n}", "REMOTE_ADDR": "198.51.100.7"} for n in range(11)]
    assert [log_in("anna", "wrong", **headers).status_code for headers in spoofed] == [401] * 10 + [429]

    proxied = [
        {"HTTP_X_FORWARDED_FOR": f"1.2.3.4, 203.0.113.{n}, 10.0.0.2", "REMOTE_ADDR": "10.0.0.1"} for n in range(11)
    ]
    assert [log_in("anna", "wrong", **headers).status_code for headers in proxied] == [401] * 11


@pytest.mark.django_db(transaction=True)
def test_failures_at_once_are_all_counted():
    start = threading.Barrier(6)

    def run():
        start.wait()
        throttle.count("key")
        throttle.count("key")
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert SignInFailures.objects.get().failures == 12


# --- Refresh ----------------------------------------------------------------------------------------------------


def test_refresh_gives_two_new_tokens_and_no_user():
    make_person()
    old = log_in().json()["data"]

    answer = anonymous().post(REFRESH, {"refresh_token": old["refresh_token"]})

    data = answer.json()["data"]
    assert (answer.status_code, set(data)) == (200, {"access_token", "refresh_token", "token_type", "expires_in"})
    assert data["access_token"] != old["access_token"]
    assert data["refresh_token"] != old["refresh_token"]
    assert not answer.cookies
    assert anonymous().post(REFRESH, {"refresh_token": old["refresh_token"]}).status_code == 200


def test_refresh_by_cookie_sets_new_cookies():
    anna = make_person()
    client = anonymous()
    client.cookies["attune_refresh_token"] = tokens.mint_refresh_token(anna.pk, anna.login)

    answer = client.post(REFRESH, REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_PROTO="https")

    assert answer.status_code == 200
    access, refresh = answer.cookies["attune_access_token"], answer.cookies["attune_refresh_token"]
    assert access.value == answer.json()["data"]["access_token"]
    assert (access["path"], refresh["path"]) == ("/", "/auth")
    for cookie in (access, refresh):
        assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Lax", True)


def test_refresh_refuses_what_is_no_refresh_token():
    anna = make_person()
    expired = tokens.mint(subject=anna.pk, login="anna", token_type="refresh", lifetime_seconds=-100)
    gone = tokens.mint_refresh_token(999_999, "gone")
    for token in (tokens.mint_access_token(anna.pk, "anna"), "nonsense", expired, gone):
        answer = anonymous().post(REFRESH, {"refresh_token": token})
        assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")


def test_refresh_of_a_frozen_identity_is_forbidden():
    anna = make_person(frozen=True)
    answer = anonymous().post(REFRESH, {"refresh_token": tokens.mint_refresh_token(anna.pk, "anna")})
    assert (answer.status_code, answer.json()["error"]) == (403, "Identity is frozen")


@pytest.mark.parametrize("body", [{}, {"refresh_token": ""}, {"refresh_token": None}, {"refresh_token": 5}])
def test_refresh_of_nothing_is_a_validation_error(body):
    assert anonymous().post(REFRESH, body).status_code == 422


def test_refresh_without_body_and_cookie_is_a_validation_error():
    assert anonymous().post(REFRESH).status_code == 422


# --- The own account --------------------------------------------------------------------------------------------


def test_me_of_an_administrator_shows_permissions_sorted():
    admin = make_admin(login="root", display_name="Root")
    services.store_permission_set(
        "core.admin",
        grants=[{"resource": "packs", "actions": ["read", "create"]}, {"resource": "actions", "actions": ["read"]}],
    )
    services.give_sets(admin, ["core.admin"])

    assert signed_in(admin).get(ME).json()["data"] == {
        "id": admin.pk, "login": "root", "display_name": "Root", "auth_provider": "local", "is_local": True,
        "can_change_password": False,
        "effective_permissions": [
            {"resource": "actions", "actions": ["read"]}, {"resource": "packs", "actions": ["create", "read"]}
        ],
        "assigned_permission_set_refs": ["core.admin"],
    }  # fmt: skip


def test_me_of_a_stranger_shows_no_permissions():
    data = signed_in(make_person()).get(ME).json()["data"]
    assert (data["effective_permissions"], data["assigned_permission_set_refs"], data["can_change_password"]) == (
        [],
        [],
        True,
    )


def test_profile_changes_and_blank_clears():
    anna = make_person()
    client = signed_in(anna)

    def name(body):
        answer = client.put(ME, body)
        assert answer.status_code == 200
        return answer.json()["data"]["display_name"]

    assert name({"display_name": "Anna"}) == "Anna"
    assert name({}) == "Anna"
    assert name({"display_name": "  "}) is None
    assert client.put(ME, {"display_name": "x" * 256}).status_code == 422


def test_identity_of_a_directory_changes_neither_profile_nor_password():
    anna = make_person(auth_provider="ldap")
    client = signed_in(anna)
    assert client.put(ME, {"display_name": "x"}).status_code == 403
    body = {"current_password": PASSWORD, "new_password": "another password"}
    assert client.post("/auth/change-password", body).status_code == 403
    assert client.get(ME).json()["data"]["can_change_password"] is False


def test_password_changes():
    anna = make_person()
    client = signed_in(anna)

    answer = client.post("/auth/change-password", {"current_password": PASSWORD, "new_password": "another password"})

    assert (answer.status_code, answer.json()) == (
        200, {"data": {"success": True, "message": "Password changed successfully"}}
    )  # fmt: skip
    assert log_in().status_code == 401
    assert log_in(password="another password").status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "status"),
    [
        ("wrong", "another password", 401),
        (PASSWORD, "short", 422),
        (PASSWORD, "x" * 129, 422),
        ("", "another password", 422),
    ],
)
def test_password_change_is_refused(current, new, status):
    anna = make_person()
    answer = signed_in(anna).post("/auth/change-password", {"current_password": current, "new_password": new})
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["details"][0]["field"] in {"new_password", "current_password"}
    assert log_in().status_code == 200


def test_password_change_without_a_password_is_unauthorized():
    body = {"current_password": "x", "new_password": "another password"}
    assert signed_in(make_identity()).post("/auth/change-password", body).status_code == 401


def test_guessing_the_current_password_is_limited():
    client = signed_in(make_person())
    body = {"current_password": "wrong", "new_password": "another password"}
    assert [client.post("/auth/change-password", body).status_code for _ in range(11)] == [401] * 10 + [429]


def test_logout_forgets_the_cookies():
    answer = anonymous().get("/auth/logout")
    assert (answer.status_code, answer["Location"]) == (307, "/login")
    assert {name: (cookie.value, cookie["max-age"], cookie["path"]) for name, cookie in answer.cookies.items()} == {
        "attune_access_token": ("", 0, "/"), "attune_refresh_token": ("", 0, "/auth")
    }  # fmt: skip


# --- Registration -----------------------------------------------------------------------------------------------

NEW = {"login": "carla", "password": "12345678", "display_name": "Carla"}


def test_registration_is_switched_off():
    assert anonymous().post("/auth/register", NEW).status_code == 403
    assert not Identity.objects.filter(login="carla").exists()


def test_registered_identity_signs_in_and_has_no_rights(settings):
    settings.ALLOW_SELF_REGISTRATION = True

    answer = anonymous().post("/auth/register", NEW)

    assert (answer.status_code, answer.json()["data"]["user"]["display_name"]) == (200, "Carla")
    assert log_in("carla", "12345678").status_code == 200
    assert Identity.objects.get(login="carla").assignments.count() == 0
    assert anonymous().post("/auth/register", NEW).status_code == 409


@pytest.mark.parametrize(
    "change",
    [
        {"login": "ab"},
        {"login": "x" * 256},
        {"password": "1234567"},
        {"password": "x" * 129},
        {"display_name": "x" * 256},
        {"login": "sensor:core.timer"},
        {"login": "system"},
    ],
)
def test_registration_of_another_form_is_a_validation_error(settings, change):
    settings.ALLOW_SELF_REGISTRATION = True
    answer = anonymous().post("/auth/register", {**NEW, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_ERROR")


def test_settings_tell_how_to_sign_in(settings):
    settings.ALLOW_SELF_REGISTRATION = True
    assert anonymous().get("/auth/settings").json() == {
        "data": {
            "authentication_enabled": True, "local_password_enabled": True, "local_password_visible_by_default": True,
            "oidc_enabled": False, "oidc_visible_by_default": False, "oidc_provider_name": None,
            "oidc_provider_label": None, "oidc_provider_icon_url": None, "ldap_enabled": False,
            "ldap_visible_by_default": False, "ldap_provider_name": None, "ldap_provider_label": None,
            "ldap_provider_icon_url": None, "self_registration_enabled": True,
        }
    }  # fmt: skip


# --- What waits -------------------------------------------------------------------------------------------------


def test_what_is_not_configured_says_so():
    client = anonymous()
    assert client.get("/auth/oidc/login").status_code == 501
    assert client.get("/auth/callback").status_code == 501
    assert client.post("/auth/ldap/login", {}).status_code == 422
    assert client.post("/auth/ldap/login", {"login": "a", "password": "b"}).status_code == 501
    assert client.post("/auth/internal/sensor-token", {}).status_code == 404
    assert client.post("/auth/sensor-token", {}).status_code == 401
    assert client.post("/auth/token-login", {}).status_code == 422


def test_integration_tokens_are_all_unknown_and_guessing_is_limited():
    answers = [anonymous().post("/auth/token-login", {"token": "attune_it_x"}) for _ in range(11)]
    assert answers[0].json() == {"error": "Invalid token", "code": "UNAUTHORIZED", "status": 401}
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
