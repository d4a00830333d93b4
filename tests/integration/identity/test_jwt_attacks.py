"""What forged, worn and borrowed tokens get at each door: the header, the cookie, the console (auth.md 1.2, 2)."""

import base64
import hashlib
import hmac
import json
import re
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client

from apps.identity import sensor_tokens, tokens
from apps.identity.checks import operations, routes
from apps.identity.models import Identity
from tests.clients import anonymous, bearing, with_execution_token
from tests.factories import make_admin, make_execution, make_identity

pytestmark = pytest.mark.django_db

SECRET = "the secret of today, of more than thirty-two bytes"
OLDER = "the secret of yesterday, of more than thirty-two bytes"
RETIRED = "the secret of last year, of more than thirty-two bytes"

MISSING, INVALID, EXPIRED = (
    (401, {"error": {"code": 401, "message": message}}, "Bearer")
    for message in (
        "Missing authentication token",
        "Invalid authentication token",
        "Authentication token expired",
    )
)
PATHS = ("/auth/me", "/api/v1/identities", "/api/v1/executions")


@pytest.fixture(autouse=True)
def _secrets(settings):
    settings.JWT_SECRET, settings.JWT_PREVIOUS_SECRETS = SECRET, [OLDER]


@pytest.fixture
def root(db):
    return make_admin(login="root")


# --- Forging ----------------------------------------------------------------------------------------------------


def claims(identity, **changes):
    now = int(time.time())
    given = {"sub": str(identity.pk), "login": identity.login, "iat": now, "exp": now + 600, "token_type": "access"}
    return {name: value for name, value in {**given, **changes}.items() if value is not ...}


def signed(payload, secret=SECRET, algorithm="HS256", **header):
    return jwt.encode(payload, secret, algorithm=algorithm, headers=header or None)


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def handmade(header, payload, digest=hashlib.sha256, secret=SECRET):
    """A token with any header and any payload, rightly signed."""
    text = f"{part(header)}.{part(payload)}"
    signature = hmac.new(secret.encode(), text.encode(), digest).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def unsigned(header, payload):
    return f"{part(header)}.{part(payload)}."


def tampered(payload, **changes):
    head, _body, signature = signed(payload).split(".")
    return f"{head}.{part({**payload, **changes})}.{signature}"


def by_rsa(payload):
    return jwt.encode(payload, rsa.generate_private_key(public_exponent=65537, key_size=2048), algorithm="RS256")


def kid(secret):
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


