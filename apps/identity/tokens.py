"""JSON web tokens: making and reading them (auth.md section 2). Nothing here asks the database."""

import hashlib
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from django.conf import settings

ALGORITHM = "HS256"
LEEWAY_SECONDS = 60
INTEGRATION_SCOPE = "integration_token"
TYPES = frozenset({"access", "refresh", "sensor", "execution", "worker"})
_MAX_ID = 2**63 - 1
# Ours is checked below: PyJWT would look at claims that are none of our business (nbf, aud, iss).
_SIGNATURE_ONLY = {
    "verify_signature": True,
    **{f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")},
}


class InvalidToken(Exception):
    """The text is no token of this server."""


class ExpiredToken(InvalidToken):
    """The token was good and its time is over."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a verified token says."""

    subject: int
    login: str
    issued_at: int
    expires_at: int
    token_type: str
    scope: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def key_id(secret: str) -> str:
    """Return the ``kid`` of a secret: the first 8 hex digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def mint(
    *,
    subject: int,
    login: str,
    token_type: str,
    lifetime_seconds: int,
    scope: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """Return a signed token that is good from now on."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": str(subject),
        "login": login,
        "iat": now,
        "exp": now + lifetime_seconds,
        "token_type": token_type,
        "jti": secrets.token_hex(8),  # nobody reads it; two tokens of one second differ by it
    }
    if scope is not None:
        claims["scope"] = scope
    if metadata is not None:
        claims["metadata"] = dict(metadata)
    return jwt.encode(claims, settings.JWT_SECRET, algorithm=ALGORITHM, headers={"kid": key_id(settings.JWT_SECRET)})


def mint_access_token(identity_id: int, login: str) -> str:
    seconds = int(settings.JWT_ACCESS_LIFETIME.total_seconds())
    return mint(subject=identity_id, login=login, token_type="access", lifetime_seconds=seconds)


def mint_refresh_token(identity_id: int, login: str) -> str:
    seconds = int(settings.JWT_REFRESH_LIFETIME.total_seconds())
    return mint(subject=identity_id, login=login, token_type="refresh", lifetime_seconds=seconds)


def mint_integration_refresh_token(token_id: int, login: str, *, identity_id: int) -> str:
    """Return the refresh token of an integration token; it ends with that one."""
    return mint(
        subject=token_id,
        login=login,
        token_type="refresh",
        lifetime_seconds=int(settings.JWT_REFRESH_LIFETIME.total_seconds()),
        scope=INTEGRATION_SCOPE,
        metadata={
            "identity_id": identity_id,
            "integration_token_id": token_id,
            "auth_method": "integration_token",
        },
    )


def mint_execution_token(
    *,
    execution_id: int,
    action_ref: str,
    executor: int,
    permission_set_refs: Iterable[str],
    epoch: int,
    lifetime_seconds: int = 360,
    standard_access_action_refs: Iterable[str] = (),
    standard_access_pack_refs: Iterable[str] = (),
) -> str:
    """
    Return the token that a process gets as ``ATTUNE_API_TOKEN``.

    ``executor`` is the id of the identity it runs for. Lifetime: the time limit of the process and 60 s.
    """
    return mint(
        subject=executor,
        login=f"execution:{execution_id}",
        token_type="execution",
        lifetime_seconds=lifetime_seconds,
        scope="execution",
        metadata={
            "execution_id": execution_id,
            "action_ref": action_ref,
            "permission_set_refs": list(permission_set_refs),
            "standard_access_action_refs": list(standard_access_action_refs),
            "standard_access_pack_refs": list(standard_access_pack_refs),
            "epoch": epoch,
        },
    )


def mint_sensor_token(
    sensor_ref: str, trigger_types: Iterable[str], lifetime_seconds: int = 86_400, *, identity_id: int
) -> str:
    """
    Return the token that a sensor posts events with. ``identity_id``: of ``sensor:<ref>``.

    Whoever needs the identity as well asks ``apps.identity.sensor_tokens``.
    """
    return mint(
        subject=identity_id,
        login=sensor_ref,
        token_type="sensor",
        lifetime_seconds=lifetime_seconds,
        scope="sensor",
        metadata={"trigger_types": list(trigger_types)},
    )


def read(token: str) -> Claims:
    """
    Return what the token says once its signature and its time are good.

    Raises ExpiredToken for one whose time is over, InvalidToken for everything else. The type is not looked at.
    """
    claims = _claims_of(_verified(token))
    now = time.time()
    if claims.issued_at > now + LEEWAY_SECONDS:
        raise InvalidToken("issued in the future")
    if claims.expires_at <= now - LEEWAY_SECONDS:
        raise ExpiredToken("expired")
    return claims


def _verified(token: str) -> Mapping[str, Any]:
    """Return the payload as it was signed by one of our secrets."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise InvalidToken("malformed") from error
    for secret in _candidates(header.get("kid")):
        try:
            return jwt.decode(token, secret, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)  # type: ignore[arg-type]  # a plain dict of the flags it names
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise InvalidToken("malformed") from error
    raise InvalidToken("signed with another secret")


def _candidates(kid: object) -> Iterable[str]:
    """Return the secrets that may have signed: the one with this id, or all when there is no id."""
    secrets = (settings.JWT_SECRET, *settings.JWT_PREVIOUS_SECRETS)
    return secrets if kid is None else [secret for secret in secrets if key_id(secret) == kid]


def _claims_of(payload: Mapping[str, Any]) -> Claims:
    subject, login = payload.get("sub"), payload.get("login")
    issued_at, expires_at = payload.get("iat"), payload.get("exp")
    token_type = payload.get("token_type", "access")
    scope, metadata = payload.get("scope"), payload.get("metadata")
    if not (isinstance(subject, str) and subject.isascii() and subject.isdigit() and len(subject) <= 19):
        raise InvalidToken("sub is not a decimal number")
    if int(subject) > _MAX_ID or not isinstance(login, str):
        raise InvalidToken("sub or login is not possible")
    if type(issued_at) is not int or type(expires_at) is not int:
        raise InvalidToken("iat and exp must be whole seconds")
    if not isinstance(token_type, str) or token_type not in TYPES:
        raise InvalidToken("unknown token_type")
    if not isinstance(scope, str | None) or not isinstance(metadata, dict | None):
        raise InvalidToken("scope or metadata has the wrong type")
    return Claims(
        subject=int(subject),
        login=login,
        issued_at=issued_at,
        expires_at=expires_at,
        token_type=token_type,
        scope=scope,
        metadata=metadata or {},
    )
