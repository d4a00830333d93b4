"""
Who may see triggers, sensors and events (auth.md section 5).

A sensor's token reads triggers and its own sensor, whatever the grants say (auth.md 2.7).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from apps.core.errors import Forbidden
from apps.events.models import Event, EventQuerySet, Sensor, Trigger
from apps.identity.grants import NOTHING, Columns, Facts, any_of, condition, facts, narrowed
from apps.identity.grants.explaining import register_exception

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller

# What a route that sensors may read admits.
WITH_SENSORS = frozenset({"access", "execution", "sensor"})

COLUMNS = Columns(refs="ref", pack_refs="pack_ref")
EVENT_COLUMNS = Columns()
# An event is read with its trigger.
COLUMNS_OF_THEIR_TRIGGER = Columns(ids="trigger", refs="trigger_ref", pack_refs="trigger__pack_ref")


def _in_packs(refs: Collection[str]) -> Q:
    condition = NOTHING
    for ref in sorted(refs):
        condition = any_of(condition, Q(rule_ref__startswith=f"{ref}."))
    return condition


COLUMNS_OF_THEIR_RULE = Columns(ids="rule", refs="rule_ref", pack_refs=_in_packs)


def visible_triggers(caller: "Caller") -> "QuerySet[Trigger]":
    """Return the triggers that the caller may see, by ref."""
    triggers = Trigger.objects.order_by("ref")
    if caller.token_type == "sensor":
        return triggers
    return narrowed(triggers, condition(caller, "triggers:read", COLUMNS))


def visible_sensors(caller: "Caller") -> "QuerySet[Sensor]":
    """Return the sensors that the caller may see, by ref."""
    sensors = Sensor.objects.order_by("ref")
    if caller.token_type == "sensor":
        return sensors.filter(ref=caller.login)
    return narrowed(sensors, condition(caller, "triggers:read", COLUMNS))


def require_own(caller: "Caller", sensor_ref: str) -> None:
    """Raise Forbidden for the token of another sensor; other tokens are not its business."""
    if caller.token_type == "sensor" and caller.login != sensor_ref:
        raise Forbidden("A sensor can read only its own sensor")


def visible_events(caller: "Caller") -> EventQuerySet:
    """Return the events that the caller may read: with a grant for events, or for their triggers."""
    return narrowed(Event.objects.all(), readable_events(caller))


def readable_events(caller: "Caller") -> Q:
    """Return the condition of the events that the caller may read."""
    return any_of(
        condition(caller, "events:read", EVENT_COLUMNS),
        condition(caller, "triggers:read", COLUMNS_OF_THEIR_TRIGGER),
    )


def readable(caller: "Caller") -> Q:
    """Return the condition of the triggers, and likewise of the sensors, that the caller may see."""
    return condition(caller, "triggers:read", COLUMNS)


def with_rules(caller: "Caller") -> Q:
    """Return the condition of rows that belong to a rule of a higher app, which they know by id and ref."""
    return condition(caller, "rules:read", COLUMNS_OF_THEIR_RULE)


def facts_of_rule(rule_id: int, ref: str) -> Facts:
    """Return what is known here of a rule; the pack is the first part of its ref."""
    return Facts(id=rule_id, ref=ref, pack_ref=ref.partition(".")[0])


def trigger_facts_of(event: Event) -> Facts:
    """Return the facts of an event's trigger, as far as they outlive it."""
    pack_ref = event.trigger.pack_ref if event.trigger is not None else None
    return Facts(id=event.trigger_id, ref=event.trigger_ref, pack_ref=pack_ref)


def may_read_event(caller: "Caller", event: Event) -> bool:
    """Return True when the caller may read this event."""
    return caller.allows("events:read", event) or caller.allows("triggers:read", trigger_facts_of(event))


def _readable_by_trigger(caller: "Caller", action: str, event: Any) -> str | None:
    by_trigger = action == "read" and caller.allows("triggers:read", trigger_facts_of(event))
    return f"Events are read by whoever may read their trigger, {event.trigger_ref}" if by_trigger else None


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Trigger, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="triggers")
    facts.register(Sensor, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="triggers")
    facts.register(Event, lambda row: Facts(id=row.pk), resource="events", lookup="pk")
    register_exception("events", _readable_by_trigger)