# Each makes a token of an administrator that would be good but for one thing.
FORGED = {
    "no algorithm": lambda me: unsigned({"alg": "none", "typ": "JWT"}, claims(me)),
    "no algorithm, in capitals": lambda me: unsigned({"alg": "NONE"}, claims(me)),
    "no algorithm, but a signature": lambda me: handmade({"alg": "none"}, claims(me)),
    "no header field alg": lambda me: handmade({"typ": "JWT"}, claims(me)),
    "algorithm in small letters": lambda me: handmade({"alg": "hs256"}, claims(me)),
    "algorithm as a list": lambda me: handmade({"alg": ["HS256"]}, claims(me)),
    "HS384": lambda me: handmade({"alg": "HS384"}, claims(me), hashlib.sha384),
    "HS512": lambda me: handmade({"alg": "HS512"}, claims(me), hashlib.sha512),
    "RS256 with the secret as key": lambda me: handmade({"alg": "RS256"}, claims(me)),
    "ES256 with the secret as key": lambda me: handmade({"alg": "ES256"}, claims(me)),
    "RS256 with a key of one's own": lambda me: by_rsa(claims(me)),
    "a key of one's own in the header": lambda me: handmade(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "eA"}}, claims(me), secret="x"
    ),
    "another secret": lambda me: signed(claims(me), "x" * 64),
    "an empty secret": lambda me: handmade({"alg": "HS256"}, claims(me), secret=""),
    "a retired secret": lambda me: signed(claims(me), RETIRED),
    "a retired secret and its kid": lambda me: signed(claims(me), RETIRED, kid=kid(RETIRED)),
    "an unknown kid": lambda me: signed(claims(me), kid="00000000"),
    "the kid of the older secret": lambda me: signed(claims(me), kid=kid(OLDER)),
    "a kid that is a path": lambda me: signed(claims(me), kid="../../../dev/null"),
    "a kid that is a number": lambda me: handmade({"alg": "HS256", "kid": 0}, claims(me)),
    "another identity in the claims": lambda me: tampered(claims(make_identity()), sub=str(me.pk)),
    "a longer life in the claims": lambda me: tampered(claims(me, exp=int(time.time()) - 600), exp=9_999_999_999),
    "another type in the claims": lambda me: tampered(claims(me, token_type="refresh"), token_type="access"),
    "no signature": lambda me: signed(claims(me)).rpartition(".")[0] + ".",
    "two parts": lambda me: signed(claims(me)).rpartition(".")[0],
    "five parts": lambda me: signed(claims(me)) + ".a.b",
    "half a signature": lambda me: signed(claims(me))[:-20],
    "issued in the future": lambda me: signed(claims(me, iat=int(time.time()) + 75)),
    "an unknown type": lambda me: signed(claims(me, token_type="admin")),
    "type null": lambda me: signed(claims(me, token_type=None)),
    "a refresh token": lambda me: tokens.mint_refresh_token(me.pk, me.login),
    "sub as a number": lambda me: signed(claims(me, sub=me.pk)),
    "sub with a sign": lambda me: signed(claims(me, sub=f"+{me.pk}")),
    "sub with a blank": lambda me: signed(claims(me, sub=f"{me.pk} ")),
    "sub with a fraction": lambda me: signed(claims(me, sub=f"{me.pk}.0")),
    "sub in hexadecimal": lambda me: signed(claims(me, sub=hex(me.pk))),
    "sub as a login": lambda me: signed(claims(me, sub=me.login)),
    "sub of 20 digits": lambda me: signed(claims(me, sub="9" * 20)),
    "no sub": lambda me: signed(claims(me, sub=...)),
    "no exp": lambda me: signed(claims(me, exp=...)),
    "no iat": lambda me: signed(claims(me, iat=...)),
    "exp as text": lambda me: signed(claims(me, exp="9999999999")),
    "exp with a fraction": lambda me: signed(claims(me, exp=9_999_999_999.5)),
    "metadata as a list": lambda me: signed(claims(me, metadata=[])),
    "a payload that is no object": lambda me: handmade({"alg": "HS256"}, [1]),
    "nothing": lambda me: "",
    "blanks": lambda me: " ",
    "a login": lambda me: me.login,
}
WORN = {
    "expired": lambda me: signed(claims(me, exp=int(time.time()) - 61)),
    "expired and issued in between": lambda me: signed(
        claims(me, iat=int(time.time()) - 3700, exp=int(time.time()) - 90)
    ),
}
GOOD = {
    "as the server makes it": lambda me: tokens.mint_access_token(me.pk, me.login),
    "no kid": lambda me: signed(claims(me)),
    "the older secret and its kid": lambda me: signed(claims(me), OLDER, kid=kid(OLDER)),
    "the older secret, no kid": lambda me: signed(claims(me), OLDER),
    "no type": lambda me: signed(claims(me, token_type=...)),
    "expired within the leeway": lambda me: signed(claims(me, exp=int(time.time()) - 50)),
    "issued a little ahead": lambda me: signed(claims(me, iat=int(time.time()) + 50)),
    "claims that mean nothing here": lambda me: signed(claims(me, aud="x", nbf=9_999_999_999, scope="x", admin=True)),
    "an end beyond all calendars": lambda me: handmade({"alg": "HS256"}, claims(me, exp=10**400)),
    "another login": lambda me: signed(claims(me, login="somebody")),
}
EVERY = [*FORGED, *WORN, *GOOD]
MAKERS = {**FORGED, **WORN, **GOOD}


def through_header(token):
    return bearing(token)


def through_cookie(token):
    client = anonymous()
    client.cookies["attune_access_token"] = token
    return client


def answers(client):
    for path in PATHS:
        answer = client.get(path)
        yield answer.status_code, answer.json(), answer.get("WWW-Authenticate")


@pytest.mark.parametrize("door", [through_header, through_cookie])
@pytest.mark.parametrize("name", FORGED)
def test_forged_token_is_invalid(root, door, name):
    # No token at all in a cookie is how a browser was told to forget it.
    expected = MISSING if (door, name) == (through_cookie, "nothing") else INVALID
    assert list(answers(door(FORGED[name](root)))) == [expected] * len(PATHS)


@pytest.mark.parametrize("door", [through_header, through_cookie])
@pytest.mark.parametrize("name", WORN)
def test_worn_token_is_expired(root, door, name):
    assert list(answers(door(WORN[name](root)))) == [EXPIRED] * len(PATHS)


