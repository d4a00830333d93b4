"""
The gate (auth.md 1.2): who a request comes from.

A cookie that is present decides, then the header; a browser's session counts where neither is given, and only with
its CSRF token. At most two queries.
"""

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from apps.core.errors import GateError, Unauthorized
from apps.identity import tokens
from apps.identity.audit.origin import note_claims
from apps.identity.callers import Caller
from apps.identity.errors import IdentityFrozen
from apps.identity.executions import execution_standing
from apps.identity.models import SYSTEM_LOGIN, Identity
from apps.identity.tokens import Claims

ACCESS_COOKIE = "attune_access_token"
REFRESH_COOKIE = "attune_refresh_token"
AFTERLIFE = timedelta(seconds=60)  # an execution token outlives its execution by this much

INVALID = "Invalid authentication token"
EXPIRED = "Authentication token expired"

# Every request asks this: as plain SQL it costs a quarter of what composing the same query does.
_IDENTITY = "SELECT * FROM identity WHERE id = %s"


class TokenAuthentication(BaseAuthentication):
    """Bearer tokens, in the access cookie or the header."""

    def authenticate(self, request: Request) -> tuple[Identity | None, Caller] | None:
        token = bearer_of(request._request)
        if token is None:
            return None
        claims = read(token)
        note_claims(claims)  # for the audit trail, if it ends here
        caller = caller_of(claims)
        return caller.holder, caller

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class BrowserAuthentication(SessionAuthentication):
    """A browser that signed in at the admin; writes need the CSRF token."""

    def authenticate(self, request: Request) -> tuple[Identity, Caller] | None:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        identity = request._request.user
        if not isinstance(identity, Identity):
            return None
        self.enforce_csrf(request)
        if identity.frozen:
            raise IdentityFrozen
        return identity, Caller(holder=identity, token_type="access", login=identity.login)

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def bearer_of(request: HttpRequest) -> str | None:
    """Return the token of the request, None without one. Raises GateError for a header of another kind."""
    cookie = request.COOKIES.get(ACCESS_COOKIE)
    if cookie:  # an empty one is how a browser was told to forget it
        return cookie
    header = request.META.get("HTTP_AUTHORIZATION")
    if header is None:
        return None
    if not header.startswith("Bearer "):
        raise GateError(INVALID)
    return str(header.removeprefix("Bearer "))


def read(token: str) -> Claims:
    """Return the claims of a token that may act as bearer. Raises GateError."""
    try:
        claims = tokens.read(token)
    except tokens.ExpiredToken:
        raise GateError(EXPIRED) from None
    except tokens.InvalidToken:
        raise GateError(INVALID) from None
    if claims.token_type == "refresh":
        raise GateError(INVALID)
    return claims


def caller_of(claims: Claims) -> Caller:
    """Return the caller. Raises Unauthorized when the identity is gone, Forbidden when it is frozen."""
    match claims.token_type:
        case "access":
            identity = _unfrozen(claims)
            return Caller(holder=identity, token_type="access", login=identity.login)
        case "execution":
            return _execution_caller(claims)
        case "sensor":
            return Caller(
                holder=_unfrozen(claims),
                token_type="sensor",
                login=claims.login,
                trigger_types=_texts(claims.metadata.get("trigger_types")),
            )
        case _:
            return Caller(
                holder=None,
                token_type="worker",
                login=claims.login,
                worker_id=_number(claims.metadata.get("worker_id")),
            )


def identity_of(claims: Claims) -> Identity:
    """Return the identity of a token. Raises Unauthorized when it is gone."""
    for identity in Identity.objects.raw(_IDENTITY, [claims.subject]):
        return identity
    raise Unauthorized("Identity not found")


def _unfrozen(claims: Claims) -> Identity:
    identity = identity_of(claims)
    if identity.frozen:
        raise IdentityFrozen
    return identity


def _execution_caller(claims: Claims) -> Caller:
    """Identities that are frozen or gone are not refused here: their running executions go on (auth.md 2.3, 6.2)."""
    execution_id, epoch = _number(claims.metadata.get("execution_id")), claims.metadata.get("epoch")
    if epoch is not None:
        standing = execution_standing(execution_id)
        if standing is None or standing.epoch != epoch:
            raise GateError(INVALID)
        if standing.finished_at is not None and timezone.now() > standing.finished_at + AFTERLIFE:
            raise GateError(INVALID)
    action_ref = claims.metadata.get("action_ref")
    return Caller(
        holder=_executor_of(claims),
        token_type="execution",
        login=claims.login,
        execution_id=execution_id,
        action_ref=action_ref if isinstance(action_ref, str) else None,
        permission_set_refs=_texts(claims.metadata.get("permission_set_refs")),
        standard_access_action_refs=_texts(claims.metadata.get("standard_access_action_refs")),
        standard_access_pack_refs=_texts(claims.metadata.get("standard_access_pack_refs")),
        epoch=epoch,
    )


def _executor_of(claims: Claims) -> Identity:
    """Return the identity that an execution runs for; once that is deleted nobody stands behind it but the system."""
    for identity in Identity.objects.raw(_IDENTITY, [claims.subject]):
        return identity
    return Identity.objects.get(login=SYSTEM_LOGIN)


def _number(value: object) -> int:
    if type(value) is not int or not 0 < value < 2**63:
        raise GateError(INVALID)
    return value


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise GateError(INVALID)
    return tuple(value)
