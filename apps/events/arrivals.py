"""Events that programs send: whose they are, and which rule they are bound to (events.md 2.1)."""

import logging
from collections.abc import Mapping
from typing import Any

from apps.core.errors import NotFound
from apps.events.models import Event, Sensor, Trigger
from apps.events.rule_port import RuleUse, rule_port
from apps.events.secrets import given_payload
from apps.events.services import EventRequest, store_event
from apps.identity.callers import Caller
from apps.identity.denials import refused

logger = logging.getLogger(__name__)

_INSTANCE = "rule_"  # how a trigger_instance_id begins


def accept_event(caller: Caller, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Event:
    """
    Store the event of a checked body of ``POST /api/v1/events``.

    Raises NotFound for its trigger, Forbidden for one that the sensor's token does not serve, ValidationFailed for a
    marker in the place of a secret.
    """
    trigger = Trigger.objects.filter(ref=body["trigger_ref"]).first()
    if trigger is None:
        raise NotFound(f"Trigger '{body['trigger_ref'][:255]}' not found")
    if caller.trigger_types and trigger.ref not in caller.trigger_types:
        raise refused(f"The token does not serve trigger '{trigger.ref}'", trigger)
    is_sensor = caller.token_type == "sensor"
    return store_event(
        EventRequest(
            trigger=trigger,
            payload=given_payload(body.get("payload"), trigger.out_schema),
            config=body.get("config"),
            source=Sensor.objects.only("ref").filter(ref=caller.login).first() if is_sensor else None,
            source_ref=caller.login if is_sensor else None,
            rule=_bound_rule(trigger, body.get("trigger_instance_id"), body.get("rule_ref")),
            idempotency_key=idempotency_key,
        )
    )


def _bound_rule(trigger: Trigger, instance_id: str | None, rule_ref: str | None) -> RuleUse | None:
    """Return the rule that is named, by the first of the two that names one; never an error, a warning in the log."""
    for name, text, rule in (
        ("trigger_instance_id", instance_id, _of_instance(instance_id)),
        ("rule_ref", rule_ref, rule_port.by_ref(rule_ref) if rule_ref else None),
    ):
        if rule is not None and rule.trigger_ref == trigger.ref:
            return rule
        if text is not None:
            logger.warning("%s %.300r names no rule of trigger '%s'", name, text, trigger.ref)
    return None


def _of_instance(text: str | None) -> RuleUse | None:
    if text is None or not text.startswith(_INSTANCE):
        return None
    named = text.removeprefix(_INSTANCE)
    if named.isascii() and named.isdigit():
        return rule_port.by_id(int(named)) if len(named) <= len(str(2**63)) else None
    return rule_port.by_ref(named)
