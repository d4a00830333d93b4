"""Store what happens; the rules are decided in the same transaction."""

import logging
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.core import clock, sql
from apps.core.collisions import despite_others
from apps.events.models import Event, Sensor, Trigger
from apps.events.rule_port import RuleUse
from apps.events.secrets import keep_payload, without_secrets
from apps.events.signals import event_stored

logger = logging.getLogger(__name__)

SYSTEM_SOURCE = "system"  # source_ref of what the product itself says


@dataclass(frozen=True, kw_only=True)
class EventRequest:
    """
    One event to store. ``payload`` and ``config`` are any JSON and kept verbatim.

    ``rule``: only this rule looks at it. ``correlation_id`` None: a new one.
    """

    trigger: Trigger
    payload: Any = None
    config: Any = None
    source: Sensor | None = None
    source_ref: str | None = None
    rule: RuleUse | None = None
    idempotency_key: str | None = None
    replay_of: Event | None = None
    correlation_id: UUID | None = None


def store_event(request: EventRequest) -> Event:
    """Store an event and have its rules decided, all in one transaction (the caller's, when there is one)."""
    return despite_others(partial(_store, request))


@transaction.atomic(savepoint=False)  # what fails here fails the caller's transaction
def _store(request: EventRequest) -> Event:
    rule = request.rule
    payload, secrets = without_secrets(request.payload, request.trigger.out_schema)
    event = Event(
        trigger=request.trigger,
        trigger_ref=request.trigger.ref,
        config=request.config,
        payload=payload,
        source=request.source,
        source_ref=request.source_ref,
        rule=rule.id if rule is not None else None,
        rule_ref=rule.ref if rule is not None else None,
        idempotency_key=request.idempotency_key,
        replay_of=request.replay_of,
        processed_at=clock.now(),  # true once this transaction commits; taken back when a rule could not be decided
    )
    if request.correlation_id is not None:
        event.correlation_id = request.correlation_id
    _insert(event)
    if secrets:
        keep_payload(event, request.payload, secrets)
    _tell(event, rule)
    return event


def emit(trigger_ref: str, payload: Any, **fields: Any) -> Event | None:
    """Store an event that the product itself has to tell; None when it does not know the trigger (any more)."""
    trigger = Trigger.objects.filter(ref=trigger_ref).first()
    if trigger is None:
        logger.warning("There is no trigger '%s'; an event of it is not stored", trigger_ref)
        return None
    return store_event(EventRequest(trigger=trigger, payload=payload, source_ref=SYSTEM_SOURCE, **fields))


_GIVEN_BACK = ("id", "created", "correlation_id")
_ATTRIBUTES = {str(f.column): f.attname for f in Event._meta.concrete_fields if f.column not in _GIVEN_BACK}


def _insert(event: Event) -> None:
    """Write the row, and take over what the database gave it."""
    row = {column: getattr(event, attribute) for column, attribute in _ATTRIBUTES.items()}
    if isinstance(event.correlation_id, UUID):
        row["correlation_id"] = event.correlation_id
    event.pk, event.created, event.correlation_id = sql.insert_returning(Event, row, _GIVEN_BACK)
    event._state.adding, event._state.db = False, connection.alias


def _tell(event: Event, rule: RuleUse | None) -> None:
    try:
        event_stored.send(sender=Event, event=event, rule=rule)
    except Exception:  # a fault above must never lose the event
        logger.exception("The rules of event %s could not be decided; the sweep tries again", event.pk)
        event.processed_at = None
        Event.objects.filter(pk=event.pk).update(processed_at=None)
