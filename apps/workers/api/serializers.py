"""What answers about workers and runtimes look like, and the bodies of requests."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rest_framework import serializers

from apps.core.api.fields import Body, JSONObject, Patch, Text
from apps.core.refs import validate_runtime_ref
from apps.workers.fitness import read_capabilities
from apps.workers.health import HEALTH_STATES, health_state, heartbeat, heartbeat_is_stale
from apps.workers.models import Runtime, Worker, WorkerRole, WorkerStatus, WorkerType


class RuntimeSummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = Runtime
        fields = ("id", "ref", "pack_ref", "description", "name", "created", "updated")


class RuntimeSerializer(serializers.ModelSerializer):
    pack = serializers.IntegerField(source="pack_id", read_only=True, allow_null=True)

    class Meta:
        model = Runtime
        fields = (
            "id", "ref", "pack", "pack_ref", "description", "name", "distributions", "installation",
            "execution_config", "created", "updated",
        )  # fmt: skip


class RuntimeCreateBody(Body):
    ref = Text(min_length=1, max_length=255, validators=[validate_runtime_ref])
    name = Text(min_length=1, max_length=255)
    pack_ref = Text(required=False, allow_null=True)
    description = Text(required=False, allow_null=True, allow_blank=True)
    distributions = JSONObject(required=False)
    installation = serializers.JSONField(required=False, allow_null=True)
    execution_config = JSONObject(required=False)


class RuntimeUpdateBody(Body):
    name = Text(min_length=1, max_length=255, required=False)
    description = Patch(Text(allow_blank=True))
    distributions = JSONObject(required=False)
    installation = Patch(serializers.JSONField())
    execution_config = JSONObject(required=False)


class ReasonBody(Body):
    reason = Text(required=False, allow_null=True, allow_blank=True)


class SupportedRuntimeSerializer(serializers.Serializer):
    name = serializers.CharField()
    versions = serializers.ListField(child=serializers.CharField())


class LoadSerializer(serializers.Serializer):
    requested = serializers.IntegerField()
    scheduling = serializers.IntegerField()
    scheduled = serializers.IntegerField()
    running = serializers.IntegerField()
    canceling = serializers.IntegerField()
    total_active = serializers.IntegerField()
    max_concurrent_executions = serializers.IntegerField(allow_null=True)
    utilization_percent = serializers.FloatField(allow_null=True)
    queue_depth = serializers.IntegerField(allow_null=True)
    sensor_processes_running = serializers.IntegerField(allow_null=True)
    sensor_processes_monitored = serializers.IntegerField(allow_null=True)
    active_rules = serializers.IntegerField(allow_null=True)
    max_concurrent_sensors = serializers.IntegerField(allow_null=True)


class WorkerSerializer(serializers.Serializer):
    """A worker with what is derived from its lease and its executions; ``worker_data`` makes it."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    worker_type = serializers.ChoiceField(choices=WorkerType.choices)
    worker_role = serializers.ChoiceField(choices=WorkerRole.choices)
    host = serializers.CharField(allow_null=True)
    port = serializers.IntegerField(allow_null=True)
    status = serializers.ChoiceField(choices=WorkerStatus.choices, allow_null=True)
    last_heartbeat = serializers.DateTimeField(allow_null=True)
    heartbeat_age_seconds = serializers.IntegerField(allow_null=True)
    heartbeat_stale = serializers.BooleanField()
    cordoned = serializers.BooleanField()
    cordon_reason = serializers.CharField(allow_null=True)
    cordoned_by = serializers.IntegerField(allow_null=True)
    cordoned_at = serializers.DateTimeField(allow_null=True)
    health_state = serializers.ChoiceField(choices=HEALTH_STATES)
    supported_runtimes = SupportedRuntimeSerializer(many=True)
    load = LoadSerializer()
    created = serializers.DateTimeField()
    updated = serializers.DateTimeField()


_COLUMNS = (
    "id", "name", "worker_type", "worker_role", "host", "port", "status", "cordoned", "cordon_reason", "cordoned_at",
    "created", "updated",
)  # fmt: skip


def worker_data(worker: Worker, load: Mapping[str, int], *, now: datetime) -> dict[str, Any]:
    """Return a Worker of the wire; ``load`` counts its executions by status, ``now`` is the database's time."""
    last = heartbeat(worker)
    runtimes, _labels, _taints = read_capabilities(worker.capabilities)
    return {
        **{name: getattr(worker, name) for name in _COLUMNS},
        "last_heartbeat": last,
        "heartbeat_age_seconds": max(int((now - last).total_seconds()), 0) if last is not None else None,
        "heartbeat_stale": heartbeat_is_stale(worker, now),
        "cordoned_by": worker.cordoned_by_id,
        "health_state": health_state(worker, total_active=sum(load.values()), now=now),
        "supported_runtimes": [{"name": name, "versions": versions} for name, versions in runtimes.items()],
        "load": _load(worker.capabilities or {}, load),
    }


def _load(capabilities: Mapping[str, Any], load: Mapping[str, int]) -> dict[str, Any]:
    active = sum(load.values())
    executions, sensors = (
        _integer(capabilities, name) for name in ("max_concurrent_executions", "max_concurrent_sensors")
    )
    sensors_running = _integer(capabilities, "sensor_processes_running")
    return {
        **load,
        "total_active": active,
        "max_concurrent_executions": executions,
        "utilization_percent": _percent(active, executions) if executions else _percent(sensors_running or 0, sensors),
        "queue_depth": _integer(capabilities.get("health"), "queue_depth"),
        "sensor_processes_running": sensors_running,
        "sensor_processes_monitored": _integer(capabilities, "sensor_processes_monitored"),
        "active_rules": _integer(capabilities, "active_rules"),
        "max_concurrent_sensors": sensors,
    }


def _integer(values: Any, name: str) -> int | None:
    value = values.get(name) if isinstance(values, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _percent(part: int, whole: int | None) -> float | None:
    return round(100 * part / whole, 2) if whole else None
