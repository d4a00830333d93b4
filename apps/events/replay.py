"""Send a stored event once more (events.md 2.3)."""

import logging
from typing import Any

from apps.core.errors import ConflictError, UnprocessableEntity
from apps.events.models import Event, Trigger
from apps.events.rule_port import RuleUse, rule_port
from apps.events.secrets import given_payload, real_payload
from apps.events.services import EventRequest, store_event

logger = logging.getLogger(__name__)

AS_IT_WAS: Any = object()  # null is a payload, too


class CannotReplay(ConflictError):
    """The event cannot be sent again"""


def replay_event(
    event: Event, *, by: str, rule_ref: str | None = None, payload: Any = AS_IT_WAS, reason: str = ""
) -> Event:
    """
    Store a new event like this one; it is decided on like any other. ``by`` and ``reason`` are for the log.

    ``rule_ref``: only this rule looks at it; else the rule that the old one was bound to, if it was.
    Raises CannotReplay when its trigger is gone or disabled, or the rule that it was bound to is gone;
    UnprocessableEntity for a rule that does not exist or has another trigger. Markers in a new payload keep the old
    event's secrets; ValidationFailed for one that stands for nothing.
    """
    trigger = event.trigger
    if trigger is None:
        raise CannotReplay(f"Trigger '{event.trigger_ref}' no longer exists")
    if not trigger.enabled:
        raise CannotReplay(f"Trigger '{trigger.ref}' is disabled")
    rule = _named_rule(rule_ref, trigger) if rule_ref is not None else _former_rule(event, trigger)
    given = AS_IT_WAS if payload is AS_IT_WAS else given_payload(payload, trigger.out_schema, edited=event)
    new = store_event(
        EventRequest(
            trigger=trigger,
            payload=real_payload(event) if given is AS_IT_WAS else given,
            config=event.config,
            rule=rule,
            replay_of=event,
        )
    )
    logger.info("Event %s was sent again as %s by %s: %.200r", event.pk, new.pk, by, reason)
    return new


def _named_rule(ref: str, trigger: Trigger) -> RuleUse:
    rule = rule_port.by_ref(ref)
    if rule is None:
        raise UnprocessableEntity(f"Rule '{ref}' does not exist")
    if rule.trigger_ref != trigger.ref:
        raise UnprocessableEntity(f"Rule '{ref}' has another trigger: {rule.trigger_ref}")
    return rule


def _former_rule(event: Event, trigger: Trigger) -> RuleUse | None:
    """Return the rule that the event was bound to, None when it was not bound: then all rules look at it."""
    if event.rule_ref is None:
        return None
    rule = rule_port.by_id(event.rule) if event.rule is not None else None
    if rule is None or rule.trigger_ref != trigger.ref:
        raise CannotReplay(f"Rule '{event.rule_ref}', which alone looked at it, is gone; name another as rule_ref")
    return rule
