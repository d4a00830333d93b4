"""
Who really sent a request: signatures over its raw body (events.md 10.3, 10.5).

Each way of signing turns the request into a ``Claim``, what was signed and the signatures that came with it; one
function compares them, in constant time. Gitlab's plain token is the one that signs nothing.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from apps.core.errors import Unauthorized
from apps.events.webhooks.config import ALGORITHMS, DEFAULT_ALGORITHM, Signing

STANDARD_SECRET = "whsec_"
_USUAL_HEADERS = ("x-webhook-signature", "x-hub-signature-256")


class SignatureRequired(Unauthorized):
    """Signature required"""


class WrongSignature(Unauthorized):
    """Invalid webhook signature"""


class CannotVerify(Unauthorized):
    """Signature verification failed"""

    def __init__(self, why: str) -> None:
        super().__init__(f"Signature verification failed: {why}")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request: its headers (names in lower case) and its body as it came."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Any of these signatures is said to be that of ``prefix`` and the body. ``timestamp``: as it stands in there."""

    signatures: tuple[bytes, ...]
    prefix: bytes = b""
    timestamp: str | None = None
    algorithm: str = DEFAULT_ALGORITHM


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A signature that was right. With a signed time: that, and a name for what was signed, the same for a replay."""

    timestamp: str | None = None
    identity: str | None = None


Scheme = Callable[[Sent], Claim]


def check(signing: Signing, sent: Sent, now: datetime, *, timestamp_header: str | None = None) -> Verified:
    """
    Return what a right signature covers. Raises SignatureRequired, WrongSignature or CannotVerify.

    ``timestamp_header``: without a preset, the header whose value is signed ahead of the body.
    """
    secrets = signing.secrets_at(now)
    if signing.preset == "gitlab" and not (secrets and secrets[0].startswith(STANDARD_SECRET)):
        return _check_token(sent, secrets)
    if signing.preset is None:
        claim = _plain(signing, sent, timestamp_header)
    elif scheme := SCHEMES.get(signing.preset):
        claim = scheme(sent)
    else:
        raise CannotVerify("unknown preset")
    _compare(claim, sent.body, _keys(signing.preset, secrets))
    if claim.timestamp is None:
        return Verified()
    signed = hashlib.sha256(claim.prefix)
    signed.update(sent.body)
    return Verified(timestamp=claim.timestamp, identity=signed.hexdigest())


def key_of_standard_secret(secret: str) -> bytes | None:
    """Return the key in a secret of the standard kind (``whsec_`` and base64), None when there is none in it."""
    try:
        return base64.b64decode(secret.removeprefix(STANDARD_SECRET), validate=True) or None
    except ValueError:
        return None


def _keys(preset: str | None, secrets: Iterable[str]) -> list[bytes]:
    if preset in {"standard", "gitlab"}:
        keys = [key for secret in secrets if (key := key_of_standard_secret(secret))]
    else:
        keys = [secret.encode() for secret in secrets]
    if not keys:
        raise CannotVerify("there is no secret to verify it with")
    return keys


def _compare(claim: Claim, body: bytes, keys: Iterable[bytes]) -> None:
    right = False
    for key in keys:
        expected = hmac.new(key, claim.prefix, claim.algorithm)
        expected.update(body)
        digest = expected.digest()
        for signature in claim.signatures:
            right |= hmac.compare_digest(digest, signature)
    if not right:
        raise WrongSignature


def _check_token(sent: Sent, secrets: Iterable[str]) -> Verified:
    token = _required(sent, "x-gitlab-token").encode("latin-1", "replace")
    keys = _keys(None, secrets)
    # Hashed first: the comparison tells nothing of the secret's length.
    given = hashlib.sha256(token).digest()
    right = False
    for key in keys:
        right |= hmac.compare_digest(given, hashlib.sha256(key).digest())
    if not right:
        raise WrongSignature
    return Verified()


def _required(sent: Sent, *names: str) -> str:
    for name in names:
        if value := sent.headers.get(name, "").strip():
            return value
    raise SignatureRequired


def _plain(signing: Signing, sent: Sent, timestamp_header: str | None) -> Claim:
    value = _required(sent, *((signing.header.lower(),) if signing.header else _USUAL_HEADERS))
    if signing.algorithm not in ALGORITHMS:
        raise CannotVerify("the configured algorithm is not supported")
    prefix, separator, digits = value.rpartition("=")
    if separator and prefix.strip().lower() != signing.algorithm:
        raise CannotVerify(f"the signature is not of the algorithm {signing.algorithm}")
    timestamp = None if timestamp_header is None else sent.headers.get(timestamp_header.lower(), "").strip()
    return Claim(
        signatures=_of_hex([digits.strip()]),
        prefix=b"" if timestamp is None else _bytes(f"{timestamp}."),
        timestamp=timestamp,
        algorithm=signing.algorithm,
    )


def _github(sent: Sent) -> Claim:
    name, _, digits = _required(sent, "x-hub-signature-256").partition("=")
    return Claim(signatures=_of_hex([digits] if name == "sha256" else []))


def _slack(sent: Sent) -> Claim:
    version, _, digits = _required(sent, "x-slack-signature").partition("=")
    timestamp = sent.headers.get("x-slack-request-timestamp", "").strip()
    return Claim(
        signatures=_of_hex([digits] if version == "v0" else []),
        prefix=_bytes(f"v0:{timestamp}:"),
        timestamp=timestamp,
    )


def _stripe(sent: Sent) -> Claim:
    parts = [part.strip().partition("=") for part in _required(sent, "stripe-signature").split(",")]
    timestamp = next((value for name, _, value in parts if name == "t"), "")
    return Claim(
        signatures=_of_hex(value for name, _, value in parts if name == "v1"),
        prefix=_bytes(f"{timestamp}."),
        timestamp=timestamp,
    )


def _standard(sent: Sent) -> Claim:
    parts = [part.strip(",").partition(",") for part in _required(sent, "webhook-signature").split()]
    delivery_id = sent.headers.get("webhook-id", "").strip()
    timestamp = sent.headers.get("webhook-timestamp", "").strip()
    return Claim(
        signatures=_of_base64(value for version, _, value in parts if version == "v1"),
        prefix=_bytes(f"{delivery_id}.{timestamp}."),
        timestamp=timestamp,
    )


SCHEMES: dict[str, Scheme] = {
    "github": _github,
    "gitlab": _standard,
    "slack": _slack,
    "stripe": _stripe,
    "standard": _standard,
}


def _bytes(text: str) -> bytes:
    """Return the bytes of header text: servers read them as Latin-1."""
    return text.encode("latin-1", "replace")


def _of_hex(values: Iterable[str]) -> tuple[bytes, ...]:
    found = []
    for value in values:
        try:
            found.append(binascii.unhexlify(value))
        except ValueError:
            continue
    return tuple(found)


def _of_base64(values: Iterable[str]) -> tuple[bytes, ...]:
    found = []
    for value in values:
        try:
            found.append(base64.b64decode(value, validate=True))
        except ValueError:
            continue
    return tuple(found)
