"""What goes into the trail: domain events by ``record``, requests by ``record_request``."""

import logging
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.http import HttpRequest
from django.utils import timezone

from apps.core.api import query
from apps.identity.audit import chains, origin
from apps.identity.audit.chains import Link
from apps.identity.audit.entry import Entry
from apps.identity.audit.masking import masked_details, masked_text
from apps.identity.audit.origin import Actor, RequestFacts
from apps.identity.audit.trail import trail
from apps.identity.models import AuditCategory, AuditOutcome, Identity

if TYPE_CHECKING:
    from apps.identity.callers import Caller  # it records denials itself

logger = logging.getLogger(__name__)

# By the first word of an event type; plain texts, which go into the database without a detour.
_CATEGORIES = {
    "api": AuditCategory.API.value,
    "artifact": AuditCategory.API.value,
    "auth": AuditCategory.AUTH.value,
    "rbac": AuditCategory.RBAC.value,
    "admin": AuditCategory.ADMIN.value,
    "maintenance": AuditCategory.ADMIN.value,
    "audit_log": AuditCategory.ADMIN.value,
    "secret": AuditCategory.SECRET.value,
    "pack": AuditCategory.PACK.value,
    "execution": AuditCategory.EXECUTION.value,
}


def record(
    event_type: str,
    *,
    outcome: str = "success",
    category: str | None = None,
    actor: "Identity | Caller | Actor | None" = None,
    resource_type: str | None = None,
    resource_id: int | None = None,
    resource_ref: str | None = None,
    details: Mapping[str, Any] | None = None,
    request: Any = None,
) -> None:
    """
    Put a domain event into the trail; from any thread, inside or outside of a request. Never raises.

    A success that is part of a transaction is recorded once that commits; a failure or denial at once. Who acts and
    the request are those of the request being answered; ``request`` names it where its view has returned (a stream),
    ``actor`` whoever else acts. The chain begins at the resource where that is an execution, enforcement or event.
    Fields of ``details`` that are named like secrets are masked, but better left out.
    """
    try:
        about = {
            "category": category or _CATEGORIES[event_type.partition(".")[0]],
            "event_type": event_type,
            "outcome": outcome,
            "resource_type": resource_type,
            "resource_id": resource_id,
            "resource_ref": masked_text(resource_ref) if resource_ref is not None else None,
            "details": masked_details(details or {}),
        }
        own: tuple[Link, ...] = ()
        if chains.is_linked(resource_type) and resource_id is not None:
            own = ((str(resource_type), resource_id),)
        given = origin.plain(request) if request is not None else origin.present_request()
        entry = _entry(about, given, origin.actor_of(actor) if actor is not None else None, own)
    except Exception:  # the trail must not be in the way of what it tells of
        logger.exception("An audit event of type %s could not be made", event_type)
        return
    _add(entry)


def _add(entry: Entry) -> None:
    in_transaction = connection.in_atomic_block  # asks no database
    if in_transaction and entry.columns["outcome"] == AuditOutcome.SUCCESS:
        transaction.on_commit(partial(trail.add, entry), robust=True)
    else:
        # Whoever is in a transaction may hold what the writer waits for.
        trail.add(entry, may_wait=not in_transaction)


def record_request(request: HttpRequest, *, status: int, duration_ms: int, details: Mapping[str, Any]) -> None:
    """Put the event of a whole request into the trail. Never raises."""
    try:
        outcome = outcome_of(status)
        kind, own_id, ref = _resource_of(request)
        about = {
            "category": AuditCategory.API.value,
            "event_type": f"api.{(request.method or 'other').lower()[:20]}.{outcome}",
            "outcome": outcome,
            "resource_type": kind,
            "resource_id": own_id,
            "resource_ref": ref,
            "details": dict(details),
        }
        entry = _entry(about, request, None, ())
        entry.columns["http_status"] = status
        entry.columns["duration_ms"] = duration_ms
    except Exception:  # the trail must not be in the way of what it tells of
        logger.exception("The audit event of a request could not be made")
        return
    trail.add(entry)


def outcome_of(status: int) -> str:
    if status in (401, 403):
        return AuditOutcome.DENIED.value
    return AuditOutcome.FAILURE.value if status >= 400 else AuditOutcome.SUCCESS.value


def _entry(
    about: dict[str, Any], request: HttpRequest | None, given: Actor | None, own_links: tuple[Link, ...]
) -> Entry:
    actor = given or origin.NOBODY
    facts = None
    if request is not None:
        facts = RequestFacts.of(request)
        actor = _completed(given, origin.actor_in(request))
    links: list[Link] = []
    if actor.execution_id is not None:
        links.append(("execution", actor.execution_id))
    if facts is not None and facts.request_id is not None:
        links.append((chains.REQUEST, str(facts.request_id)))
    columns = {
        **about,
        "actor_identity": actor.identity_id,
        "actor_login": masked_text(actor.login) if actor.login is not None else None,
        "actor_token_type": actor.token_type,
        "actor_ip": facts.ip if facts else None,
        "actor_user_agent": facts.user_agent if facts else None,
        "request_id": facts.request_id if facts else None,
        "http_method": facts.method if facts else None,
        "http_path": facts.path if facts else None,
        "http_status": None,
        "duration_ms": None,
    }
    return Entry(timezone.now(), columns, (*links, *own_links))


def _completed(given: Actor | None, known: Actor) -> Actor:
    """Return who was named, with what the request knows of the same one."""
    if given is None:
        return known
    is_same = given.identity_id is not None and given.identity_id == known.identity_id
    return known if is_same and given.token_type is None else given


# --- What a request is about -------------------------------------------------------------------------------------

# The collections of the API whose objects a path names, and what one of them is called.
_COLLECTIONS = {
    "packs": "pack",
    "actions": "action",
    "policies": "policy",
    "triggers": "trigger",
    "sensors": "sensor",
    "rules": "rule",
    "events": "event",
    "enforcements": "enforcement",
    "executions": "execution",
    "workflows": "workflow",
    "inquiries": "inquiry",
    "keys": "key",
    "artifacts": "artifact",
    "queues": "queue",
    "runtimes": "runtime",
    "workers": "worker",
    "identities": "identity",
}


def resource_of_request() -> tuple[str | None, int | None, str | None]:
    """Return type, id and ref of the object that the present request's path names."""
    request = origin.present_request()
    return _resource_of(request) if request is not None else (None, None, None)


def _resource_of(request: HttpRequest) -> tuple[str | None, int | None, str | None]:
    """Return type, id and ref of the object that ``/api/v1/<collection>/<object>`` names."""
    match = request.resolver_match
    parts = request.path_info.split("/", 5)
    if match is None or len(parts) < 5 or parts[1] != "api":
        return None, None, None
    kind, name = _COLLECTIONS.get(parts[3]), parts[4]
    if kind is None or name not in match.kwargs.values():
        return None, None, None
    if name.isascii() and name.isdigit():
        is_possible = len(name) <= len(str(query.MAX_ID)) and int(name) <= query.MAX_ID
        return kind, int(name) if is_possible else None, None
    return kind, None, masked_text(name)
