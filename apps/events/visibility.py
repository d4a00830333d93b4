"""
Who may see triggers, sensors and events (auth.md section 5): whoever holds the read grant sees all of them.

A sensor's token reads triggers and its own sensor, whatever the grants say (auth.md 2.7).
"""

from typing import TYPE_CHECKING

from apps.core.errors import Forbidden
from apps.events.models import Event, Sensor, Trigger

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller

# What a route that sensors may read admits.
WITH_SENSORS = frozenset({"access", "execution", "sensor"})


def visible_triggers(caller: "Caller") -> "QuerySet[Trigger]":
    """Return the triggers that the caller may see, by ref."""
    triggers = Trigger.objects.order_by("ref")
    return triggers if caller.token_type == "sensor" or caller.allows("triggers:read") else triggers.none()


def visible_sensors(caller: "Caller") -> "QuerySet[Sensor]":
    """Return the sensors that the caller may see, by ref."""
    sensors = Sensor.objects.order_by("ref")
    if caller.token_type == "sensor":
        return sensors.filter(ref=caller.login)
    return sensors if caller.allows("triggers:read") else sensors.none()


def require_own(caller: "Caller", sensor_ref: str) -> None:
    """Raise Forbidden for the token of another sensor; other tokens are not its business."""
    if caller.token_type == "sensor" and caller.login != sensor_ref:
        raise Forbidden("A sensor can read only its own sensor")


def visible_events(caller: "Caller") -> "QuerySet[Event]":
    """Return the events that the caller may read: with a grant for events, or for their triggers."""
    may_read = caller.allows("events:read") or caller.allows("triggers:read")
    return Event.objects.all() if may_read else Event.objects.none()
