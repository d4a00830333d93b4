"""What answers about triggers, sensors and events look like, and the bodies of requests."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.actions.models import ArtifactRetentionPolicy
from apps.core.api.fields import Body, Boolean, Integer, JSONObject, Patch, Text
from apps.core.refs import validate_component_ref
from apps.events.models import Event, Sensor, Trigger
from apps.identity.callers import Caller

MASKED_KEY = "wh_****"


def _without(shown: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Leave out those of the keys that have no value."""
    for name in names:
        if shown.get(name) is None:
            shown.pop(name, None)
    return shown


# --- Triggers ---------------------------------------------------------------------------------------------------


class TriggerSummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = Trigger
        fields = (
            "id", "ref", "pack_ref", "label", "description", "enabled", "webhook_enabled", "created", "updated",
        )  # fmt: skip


class TriggerSerializer(serializers.ModelSerializer):
    pack = serializers.IntegerField(source="pack_id", read_only=True, allow_null=True)
    webhook_key = serializers.CharField(required=False)
    sensor = serializers.IntegerField(source="sensor_id", required=False)
    sensor_ref = serializers.CharField(required=False)

    class Meta:
        model = Trigger
        fields = (
            "id", "ref", "pack", "pack_ref", "label", "description", "enabled", "param_schema", "out_schema",
            "webhook_enabled", "webhook_key", "is_adhoc", "sensor", "sensor_ref", "created", "updated",
        )  # fmt: skip

    def to_representation(self, trigger: Trigger) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(trigger)
        if not trigger.webhook_enabled:
            del shown["webhook_key"]
        return _without(shown, ("webhook_key", "sensor", "sensor_ref"))


_trigger = TriggerSerializer()


def shown_trigger(trigger: Trigger, caller: Caller) -> dict[str, Any]:
    """Return a Trigger as this caller may see it: its webhook key takes the grant to change it."""
    shown = _trigger.to_representation(trigger)
    if "webhook_key" in shown and not caller.allows("triggers:update", trigger):
        shown["webhook_key"] = MASKED_KEY
    return shown


class TriggerCreateBody(Body):
    ref = Text(max_length=255, validators=[validate_component_ref])
    label = Text(max_length=255)  # type: ignore[assignment]  # a field, not the attribute
    pack_ref = Text(max_length=255, required=False)
    description = Text(required=False, allow_blank=True)
    param_schema = JSONObject(required=False)
    out_schema = JSONObject(required=False)
    enabled = Boolean(required=False)


class TriggerUpdateBody(Body):
    label = Text(max_length=255, required=False)  # type: ignore[assignment]  # a field, not the attribute
    description = Patch(Text(allow_blank=True))
    param_schema = Patch(JSONObject())
    out_schema = Patch(JSONObject())
    enabled = Boolean(required=False)


# --- Sensors ----------------------------------------------------------------------------------------------------

_RETENTION = (
    "artifact_retention_policy",
    "artifact_retention_limit",
    "log_retention_policy",
    "log_retention_limit",
)


class _SensorFields(serializers.ModelSerializer):
    """``triggers`` of the row must be fetched in order of ref."""

    trigger_ref = serializers.SerializerMethodField(help_text='its first trigger by ref, "" without one')
    artifact_retention_policy = serializers.CharField(required=False)
    artifact_retention_limit = serializers.IntegerField(required=False)
    log_retention_policy = serializers.CharField(required=False)
    log_retention_limit = serializers.IntegerField(required=False)

    def get_trigger_ref(self, sensor: Sensor) -> str:
        return next((trigger.ref for trigger in sensor.triggers.all()), "")

    def to_representation(self, sensor: Sensor) -> dict[str, Any]:
        return _without(super().to_representation(sensor), _RETENTION)


class SensorSummarySerializer(_SensorFields):
    class Meta:
        model = Sensor
        fields = (
            "id", "ref", "pack_ref", "label", "description", "trigger_ref", "enabled", *_RETENTION, "created",
            "updated",
        )  # fmt: skip


class SensorSerializer(_SensorFields):
    pack = serializers.IntegerField(source="pack_id", read_only=True, allow_null=True)
    runtime = serializers.IntegerField(source="runtime_id", read_only=True)
    trigger = serializers.SerializerMethodField(help_text="its first trigger by ref, 0 without one")
    trigger_refs = serializers.SerializerMethodField()

    class Meta:
        model = Sensor
        fields = (
            "id", "ref", "pack", "pack_ref", "label", "description", "entrypoint", "runtime", "runtime_ref", "trigger",
            "trigger_ref", "trigger_refs", "enabled", "param_schema", "worker_selector", "worker_tolerations",
            "worker_affinity", *_RETENTION, "created", "updated",
        )  # fmt: skip

    def get_trigger(self, sensor: Sensor) -> int:
        return next((trigger.pk for trigger in sensor.triggers.all()), 0)

    def get_trigger_refs(self, sensor: Sensor) -> list[str]:
        return [trigger.ref for trigger in sensor.triggers.all()]


@extend_schema_field({"type": "array", "items": {"type": "object"}})
class _Tolerations(serializers.JSONField):
    """Checked where placements are: a malformed one is a 400."""


