"""What answers about queues look like, and the bodies of requests."""

from typing import Any

from django.core.exceptions import ValidationError
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from apps.core.api.fields import Body, Boolean, Integer, JSONObject, Moment, Patch, Text, TextList
from apps.core.refs import validate_component_ref, validate_queue_ref
from apps.executions.api.bodies import AnyValue
from apps.queues.models import BatchMode, UpdateStrategy, WorkQueue, WorkQueueItem
from apps.queues.tuning import tuning_of

_INT32 = 2**31 - 1
SUMMARY = (
    "id", "ref", "pack_ref", "is_adhoc", "label", "description", "enabled", "accepting_new_items",
    "dispatch_action_ref", "created", "updated",
)  # fmt: skip
DETAIL = (
    "id", "ref", "pack", "pack_ref", "is_adhoc", "label", "description", "enabled", "accepting_new_items",
    "dispatch_action", "dispatch_action_ref", "default_priority", "allow_pending_update", "update_strategy",
    "batch_mode", "item_schema", "action_params", "permission_set_refs", "config", "max_depth",
    "resolved_dispatch_tuning", "created", "updated",
)  # fmt: skip
ITEM = (
    "id", "queue", "queue_ref", "item_key", "priority", "status", "payload", "metadata", "enqueue_source",
    "requested_by_identity", "requested_by_execution", "requested_by_enforcement", "leased_execution", "lease_token",
    "lease_expires_at", "attempt_count", "last_error", "ack_summary", "not_before", "attempts", "created", "updated",
)  # fmt: skip


# --- Answers ----------------------------------------------------------------------------------------------------


class QueueSummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = WorkQueue
        fields = SUMMARY


class _TuningSerializer(serializers.Serializer):
    concurrency = serializers.IntegerField(allow_null=True)
    batch_size = serializers.IntegerField(allow_null=True)


class QueueSerializer(serializers.ModelSerializer):
    pack = serializers.IntegerField(source="pack_id", read_only=True, allow_null=True)
    dispatch_action = serializers.IntegerField(source="dispatch_action_id", read_only=True, allow_null=True)
    item_schema = JSONObject(read_only=True)
    action_params = JSONObject(read_only=True)
    permission_set_refs = TextList(read_only=True, allow_null=True)
    config = JSONObject(read_only=True)
    resolved_dispatch_tuning = serializers.SerializerMethodField()

    class Meta:
        model = WorkQueue
        fields = DETAIL

    @extend_schema_field(_TuningSerializer)
    def get_resolved_dispatch_tuning(self, queue: WorkQueue) -> dict[str, Any]:
        tuning = tuning_of(queue)
        return {"concurrency": tuning.concurrency, "batch_size": tuning.batch_size}


class ItemSerializer(serializers.ModelSerializer):
    queue = serializers.IntegerField(source="queue_id", read_only=True)
    requested_by_identity = serializers.IntegerField(
        source="requested_by_identity_id", read_only=True, allow_null=True
    )
    requested_by_execution = serializers.IntegerField(
        source="requested_by_execution_id", read_only=True, allow_null=True
    )
    requested_by_enforcement = serializers.IntegerField(
        source="requested_by_enforcement_id", read_only=True, allow_null=True
    )
    leased_execution = serializers.IntegerField(source="leased_execution_id", read_only=True, allow_null=True)
    metadata = JSONObject(read_only=True)
    attempts = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = WorkQueueItem
        fields = ITEM


# --- Bodies -----------------------------------------------------------------------------------------------------


def _max_depth() -> Integer:
    return Integer(required=False, min_value=1, max_value=_INT32, help_text="Most items that may wait.")


class _Clearable(Patch):
    """A plain value is understood, too: the contract calls these no patches. Null keeps what is there, as everywhere."""

    def run_validation(self, data: Any = empty) -> Any:
        if data is empty or data is None or isinstance(data, dict):
            return super().run_validation(data)
        return self.child.run_validation(data)


def _clearable(value: dict[str, Any]) -> dict[str, Any]:
    """Return how the document describes it."""
    patch = {
        "type": "object",
        "required": ["op"],
        "properties": {"op": {"type": "string", "enum": ["set", "clear"]}, "value": value},
    }
    return {"oneOf": [value, patch], "nullable": True}


@extend_schema_field(_clearable({"type": "integer", "minimum": 1, "maximum": _INT32}))
class _MaxDepth(_Clearable):
    def __init__(self) -> None:
        super().__init__(_max_depth())


@extend_schema_field(_clearable({"type": "array", "items": {"type": "string"}}))
class _PermissionSets(_Clearable):
    def __init__(self) -> None:
        super().__init__(TextList())


class _QueueBody(Body):
    """What create and update share."""

    enabled = Boolean(required=False)
    accepting_new_items = Boolean(required=False)
    default_priority = Integer(required=False, min_value=-_INT32, max_value=_INT32)
    allow_pending_update = Boolean(required=False)
    update_strategy = serializers.ChoiceField(choices=UpdateStrategy.choices, required=False)
    batch_mode = serializers.ChoiceField(choices=BatchMode.choices, required=False)
    item_schema = JSONObject(required=False)
    action_params = JSONObject(required=False)
    config = JSONObject(required=False)


class QueueCreateBody(_QueueBody):
    ref = Text(max_length=255, validators=[validate_queue_ref])
    label = Text(max_length=255)  # type: ignore[assignment]  # a field, not the attribute
    dispatch_action_ref = Text(max_length=255, validators=[validate_component_ref])
    pack_ref = Text(max_length=255, required=False)
    description = Text(required=False, allow_blank=True)
    permission_set_refs = TextList(required=False)
    max_depth = _max_depth()


class QueueUpdateBody(_QueueBody):
    label = Text(max_length=255, required=False)  # type: ignore[assignment]  # a field, not the attribute
    dispatch_action_ref = Text(max_length=255, required=False, validators=[validate_component_ref])
    pack_ref = Patch(Text(max_length=255))
    permission_set_refs = _PermissionSets()
    max_depth = _MaxDepth()
    description = Patch(Text(allow_blank=True))


def _not_blank(value: str) -> None:
    if not value.strip():
        raise ValidationError("Must not be blank.")


def _item_key(**kwargs: Any) -> Text:
    return Text(min_length=1, max_length=255, validators=[_not_blank], **kwargs)


class ItemCreateBody(Body):
    payload = AnyValue(allow_null=True)
    item_key = _item_key(required=False)
    priority = Integer(required=False, min_value=-_INT32, max_value=_INT32)
    metadata = JSONObject(required=False)
    not_before = Moment(required=False, help_text="It is left alone until then.")


class ItemUpdateBody(Body):
    item_key = Patch(_item_key())
    priority = Integer(required=False, min_value=-_INT32, max_value=_INT32)
    payload = AnyValue(required=False)
    metadata = JSONObject(required=False)
    not_before = Patch(Moment())
