"""What callers may ask of sensors' rows: create, change, enable, disable; to delete one, delete its row."""

from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction

from apps.actions.placement import check_placement
from apps.actions.services import PLACEMENT, MalformedPlacement
from apps.core.errors import NotFound
from apps.events.models import Sensor, Trigger
from apps.events.signals import sensors_changed
from apps.events.triggers import check_schemas, existing_pack
from apps.workers.models import Runtime


@transaction.atomic
def create_sensor(*, pack_ref: str, runtime_ref: str, trigger_ref: str, **fields: Any) -> tuple[Sensor, list[str]]:
    """
    Create an ad-hoc sensor that serves one trigger; return it, and the refs of sensors that served it until now.

    Raises NotFound for pack, runtime and trigger, MalformedPlacement, ValidationFailed for a schema that cannot be used.
    """
    _check(fields)
    pack = existing_pack(pack_ref)
    runtime = Runtime.objects.filter(ref=runtime_ref).first()
    if runtime is None:
        raise NotFound(f"Runtime '{runtime_ref}' not found")
    trigger = Trigger.objects.select_for_update(no_key=True).filter(ref=trigger_ref).first()
    if trigger is None:
        raise NotFound(f"Trigger '{trigger_ref}' not found")
    sensor = Sensor(**fields, pack=pack, pack_ref=pack.ref, runtime=runtime, runtime_ref=runtime.ref, is_adhoc=True)
    sensor.clean_fields(exclude=["pack", "runtime"])
    sensor.save(force_insert=True)
    return sensor, serve(sensor, [trigger])


@transaction.atomic
def update_sensor(sensor: Sensor, changes: Mapping[str, Any]) -> Sensor:
    """Change some fields of a sensor. Raises MalformedPlacement, ValidationFailed for a schema that cannot be used."""
    _check(changes)
    return sensor.set(**changes)


def set_enabled(sensor: Sensor, *, enabled: bool) -> Sensor:
    """Enable or disable a sensor: its program runs only while it is enabled."""
    return sensor if sensor.enabled == enabled else update_sensor(sensor, {"enabled": enabled})


@transaction.atomic
def serve(sensor: Sensor, triggers: Collection[Trigger]) -> list[str]:
    """
    Let the sensor serve these triggers and no others; return the refs of the sensors that lost one to it.

    A trigger belongs to one sensor at most, so the last that names it has it.
    """
    for trigger in sensor.triggers.exclude(pk__in=[trigger.pk for trigger in triggers]):
        trigger.set(sensor=None, sensor_ref=None)
    losers = []
    for trigger in triggers:
        if (trigger.sensor_id, trigger.sensor_ref) == (sensor.pk, sensor.ref):
            continue
        if trigger.sensor_id not in (None, sensor.pk) and trigger.sensor_ref:
            losers.append(trigger.sensor_ref)
        trigger.set(sensor=sensor, sensor_ref=sensor.ref)
    sensors_changed.send(sender=Sensor, refs=[sensor.ref, *losers])
    return losers


def _check(fields: Mapping[str, Any]) -> None:
    check_schemas(fields, ("param_schema",))
    malformed = check_placement(*(fields.get(name) for name in PLACEMENT))
    if malformed:
        raise MalformedPlacement("; ".join(malformed))
