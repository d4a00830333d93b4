"""Which sensors are to run, and with which rules."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch

from apps.events.models import Sensor, Trigger
from apps.events.notices import Entry, entry_of
from apps.events.rule_port import rule_port

# The scheduler serves these itself: a sensor that has no others has no process (events.md section 9).
TIMER_TRIGGERS = frozenset({"core.intervaltimer", "core.crontimer", "core.datetimetimer", "core.rruletimer"})


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A sensor that is to run, with the triggers it serves and the enabled rules that use them."""

    sensor: Sensor
    trigger_refs: tuple[str, ...]
    rules: list[Entry]

    @property
    def program(self) -> Any:
        """What its process is made of; it is restarted when this changes."""
        sensor, pack = self.sensor, self.sensor.pack
        return (
            sensor.entrypoint,
            (sensor.runtime_id, sensor.runtime.updated, sensor.runtime_version_constraint),
            sensor.config,
            sensor.hot_reload,
            self.trigger_refs,  # its token is good for these
            (pack.pk, pack.updated) if pack is not None else None,  # a newer registration brings newer files
        )


def wanted_sensors() -> dict[int, Wanted]:
    """Return the sensors that are enabled and have an enabled rule on one of their triggers, by id."""
    triggers = Trigger.objects.only("ref", "sensor").order_by("ref")
    sensors = [
        sensor
        for sensor in Sensor.objects.filter(enabled=True, triggers__isnull=False)
        .distinct()
        .select_related("pack", "runtime")
        .prefetch_related(Prefetch("triggers", queryset=triggers))
        if _has_program(sensor)
    ]
    refs = {sensor.pk: tuple(trigger.ref for trigger in sensor.triggers.all()) for sensor in sensors}
    rules: dict[str, list[Entry]] = defaultdict(list)
    for use in rule_port.of_triggers({ref for served in refs.values() for ref in served}, enabled_only=True):
        rules[use.trigger_ref].append(entry_of(use))
    found = {}
    for sensor in sensors:
        own = sorted((entry for ref in refs[sensor.pk] for entry in rules[ref]), key=lambda entry: str(entry["ref"]))
        if own:
            found[sensor.pk] = Wanted(sensor=sensor, trigger_refs=refs[sensor.pk], rules=own)
    return found


def _has_program(sensor: Sensor) -> bool:
    return any(trigger.ref not in TIMER_TRIGGERS for trigger in sensor.triggers.all())
