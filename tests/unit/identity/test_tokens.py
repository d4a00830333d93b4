import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest

from apps.identity import tokens
from apps.identity.tokens import ExpiredToken, InvalidToken

SECRET = "a secret of more than thirty-two bytes for the tests"
OLDER = "an older secret of more than thirty-two bytes, too"


@pytest.fixture(autouse=True)
def _secret(settings):
    settings.JWT_SECRET = SECRET
    settings.JWT_PREVIOUS_SECRETS = [OLDER]


def claims(**changes):
    now = int(time.time())
    return {"sub": "7", "login": "anna", "iat": now, "exp": now + 3600, **changes}


def signed(payload, *, secret=SECRET, algorithm="HS256", **header):
    return jwt.encode(payload, secret, algorithm=algorithm, headers=header or None)


def handmade(header, payload, digest=hashlib.sha256):
    """A token with any header at all, signed with our secret."""

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    signing_input = part(header) + b"." + part(payload)
    signature = hmac.new(SECRET.encode(), signing_input, digest).digest()
    return (signing_input + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_minted_token_reads_back():
    token = tokens.mint(subject=7, login="anna", token_type="access", lifetime_seconds=60)

    read = tokens.read(token)

    assert (read.subject, read.login, read.token_type, read.metadata) == (7, "anna", "access", {})
    assert jwt.get_unverified_header(token) == {
        "alg": "HS256", "typ": "JWT", "kid": hashlib.sha256(SECRET.encode()).hexdigest()[:8]
    }  # fmt: skip


def test_two_tokens_of_one_second_differ():
    assert tokens.mint_access_token(7, "anna") != tokens.mint_access_token(7, "anna")


def test_token_of_an_operator_is_accepted_whoever_signed_it():
    assert tokens.read(signed(claims(aud="else", nbf=9_999_999_999, iss="me", jti=5))).token_type == "access"


def test_older_secret_still_verifies_with_and_without_kid():
    assert tokens.read(signed(claims(), secret=OLDER)).subject == 7
    assert tokens.read(signed(claims(), secret=OLDER, kid=tokens.key_id(OLDER))).subject == 7


def test_kid_chooses_the_secret_and_an_unknown_one_is_invalid():
    for kid in ("00000000", tokens.key_id(OLDER), "", 5):
        with pytest.raises(InvalidToken):
            tokens.read(handmade({"alg": "HS256", "typ": "JWT", "kid": kid}, claims()))


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "hs256", "HS384", "HS512", "RS256", "ES256", "", None, 5, ["HS256"]]
)
def test_other_algorithms_are_invalid(algorithm):
    for token in (
        handmade({"alg": algorithm}, claims()),
        handmade({"alg": algorithm}, claims()).rpartition(".")[0] + ".",
    ):
        with pytest.raises(InvalidToken):
            tokens.read(token)


@pytest.mark.parametrize(("algorithm", "digest"), [("HS384", hashlib.sha384), ("HS512", hashlib.sha512)])
def test_rightly_signed_with_another_hs_variant_is_invalid(algorithm, digest):
    with pytest.raises(InvalidToken):
        tokens.read(handmade({"alg": algorithm}, claims(), digest))


def test_no_alg_critical_and_detached_headers_are_invalid():
    for header in ({}, {"alg": "HS256", "crit": ["x"], "x": 1}, {"alg": "HS256", "b64": False, "crit": ["b64"]}):
        with pytest.raises(InvalidToken):
            tokens.read(handmade(header, claims()))


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b.c", "x" * 100_000, "é.é.é", "\x00", "null", "Bearer x", "eyJhbGciOiJIUzI1NiJ9.W10.x"]
)
def test_malformed_text_is_invalid(text):
    with pytest.raises(InvalidToken):
        tokens.read(text)


def test_changed_payload_and_foreign_secret_are_invalid():
    head, body, signature = signed(claims()).split(".")
    forged = base64.urlsafe_b64encode(json.dumps(claims(sub="1")).encode()).rstrip(b"=").decode()
    for token in (f"{head}.{forged}.{signature}", f"{head}.{body}.", signed(claims(), secret="x" * 40)):
        with pytest.raises(InvalidToken):
            tokens.read(token)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sub": 7}, {"sub": "x"}, {"sub": "-7"}, {"sub": "7.0"}, {"sub": ""}, {"sub": "٧"}, {"sub": " 7"}, {"sub": None},
        {"sub": str(2**63)}, {"sub": "9" * 400}, {"login": None}, {"login": 5}, {"exp": None}, {"exp": "9999999999"},
        {"exp": 9999999999.5}, {"exp": True}, {"iat": None}, {"iat": "1"}, {"iat": [1]}, {"token_type": "admin"},
        {"token_type": None}, {"token_type": ["access"]}, {"scope": 5}, {"metadata": []}, {"metadata": "x"},
    ],
)  # fmt: skip
def test_claims_of_another_form_are_invalid(wrong):
    with pytest.raises(InvalidToken) as caught:
        tokens.read(signed(claims(**wrong)) if "iat" not in wrong else handmade({"alg": "HS256"}, claims(**wrong)))
    assert not isinstance(caught.value, ExpiredToken)


def test_payload_that_is_no_object_is_invalid():
    for payload in ([], "x", 5, None):
        with pytest.raises(InvalidToken):
            tokens.read(handmade({"alg": "HS256"}, payload))


def test_expiry_has_sixty_seconds_of_leeway():
    now = int(time.time())
    assert tokens.read(signed(claims(exp=now - 50))).subject == 7
    with pytest.raises(ExpiredToken):
        tokens.read(signed(claims(exp=now - 61)))


def test_issued_in_the_future_is_accepted_for_sixty_seconds():
    now = int(time.time())
    assert tokens.read(signed(claims(iat=now + 50))).subject == 7
    with pytest.raises(InvalidToken):
        tokens.read(signed(claims(iat=now + 90)))


def test_execution_token_names_execution_epoch_and_sets():
    token = tokens.mint_execution_token(
        execution_id=9,
        action_ref="core.echo",
        executor=7,
        permission_set_refs=["core.admin"],
        epoch=2,
        lifetime_seconds=90,
    )

    read = tokens.read(token)

    assert (read.subject, read.login, read.token_type, read.scope) == (7, "execution:9", "execution", "execution")
    assert read.expires_at - read.issued_at == 90
    assert read.metadata == {
        "execution_id": 9, "action_ref": "core.echo", "permission_set_refs": ["core.admin"],
        "standard_access_action_refs": [], "standard_access_pack_refs": [], "epoch": 2,
    }  # fmt: skip
