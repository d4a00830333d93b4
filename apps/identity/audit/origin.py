"""Who acts, from where, in which request: taken from the request that is being answered, if there is one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

from django.http import HttpRequest

from apps.core.api.client import address_of
from apps.core.api.middleware import COOKIES
from apps.identity.audit.masking import masked_path, masked_text
from apps.identity.models import Identity
from apps.identity.tokens import Claims

if TYPE_CHECKING:
    from apps.identity.callers import Caller  # it records denials itself

_LONGEST_USER_AGENT = 300
_LONGEST_METHOD = 10

_request: ContextVar[HttpRequest | None] = ContextVar("attune_audited_request", default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who acts; everything is None where nobody stands behind it."""

    identity_id: int | None = None
    login: str | None = None
    token_type: str | None = None
    execution_id: int | None = None  # whose token it is


NOBODY = Actor()


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestFacts:
    """What a request says about itself; the path is without query and without keys."""

    ip: str | None
    user_agent: str | None
    request_id: UUID | None
    method: str
    path: str

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Read them, once per request."""
        known: Self | None = request.__dict__.get("_audit_facts")
        if known is None:
            given = request.__dict__.get("request_id")
            agent = request.META.get("HTTP_USER_AGENT")
            known = cls(
                ip=address_of(request) or None,
                user_agent=masked_text(agent, _LONGEST_USER_AGENT) if agent else None,
                request_id=UUID(given) if given else None,
                method=(request.method or "")[:_LONGEST_METHOD],
                path=masked_path(request.path),
            )
            request.__dict__["_audit_facts"] = known
        return known


@contextmanager
def answering(request: HttpRequest) -> Iterator[None]:
    """What is recorded within belongs to this request."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def plain(request: Any) -> HttpRequest:
    """Return Django's request under a request of the REST framework."""
    inner: HttpRequest = getattr(request, "_request", request)
    return inner


def present_request() -> HttpRequest | None:
    return _request.get()


def note_actor(actor: "Identity | Caller", *, token_type: str | None = None) -> None:
    """
    Say who acts in the present request, where the gate does not find out: a sign-in, a token that is refused.

    Outside of a request it has no effect.
    """
    request = _request.get()
    if request is not None:
        known = actor_of(actor)
        request.__dict__["_audit_actor"] = known if token_type is None else replace(known, token_type=token_type)


def note_claims(claims: Claims) -> None:
    """Say whose verified token a request brings, before it is known whether it is let in."""
    request = _request.get()
    if request is not None:
        identity_id = None if claims.token_type == "worker" else claims.subject
        request.__dict__["_audit_actor"] = Actor(
            identity_id=identity_id, login=claims.login, token_type=claims.token_type
        )


def actor_of(actor: "Identity | Caller | Actor") -> Actor:
    if isinstance(actor, Actor):
        return actor
    if isinstance(actor, Identity):
        return Actor(identity_id=actor.pk, login=actor.login)
    return Actor(
        identity_id=actor.identity_id,
        login=actor.login,
        token_type=actor.token_type,
        execution_id=actor.execution_id,
    )


def actor_in(request: HttpRequest) -> Actor:
    """Return who acts in a request as far as that is known; asks nobody (a session is not read for it)."""
    known = request.__dict__
    caller: Caller | None = known.get("auth")
    if caller is not None:
        found = actor_of(caller)
        return replace(found, token_type="session") if _is_session(request, found) else found
    noted: Actor | None = known.get("_audit_actor")
    if noted is not None:
        return noted
    for name in ("_cached_user", "user"):
        user = known.get(name)
        if type(user) is Identity:  # and not what would read it from the database
            return Actor(identity_id=user.pk, login=user.login, token_type="session")
    return NOBODY


def _is_session(request: HttpRequest, actor: Actor) -> bool:
    if actor.token_type != "access" or "HTTP_AUTHORIZATION" in request.META:
        return False
    return not any(request.COOKIES.get(name) for name in COOKIES)
