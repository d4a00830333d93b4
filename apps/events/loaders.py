"""Loads trigger and sensor files of packs (packs.md section 5)."""

from collections.abc import Collection
from typing import Any

from django.db.models import Q

from apps.actions.loader import find_runtime
from apps.actions.placement import check_placement
from apps.events.models import Sensor, Trigger
from apps.events.sensor_rows import serve
from apps.events.triggers import triggers_by_ref
from apps.packs.components import Component, FaultyComponent
from apps.packs.models import Pack
from apps.packs.rows import delete_stale, store
from apps.workers.models import Runtime
from apps.workers.versions import InvalidConstraint, check_constraint

# Field of the row -> key of the file, where they differ.
TRIGGER_KEYS = {"param_schema": "parameters", "out_schema": "output"}
SENSOR_KEYS = {
    "param_schema": "parameters",
    "entrypoint": "entry_point",
    "runtime_version_constraint": "runtime_version",
}
DEFAULT_RUNNER = "native"


class TriggerLoader:
    """Stores what ``triggers/*.yaml`` describe; ad-hoc triggers are left alone."""

    folder = "triggers"

    def load(self, pack: Pack, component: Component) -> None:
        fields = {
            "label": component.label,
            "description": component.text("description"),
            "enabled": component.flag("enabled", True),
            "param_schema": component.schema("parameters"),
            "out_schema": component.schema("output"),
        }
        store(Trigger, pack, component.ref, fields, keys=TRIGGER_KEYS)

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        return delete_stale(Trigger.objects.filter(pack_ref=pack.ref, is_adhoc=False), kept_refs)


class SensorLoader:
    """Stores what ``sensors/*.yaml`` describe, and lets each serve its triggers; ad-hoc sensors are left alone."""

    folder = "sensors"

    def load(self, pack: Pack, component: Component) -> None:
        fields = sensor_fields(component)
        placement = (fields["worker_selector"], fields["worker_tolerations"], fields["worker_affinity"])
        for problem in check_placement(*placement):
            raise FaultyComponent(problem, key=problem.split(".")[0].split("[")[0].split(" ")[0])
        _lock_triggers(component)
        triggers = _triggers(component)
        sensor = store(Sensor, pack, component.ref, fields, keys=SENSOR_KEYS)
        former = {
            trigger.ref: trigger.sensor_ref for trigger in triggers if trigger.sensor_id not in (None, sensor.pk)
        }
        serve(sensor, triggers)
        for ref, loser in former.items():
            component.warn(f"'{ref}' was served by '{loser}' until now", key="trigger_types")

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        return delete_stale(Sensor.objects.filter(pack_ref=pack.ref, is_adhoc=False), kept_refs)


def sensor_fields(component: Component) -> dict[str, Any]:
    """Return the row's fields as the file gives them."""
    runtime = _runtime(component)
    return {
        "label": component.label,
        "description": component.text("description"),
        "enabled": component.flag("enabled", True),
        "entrypoint": component.text("entry_point", ""),
        "runtime": runtime,
        "runtime_ref": runtime.ref,
        "runtime_version_constraint": _version(component),
        "param_schema": component.schema("parameters"),
        "config": component.mapping("config"),
        "worker_selector": component.mapping("worker_selector"),
        "worker_tolerations": component.listing("worker_tolerations"),
        "worker_affinity": component.mapping("worker_affinity"),
        "log_retention_policy": component.text("log_retention_policy"),
        "log_retention_limit": component.integer("log_retention_limit"),
        "artifact_retention_policy": component.text("artifact_retention_policy"),
        "artifact_retention_limit": component.integer("artifact_retention_limit"),
        "hot_reload": component.flag("hot_reload"),
    }


def _runtime(component: Component) -> Runtime:
    name = component.text("runner_type") or DEFAULT_RUNNER
    runtime = find_runtime(name)
    if runtime is None:
        raise FaultyComponent(f"no runtime '{name}' is known", key="runner_type")
    return runtime


def _version(component: Component) -> str | None:
    constraint = component.text("runtime_version")
    if constraint is not None:
        try:
            check_constraint(constraint)
        except InvalidConstraint as error:
            raise FaultyComponent(f"runtime_version: {error}", key="runtime_version") from error
    return constraint


def _lock_triggers(component: Component) -> None:
    """Lock the triggers that the sensor serves or is to serve: triggers come before sensors, whoever changes both."""
    concerned = Q(ref__in=_trigger_refs(component)) | Q(sensor__ref=component.ref)
    list(
        Trigger.objects.select_for_update(no_key=True, of=("self",)).filter(concerned).order_by("pk").values_list("pk")
    )


def _trigger_refs(component: Component) -> list[str]:
    named = component.texts("trigger_types")
    if not named and (single := component.text("trigger_type")):
        named = [single]
    return list(dict.fromkeys(component.full_ref(name) for name in named))


def _triggers(component: Component) -> list[Trigger]:
    """Return the triggers that the file names; each that does not exist is a warning."""
    refs = _trigger_refs(component)
    known = triggers_by_ref(refs)
    for ref in refs:
        if ref not in known:
            component.warn(f"there is no trigger '{ref}'", key="trigger_types")
    return [known[ref] for ref in refs if ref in known]