@pytest.mark.parametrize("door", [through_header, through_cookie])
@pytest.mark.parametrize("name", GOOD)
def test_good_token_is_good(root, door, name):
    assert [status for status, _body, _header in answers(door(GOOD[name](root)))] == [200] * len(PATHS)


@pytest.mark.parametrize("name", EVERY)
def test_no_token_opens_the_console(root, name):
    token = MAKERS[name](root)
    browser = Client(HTTP_AUTHORIZATION=f"Bearer {token}")
    for cookie in ("attune_access_token", "attune_refresh_token", "sessionid"):
        browser.cookies[cookie] = token
    for path in ("/admin/", "/admin/identity/identity/"):
        answer = browser.get(path)
        assert (answer.status_code, answer["Location"]) == (302, f"/admin/login/?next={path}")


@pytest.mark.parametrize("name", [*FORGED, *WORN])
def test_forged_and_worn_tokens_are_not_refreshed(root, name):
    if name == "a refresh token":
        return
    answer = anonymous().post("/auth/refresh", {"refresh_token": MAKERS[name](root)})
    assert answer.status_code == (422 if name == "nothing" else 401)


@pytest.mark.parametrize("name", [*FORGED, *WORN])
def test_what_is_wrong_with_an_access_token_is_wrong_with_a_refresh_token(root, name):
    """The same attacks upon a token of the right type."""
    if name in ("a refresh token", "an unknown type", "type null", "another type in the claims", "nothing", "blanks"):
        return
    refresh = jwt.decode(tokens.mint_refresh_token(root.pk, root.login), options={"verify_signature": False})
    assert refresh["token_type"] == "refresh"

    class Refreshing:
        pk, login = root.pk, root.login

    made = MAKERS[name](Refreshing)
    try:
        payload = jwt.decode(made, options={"verify_signature": False, "verify_exp": False, "verify_iat": False,
                                            "verify_sub": False, "verify_nbf": False, "verify_aud": False})  # fmt: skip
    except (jwt.PyJWTError, ValueError):
        return  # no token of any type
    assert payload["token_type"] == "access"
    assert anonymous().post("/auth/refresh", {"refresh_token": made}).status_code == 401


@pytest.mark.parametrize("make", [tokens.mint_access_token, None])
def test_only_refresh_tokens_are_refreshed(root, make):
    execution = make_execution(executor=root, status="running", epoch=1)
    program = tokens.mint_execution_token(
        execution_id=execution.pk, action_ref="a.b", executor=root.pk, permission_set_refs=["core.admin"], epoch=1
    )
    token = make(root.pk, root.login) if make else program
    answer = anonymous().post("/auth/refresh", {"refresh_token": token})
    assert (answer.status_code, answer.json()["error"]) == (401, "Invalid refresh token")


# --- Identities that ended ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", [through_header, through_cookie])
def test_access_token_of_a_deleted_identity(root, door):
    client = door(tokens.mint_access_token(root.pk, root.login))
    root.delete()
    gone = {"error": "Identity not found", "code": "UNAUTHORIZED", "status": 401}
    assert client.get("/auth/me").json() == {**gone, "code": "NOT_FOUND", "status": 404}
    for path in PATHS[1:]:
        assert (client.get(path).status_code, client.get(path).json()) == (401, gone)


@pytest.mark.parametrize("door", [through_header, through_cookie])
def test_access_token_of_a_frozen_identity(root, door):
    client = door(tokens.mint_access_token(root.pk, root.login))
    Identity.objects.filter(pk=root.pk).update(frozen=True)
    for path in PATHS:
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (
            403, {"error": "Identity is frozen", "code": "FORBIDDEN", "status": 403}
        )  # fmt: skip


def test_refresh_tokens_of_identities_that_ended(root):
    token, path = tokens.mint_refresh_token(root.pk, root.login), "/auth/refresh"
    Identity.objects.filter(pk=root.pk).update(frozen=True)
    assert anonymous().post(path, {"refresh_token": token}).status_code == 403
    root.delete()
    assert anonymous().post(path, {"refresh_token": token}).status_code == 401


