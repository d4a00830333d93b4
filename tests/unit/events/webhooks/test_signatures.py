"""Signatures of senders: their published examples, and ones made by an implementation of our own tests."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apps.events.webhooks import signatures
from apps.events.webhooks.config import Signing
from apps.events.webhooks.signatures import CannotVerify, Sent, SignatureRequired, Verified, WrongSignature
from tests import senders

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
BODY = b'{"type": "invoice.paid", "id": "evt_1"}'
STANDARD_SECRET = "whsec_" + base64.b64encode(b"thirty two bytes of random stuff").decode()
SECRETS = {"github": "hush", "slack": "hush", "stripe": "whsec_hush", "standard": STANDARD_SECRET}
MAKE = {
    "github": lambda secret, body: senders.github(secret, body),
    "slack": lambda secret, body: senders.slack(secret, body, AT),
    "stripe": lambda secret, body: senders.stripe(secret, body, AT),
    "standard": lambda secret, body: senders.standard(secret, body, AT),
}


def check(
    signing: Signing, headers: dict[str, str], body: bytes = BODY, *, timestamp_header: str | None = None
) -> Verified:
    sent = Sent(headers={name.lower(): value for name, value in headers.items()}, body=body)
    return signatures.check(signing, sent, NOW, timestamp_header=timestamp_header)


# --- Published examples -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        # RFC 2202 and RFC 4231, test case 2
        ("sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (
            "sha512",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
            "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ],
)
@pytest.mark.parametrize("form", ["{algorithm}={digest}", "{digest}"])
@pytest.mark.parametrize("header", ["X-Webhook-Signature", "X-Hub-Signature-256"])
def test_plain_signature_of_the_rfcs(algorithm: str, digest: str, form: str, header: str) -> None:
    signing = Signing(secret="Jefe", algorithm=algorithm)
    value = form.format(algorithm=algorithm, digest=digest)
    assert check(signing, {header: value}, b"what do ya want for nothing?") == Verified()


def test_example_of_github() -> None:
    digest = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    signing = Signing(preset="github", secret="It's a Secret to Everybody")
    assert check(signing, {"X-Hub-Signature-256": f"sha256={digest}"}, b"Hello, World!") == Verified()


def test_example_of_slack() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    verified = check(Signing(preset="slack", secret="8f742231b10e8888abcd99yyyzzz85a5"), headers, body)
    assert verified.timestamp == "1531420618"


def test_example_of_standard_webhooks() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    signing = Signing(preset="standard", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert check(signing, headers, b'{"test": 2432232314}').timestamp == "1614265330"


# --- Every preset -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", MAKE)
def test_right_signature_of_a_preset(preset: str) -> None:
    verified = check(Signing(preset=preset, secret=SECRETS[preset]), MAKE[preset](SECRETS[preset], BODY))
    assert (verified.timestamp is None) == (verified.identity is None) == (preset == "github")


@pytest.mark.parametrize("preset", MAKE)
def test_signature_of_another_body_or_secret_is_wrong(preset: str) -> None:
    signing = Signing(preset=preset, secret=SECRETS[preset])
    other = "whsec_" + base64.b64encode(b"another").decode()
    with pytest.raises(WrongSignature):
        check(signing, MAKE[preset](SECRETS[preset], BODY + b" "))
    with pytest.raises(WrongSignature):
        check(signing, MAKE[preset](other, BODY))


@pytest.mark.parametrize("preset", [*MAKE, "gitlab", None])
@pytest.mark.parametrize("value", [None, "", " "])
def test_request_without_signature(preset: str | None, value: str | None) -> None:
    names = ("X-Hub-Signature-256", "X-Slack-Signature", "Stripe-Signature", "webhook-signature", "X-Gitlab-Token")
    headers = {} if value is None else dict.fromkeys(names, value)
    with pytest.raises(SignatureRequired, match=r"^Signature required$"):
        check(Signing(preset=preset, secret=SECRETS.get(preset or "", "hush")), headers)


@pytest.mark.parametrize("preset", [*MAKE, "gitlab", None])
@pytest.mark.parametrize(
    "garbage",
    ["x", "=", ",", "v1=", "v0=", "sha256=", "sha256=zz", "v1,", "v1,###", "t=,v1=", "t=1,v1=é", "ÿ" * 50, "v1 v1,x", "1" * 9999],
)  # fmt: skip
def test_garbage_is_no_signature(preset: str | None, garbage: str) -> None:
    names = ("X-Webhook-Signature", "X-Hub-Signature-256", "X-Slack-Signature", "Stripe-Signature", "X-Gitlab-Token")
    headers = dict.fromkeys((*names, "webhook-signature", "webhook-id", "webhook-timestamp"), garbage)
    with pytest.raises((WrongSignature, CannotVerify)):
        check(Signing(preset=preset, secret=SECRETS.get(preset or "", "hush")), headers)


@pytest.mark.parametrize("preset", [*MAKE, "gitlab", None])
def test_without_a_secret_nothing_is_right(preset: str | None) -> None:
    headers = {
        **senders.github("", BODY), **senders.slack("", BODY, AT), **senders.stripe("", BODY, AT),
        **senders.standard("", BODY, AT), **senders.gitlab("x"), **senders.plain("", BODY),
    }  # fmt: skip
    for signing in (Signing(preset=preset), Signing(preset=preset, secret_key_ref="core.key")):
        with pytest.raises(CannotVerify, match=r"^Signature verification failed: there is no secret"):
            check(signing, headers)


def test_unknown_preset_admits_nobody() -> None:
    with pytest.raises(CannotVerify, match=r"^Signature verification failed: unknown preset$"):
        check(Signing(preset="gitbuh", secret="hush"), senders.plain("hush", BODY))


@pytest.mark.parametrize("preset", [*MAKE, None])
def test_previous_secret_is_accepted_until_it_expires(preset: str | None) -> None:
    old = SECRETS.get(preset or "", "hush")
    headers = MAKE[preset](old, BODY) if preset else senders.plain(old, BODY)
    new = "whsec_" + base64.b64encode(b"the new one").decode()
    signing = Signing(preset=preset, secret=new, previous_secret=old)

    check(replace(signing, previous_secret_expires_at=NOW + timedelta(seconds=1)), headers)
    for expires_at in (NOW, NOW - timedelta(days=1), None):
        with pytest.raises(WrongSignature):
            check(replace(signing, previous_secret_expires_at=expires_at), headers)


# --- What is special to one -------------------------------------------------------------------------------------


def test_prefix_must_name_the_configured_algorithm() -> None:
    headers = senders.plain("hush", BODY, algorithm="sha1")
    with pytest.raises(CannotVerify, match=r"^Signature verification failed: "):
        check(Signing(secret="hush", algorithm="sha256"), headers)
    check(Signing(secret="hush", algorithm="sha1"), headers)


def test_unsupported_algorithm_cannot_be_verified() -> None:
    with pytest.raises(CannotVerify, match=r"^Signature verification failed: "):
        check(Signing(secret="hush", algorithm="md5"), {"X-Webhook-Signature": "md5=00"})
    with pytest.raises(SignatureRequired):
        check(Signing(secret="hush", algorithm="md5"), {})


def test_own_header_replaces_the_usual_ones() -> None:
    signing = Signing(secret="hush", header="X-Shop-Signature")
    check(signing, senders.plain("hush", BODY, header="x-shop-signature"))
    with pytest.raises(SignatureRequired):
        check(signing, senders.plain("hush", BODY))


def test_first_of_the_usual_headers_counts() -> None:
    right, wrong = (senders.plain(secret, BODY)["X-Webhook-Signature"] for secret in ("hush", "other"))
    check(Signing(secret="hush"), {"X-Webhook-Signature": right, "X-Hub-Signature-256": wrong})
    with pytest.raises(WrongSignature):
        check(Signing(secret="hush"), {"X-Webhook-Signature": wrong, "X-Hub-Signature-256": right})


def test_upper_case_digits_are_as_good() -> None:
    value = senders.plain("hush", BODY)["X-Webhook-Signature"]
    check(Signing(secret="hush"), {"X-Webhook-Signature": f"SHA256={value.partition('=')[2].upper()}"})


def test_time_is_signed_ahead_of_the_body() -> None:
    signing = Signing(secret="hush")
    verified = check(signing, senders.timed("hush", BODY, "1700000000"), timestamp_header="X-Webhook-Timestamp")
    again = check(signing, senders.timed("hush", BODY, "1700000000"), timestamp_header="X-Webhook-Timestamp")
    later = check(signing, senders.timed("hush", BODY, "1700000001"), timestamp_header="X-Webhook-Timestamp")

    assert verified == again
    assert (verified.timestamp, later.timestamp) == ("1700000000", "1700000001")
    assert verified.identity != later.identity
    with pytest.raises(WrongSignature):  # signed without the time
        check(signing, senders.plain("hush", BODY), timestamp_header="X-Webhook-Timestamp")


def test_any_v1_of_stripe_counts_and_no_other_scheme() -> None:
    signing = Signing(preset="stripe", secret="whsec_hush")
    headers = senders.stripe("whsec_hush", BODY, AT, before=f"v1={'0' * 64},v2=x,")
    check(signing, headers)
    other_scheme = headers["Stripe-Signature"].replace("v1=", "v0=")
    with pytest.raises(WrongSignature):
        check(signing, {"Stripe-Signature": other_scheme})


def test_replay_of_stripe_is_known_whatever_stands_beside_the_signature() -> None:
    signing = Signing(preset="stripe", secret="whsec_hush")
    first = check(signing, senders.stripe("whsec_hush", BODY, AT))
    assert check(signing, senders.stripe("whsec_hush", BODY, AT, before="v1=00,")) == first


def test_any_v1_of_standard_webhooks_counts() -> None:
    signing = Signing(preset="standard", secret=STANDARD_SECRET)
    check(signing, senders.standard(STANDARD_SECRET, BODY, AT, before="v1a,AAAA v1,AAAA "))
    wrong_version = senders.standard(STANDARD_SECRET, BODY, AT)
    wrong_version["webhook-signature"] = wrong_version["webhook-signature"].replace("v1,", "v1a,")
    with pytest.raises(WrongSignature):
        check(signing, wrong_version)


@pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp"])
def test_standard_webhooks_sign_id_and_time(missing: str) -> None:
    headers = senders.standard(STANDARD_SECRET, BODY, AT)
    del headers[missing]
    with pytest.raises(WrongSignature):
        check(Signing(preset="standard", secret=STANDARD_SECRET), headers)


def test_token_of_gitlab() -> None:
    signing = Signing(preset="gitlab", secret="hush")
    assert check(signing, senders.gitlab("hush")) == Verified()
    for wrong in ("hus", "hush2", "HUSH", "é", "\u20ac"):
        with pytest.raises(WrongSignature):
            check(signing, senders.gitlab(wrong))


def test_signature_of_gitlab() -> None:
    signing = Signing(preset="gitlab", secret=STANDARD_SECRET)
    verified = check(signing, senders.standard(STANDARD_SECRET, BODY, AT))
    assert verified.timestamp == str(AT)
    with pytest.raises(SignatureRequired):  # the secret itself is no longer enough
        check(signing, senders.gitlab(STANDARD_SECRET))


def test_github_takes_no_weaker_signature() -> None:
    headers = senders.github("hush", BODY)
    with pytest.raises(WrongSignature):
        check(Signing(preset="github", secret="hush"), {"X-Hub-Signature-256": headers["X-Hub-Signature"]})
    with pytest.raises(SignatureRequired):
        check(Signing(preset="github", secret="hush"), {"X-Hub-Signature": headers["X-Hub-Signature"]})