@extend_schema_field({"type": "object"})
class _Placement(serializers.JSONField):
    """Checked where placements are: a malformed one is a 400."""


def _policy() -> Any:
    return serializers.ChoiceField(choices=ArtifactRetentionPolicy.choices, required=False)


def _limit() -> Integer:
    return Integer(min_value=1, max_value=2**31 - 1, required=False)


class _SensorBody(Body):
    """What create and update share."""

    description = Text(required=False, allow_blank=True)
    worker_selector = _Placement(required=False)
    worker_tolerations = _Tolerations(required=False)
    worker_affinity = _Placement(required=False)
    enabled = Boolean(required=False)


class SensorCreateBody(_SensorBody):
    ref = Text(max_length=255, validators=[validate_component_ref])
    pack_ref = Text(max_length=255)
    label = Text(max_length=255)  # type: ignore[assignment]  # a field, not the attribute
    entrypoint = Text(max_length=1024, help_text="A path below the pack's folder sensors/.")
    runtime_ref = Text(max_length=255)
    trigger_ref = Text(max_length=255)
    param_schema = JSONObject(required=False)
    config = JSONObject(required=False)
    artifact_retention_policy = _policy()
    artifact_retention_limit = _limit()
    log_retention_policy = _policy()
    log_retention_limit = _limit()


class SensorUpdateBody(_SensorBody):
    label = Text(max_length=255, required=False)  # type: ignore[assignment]  # a field, not the attribute
    entrypoint = Text(max_length=1024, required=False)
    param_schema = Patch(JSONObject())
    artifact_retention_policy = Patch(_policy())
    artifact_retention_limit = Patch(_limit())
    log_retention_policy = Patch(_policy())
    log_retention_limit = Patch(_limit())


# --- Events -----------------------------------------------------------------------------------------------------

# Attributes of the row by their name on the wire; a reference is its id.
_HEAD = {
    "id": "pk",
    "trigger": "trigger_id",
    "trigger_ref": "trigger_ref",
    "source": "source_id",
    "source_ref": "source_ref",
    "rule": "rule",
    "rule_ref": "rule_ref",
    "replay_of": "replay_of_id",
}
SUMMARY_COLUMNS = (
    "id", "trigger_id", "trigger_ref", "source_id", "source_ref", "rule", "rule_ref", "replay_of_id",
    "correlation_id", "created", "has_payload",
)  # fmt: skip


def event_data(event: Event) -> dict[str, Any]:
    """Return an Event of the wire."""
    return {
        **{name: getattr(event, attribute) for name, attribute in _HEAD.items()},
        "config": event.config,
        "payload": event.payload,
        "correlation_id": str(event.correlation_id),
        "created": event.created,
    }


def event_summary(row: dict[str, Any]) -> dict[str, Any]:
    """Return an EventSummary of the wire; the row holds ``SUMMARY_COLUMNS``."""
    return {
        **{name: row["id" if attribute == "pk" else attribute] for name, attribute in _HEAD.items()},
        "has_payload": row["has_payload"],
        "correlation_id": str(row["correlation_id"]),
        "created": row["created"],
    }


class _EventHead(serializers.Serializer):
    """Documents an answer that a plain function makes."""

    make: ClassVar[Any]

    id = serializers.IntegerField()
    trigger = serializers.IntegerField(allow_null=True)
    trigger_ref = serializers.CharField()
    source = serializers.IntegerField(allow_null=True, help_text="id of a sensor")  # type: ignore[assignment]  # a field, not the attribute
    source_ref = serializers.CharField(allow_null=True)
    rule = serializers.IntegerField(allow_null=True)
    rule_ref = serializers.CharField(allow_null=True)
    replay_of = serializers.IntegerField(allow_null=True)
    correlation_id = serializers.UUIDField()
    created = serializers.DateTimeField()

    def to_representation(self, instance: Any) -> Any:
        return type(self).make(instance)


class EventSummarySerializer(_EventHead):
    make = staticmethod(event_summary)

    has_payload = serializers.BooleanField()


class EventSerializer(_EventHead):
    make = staticmethod(event_data)

    config = serializers.JSONField(allow_null=True)
    payload = serializers.JSONField(allow_null=True)


@extend_schema_field({})
class AnyJSON(serializers.Field):
    """Any JSON value, kept as it is."""

    def to_internal_value(self, data: Any) -> Any:
        return data

    def to_representation(self, value: Any) -> Any:
        return value


class EventBody(Body):
    """An event to store; ``trigger_type`` is another name of ``trigger_ref``."""

    trigger_ref = Text()
    payload = AnyJSON(required=False)
    config = AnyJSON(required=False)
    trigger_instance_id = Text(required=False, allow_blank=True, help_text="rule_<id> or rule_<rule ref>")
    rule_ref = Text(required=False, allow_blank=True)
    idempotency_key = Text(required=False, max_length=255)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and data.get("trigger_ref") is None and data.get("trigger_type") is not None:
            data = {**data, "trigger_ref": data["trigger_type"]}
        return super().to_internal_value(data)


class ReplayBody(Body):
    rule_ref = Text(max_length=255, required=False, help_text="Only this rule looks at the new event.")
    payload = AnyJSON(required=False, help_text="Replaces the payload.")
    reason = Text(max_length=1000, required=False, allow_blank=True)