@pytest.mark.parametrize(("how", "status"), [("frozen", 403), ("deleted", 401)])
def test_session_of_an_identity_that_ended(root, how, status):
    browser = Client()
    browser.force_login(root)
    assert browser.get("/admin/identity/identity/").status_code == 200
    assert browser.get("/auth/me").status_code == 200

    if how == "frozen":
        Identity.objects.filter(pk=root.pk).update(frozen=True)
    else:
        root.delete()

    assert browser.get("/auth/me").status_code == status
    answer = browser.get("/admin/identity/identity/")
    assert (answer.status_code, answer["Location"][:13]) == (302, "/admin/login/")


def test_sensor_of_a_frozen_identity_is_refused():
    client = bearing(sensor_tokens.issue("shop.watch", []).token)
    Identity.objects.filter(login="sensor:shop.watch").update(frozen=True)
    assert client.get("/api/v1/keys").status_code == 403


# --- Tokens of other types, at every route ------------------------------------------------------------------------

SENSORS = {
    ("post", "/api/v1/events"), ("post", "/auth/sensor-token"), ("get", "/api/v1/triggers/1"),
    ("get", "/api/v1/triggers/1/rules"), ("get", "/api/v1/sensors/1"), ("get", "/api/v1/sensors/1/rules"),
    ("get", "/api/v1/keys"), ("post", "/api/v1/keys"), ("get", "/api/v1/keys/1"), ("put", "/api/v1/keys/1"),
    ("delete", "/api/v1/keys/1"),
}  # fmt: skip
WORKERS = {
    ("post", "/api/v1/events"), ("get", "/api/v1/internal/packs/1/archive"),
    *((method, "/api/v1/internal/files/1") for method in ("get", "put", "patch", "delete")),
}  # fmt: skip
PEOPLE_ONLY = {
    ("put", "/auth/me"), ("post", "/auth/change-password"), ("get", "/metrics"),
    *(("get", f"/api/v1/triggers/1/webhooks{rest}") for rest in ("", "/deliveries")),
    ("put", "/api/v1/triggers/1/webhooks"),
    *(("post", f"/api/v1/triggers/1/webhooks/{verb}") for verb in ("enable", "disable", "regenerate")),
}  # fmt: skip


def guarded_operations():
    """Every operation behind the gate, with something in place of its path's parameters."""
    for path, callback in routes():
        if path.startswith(("api/v1/", "auth/")) and hasattr(getattr(callback, "cls", None), "grants"):
            where = re.sub(r"<[^>]+>", "1", f"/{path}")
            for method, _operation in operations(callback):
                if anonymous().generic(method.upper(), where).status_code == 401:
                    yield method, where


def admitted(client, kind):
    """The operations that do not refuse the type of the client's token, each with its answer."""
    for method, path in guarded_operations():
        answer = client.generic(method.upper(), path, b"{}", content_type="application/json")
        body = answer.json() if answer.content else {}
        if answer.status_code not in (401, 403) or not is_refusal_of_type(body.get("error"), kind):
            yield method, path


def is_refusal_of_type(message, kind):
    return "admitted here" in str(message) and f" {kind}" in str(message)


def test_sensor_tokens_reach_just_what_is_theirs():
    client = bearing(sensor_tokens.issue("shop.watch", []).token)
    assert set(admitted(client, "sensor")) == SENSORS


def test_worker_tokens_reach_just_what_is_theirs():
    token = tokens.mint(
        subject=1,
        login="worker:1",
        token_type="worker",
        lifetime_seconds=60,
        scope="internal_files",
        metadata={"worker_id": 1},
    )
    assert set(admitted(bearing(token), "worker")) == WORKERS


def test_refresh_tokens_reach_nothing(root):
    client = bearing(tokens.mint_refresh_token(root.pk, root.login))
    for method, path in guarded_operations():
        answer = client.generic(method.upper(), path, b"{}", content_type="application/json")
        assert (answer.status_code, answer.json()) == INVALID[:2], (method, path)


def test_programs_do_not_reach_what_is_for_people(root):
    execution = make_execution(executor=root, status="running", epoch=1)
    client = with_execution_token(execution, "core.admin")
    for method, path in sorted(PEOPLE_ONLY):
        answer = client.generic(method.upper(), path, b"{}", content_type="application/json")
        assert (answer.status_code, answer.json()["error"]) == (403, "Not admitted here: a token of type execution"), (
            path
        )


def test_people_send_no_events(root):
    client = bearing(tokens.mint_access_token(root.pk, root.login))
    assert client.post("/api/v1/events", {"trigger_ref": "a.b", "payload": {}}).status_code == 403
