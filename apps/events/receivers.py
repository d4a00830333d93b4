"""
Rows that come, change and go, whoever does it: the API, a pack, the console, the deletion of something above them.

Said on in the transaction of the change (``apps.events.signals``).
"""

from typing import Any

from apps.events.models import Sensor, Trigger
from apps.events.signals import sensors_changed, triggers_changed
from apps.keys import secret_store

# Columns that say nothing about when a trigger's rules fire, or when a sensor's program runs.
_QUIET_OF_TRIGGER = frozenset({"webhook_enabled", "webhook_key", "webhook_config", "updated"})
_QUIET_OF_SENSOR = frozenset({"lease_worker", "lease_expires_at", "updated"})


def on_trigger_saved(*, instance: Trigger, update_fields: frozenset[str] | None = None, **_signal: Any) -> None:
    if update_fields is None or not update_fields <= _QUIET_OF_TRIGGER:
        triggers_changed.send(sender=Trigger, refs=[instance.ref])


def on_trigger_deleted(*, instance: Trigger, **_signal: Any) -> None:
    secret_store.forget(secret_store.WEBHOOK_CONFIG, [instance.pk])
    triggers_changed.send(sender=Trigger, refs=[instance.ref])
    if instance.sensor_ref:
        sensors_changed.send(sender=Sensor, refs=[instance.sensor_ref])


def on_sensor_saved(*, instance: Sensor, update_fields: frozenset[str] | None = None, **_signal: Any) -> None:
    if update_fields is None or not update_fields <= _QUIET_OF_SENSOR:
        sensors_changed.send(sender=Sensor, refs=[instance.ref])


def on_sensor_going(*, instance: Sensor, **_signal: Any) -> None:
    """Its triggers lose it, its ref too. They come before the sensor, and that before its processes."""
    Trigger.objects.filter(sensor=instance).update(sensor=None, sensor_ref=None)
    list(Sensor.objects.select_for_update(no_key=True).filter(pk=instance.pk).values_list("pk"))


def on_sensor_deleted(*, instance: Sensor, **_signal: Any) -> None:
    sensors_changed.send(sender=Sensor, refs=[instance.ref])
