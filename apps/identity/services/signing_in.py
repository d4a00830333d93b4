"""Sign in with a password, an integration token or a refresh token."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from apps.core import clock
from apps.core.errors import AttuneError
from apps.identity import audit, integration_tokens, passwords, throttle, tokens
from apps.identity.errors import IdentityFrozen, InvalidSecret, WrongCredentials
from apps.identity.models import Identity, IntegrationToken
from apps.identity.tokens import INTEGRATION_SCOPE, Claims

_TOKEN_LOGIN = "\x00integration token"  # no login: those hold no U+0000


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What signing in gives."""

    access_token: str
    refresh_token: str
    expires_in_seconds: int


def tokens_for(identity: Identity, through: IntegrationToken | None = None) -> Tokens:
    """Return two new tokens; ``through``: the integration token whose end is theirs."""
    refresh_token = (
        tokens.mint_refresh_token(identity.pk, identity.login)
        if through is None
        else tokens.mint_integration_refresh_token(through.pk, identity.login, identity_id=identity.pk)
    )
    return Tokens(
        access_token=tokens.mint_access_token(identity.pk, identity.login),
        refresh_token=refresh_token,
        expires_in_seconds=int(settings.JWT_ACCESS_LIFETIME.total_seconds()),
    )


def sign_in(login: str, password: str, *, address: str) -> Identity:
    """
    Return the identity with this login and password.

    Raises WrongCredentials alike for an unknown login, no password and a wrong one; TooManyFailures after ten of
    them from one address; IdentityFrozen.
    """
    try:
        identity = _with_password(login, password, address)
    except AttuneError as error:
        _record_failure("auth.login", Identity.objects.filter(login=login).first(), error)
        raise
    _record_success("auth.login", identity)
    return identity


def _with_password(login: str, password: str, address: str) -> Identity:
    count = throttle.key_for(login, address)
    throttle.check(count)
    identity = Identity.objects.filter(login=login).first()
    if not passwords.matches(identity.password_hash if identity else None, password) or identity is None:
        throttle.count(count)
        raise WrongCredentials
    throttle.check(count)  # many attempts at once must not get past the limit together
    if identity.frozen:
        raise IdentityFrozen
    throttle.clear(count)
    _remember_sign_in(identity, password)
    return identity


def _remember_sign_in(identity: Identity, password: str) -> None:
    changes: dict[str, Any] = {"last_login_at": clock.now()}
    if passwords.is_outdated(identity.password_hash or ""):
        changes["password_hash"] = passwords.hashed(password)
    # Only these columns, and only if the password is still this one: a change at the same moment stays.
    Identity.objects.filter(pk=identity.pk, password_hash=identity.password_hash).update(**changes)
    for name, value in changes.items():
        setattr(identity, name, value)


def sign_in_with_token(secret: str, *, address: str) -> tuple[Identity, Tokens]:
    """
    Return the identity of an integration token, and tokens that end with it.

    Raises InvalidSecret alike for a secret that is unknown, revoked, expired, or of a frozen identity;
    TooManyFailures after ten of them from one address.
    """
    try:
        identity, made = _with_token(secret, address)
    except AttuneError as error:
        token = integration_tokens.with_secret(secret)
        _record_failure("auth.token_login", token.identity if token is not None else None, error)
        raise
    _record_success("auth.token_login", identity)
    return identity, made


def _with_token(secret: str, address: str) -> tuple[Identity, Tokens]:
    count = throttle.key_for(_TOKEN_LOGIN, address)
    throttle.check(count)
    token = integration_tokens.with_secret(secret)
    if token is None or token.identity.frozen or not integration_tokens.used(token, address=address):
        throttle.count(count)
        raise InvalidSecret
    throttle.check(count)  # as for passwords
    throttle.clear(count)
    Identity.objects.filter(pk=token.identity_id).update(last_login_at=clock.now())
    return token.identity, tokens_for(token.identity, token)


def _record_success(event: str, identity: Identity) -> None:
    audit.note_actor(identity)
    audit.record(f"{event}.success", actor=identity, resource_type="identity", resource_id=identity.pk)


def _record_failure(event: str, identity: Identity | None, error: AttuneError) -> None:
    """A login that nobody has is not kept: people type their passwords there."""
    audit.record(
        f"{event}.failure",
        outcome="failure",
        actor=audit.Actor(login=identity.login) if identity is not None else None,
        resource_type="identity" if identity is not None else None,
        resource_id=identity.pk if identity is not None else None,
        details={"reason": type(error).__name__},
    )


def refresh(token: str, *, address: str = "") -> tuple[Identity, Tokens]:
    """
    Return new tokens for a refresh token.

    Raises WrongCredentials for any other text, InvalidSecret when the integration token behind it has ended,
    IdentityFrozen.
    """
    try:
        claims = tokens.read(token)
    except tokens.ExpiredToken:
        raise WrongCredentials("Refresh token expired") from None
    except tokens.InvalidToken:
        raise WrongCredentials("Invalid refresh token") from None
    if claims.token_type != "refresh":
        raise WrongCredentials("Invalid refresh token")
    if claims.scope == INTEGRATION_SCOPE:
        return _refresh_integration(claims, address)
    identity = Identity.objects.filter(pk=claims.subject).first()
    if identity is None:
        raise WrongCredentials("Invalid refresh token")
    if identity.frozen:
        raise IdentityFrozen
    audit.note_actor(identity)
    return identity, tokens_for(identity)


def _refresh_integration(claims: Claims, address: str) -> tuple[Identity, Tokens]:
    token = integration_tokens.with_id(claims.subject)
    named = claims.metadata.get("identity_id"), claims.metadata.get("integration_token_id")
    if token is None or named != (token.identity_id, token.pk):
        raise InvalidSecret
    if token.identity.frozen:
        raise IdentityFrozen
    if not integration_tokens.used(token, address=address):
        raise InvalidSecret
    audit.note_actor(token.identity)
    return token.identity, tokens_for(token.identity, token)
