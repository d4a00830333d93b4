"""What answers about actions look like, and the bodies of requests."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.actions.models import Action, ArtifactRetentionPolicy, OnWorkerLost
from apps.core.api.fields import Body, Boolean, Integer, JSONObject, Patch, Text, TextList, TextMap
from apps.core.refs import validate_component_ref

# Left out of an answer when they have no value (api.md section 5).
OMITTED = (
    "runtime_ref", "runtime_version_constraint", "required_worker_runtimes", "worker_selector", "worker_tolerations",
    "worker_affinity", "workflow_def", "default_execution_permission_set_refs", "artifact_retention_policy",
    "artifact_retention_limit", "log_retention_policy", "log_retention_limit",
)  # fmt: skip
SUMMARY = (
    "id", "ref", "pack_ref", "label", "description", "entrypoint", "runtime", "runtime_ref",
    "runtime_version_constraint", "required_worker_runtimes", "worker_selector", "worker_tolerations",
    "worker_affinity", "workflow_def", "accesses_mcp", "default_execution_permission_set_refs",
    "artifact_retention_policy", "artifact_retention_limit", "log_retention_policy", "log_retention_limit", "created",
    "updated",
)  # fmt: skip
DETAIL = (
    *SUMMARY, "pack", "param_schema", "out_schema", "is_adhoc", "timeout_seconds", "max_retries", "priority",
    "on_worker_lost", "max_lost_attempts", "limits", "strict_parameters", "parameter_delivery", "parameter_format",
    "output_format", "ambient_keys", "semaphores",
)  # fmt: skip


class _ActionFields(serializers.ModelSerializer):
    runtime_ref = serializers.CharField(required=False)
    runtime = serializers.IntegerField(source="runtime_id", read_only=True, allow_null=True)
    workflow_def = serializers.IntegerField(required=False)

    def to_representation(self, action: Action) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(action)
        for name in OMITTED:
            if shown.get(name) in (None, {}, []):
                shown.pop(name, None)
        return shown


class ActionSummarySerializer(_ActionFields):
    class Meta:
        model = Action
        fields = SUMMARY


class ActionSerializer(_ActionFields):
    pack = serializers.IntegerField(source="pack_id", read_only=True)

    class Meta:
        model = Action
        fields = DETAIL


class FoundActionSerializer(serializers.ModelSerializer):
    """One row of a search."""

    runtime_ref = serializers.CharField(required=False)
    is_workflow = serializers.SerializerMethodField()

    class Meta:
        model = Action
        fields = ("ref", "pack_ref", "label", "description", "runtime_ref", "is_workflow", "accesses_mcp")

    def get_is_workflow(self, action: Action) -> bool:
        return action.workflow_def is not None

    def to_representation(self, action: Action) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(action)
        return {key: value for key, value in shown.items() if value is not None}


@extend_schema_field({"type": "array", "items": {"type": "object"}})
class ObjectList(serializers.JSONField):
    """Checked where selectors are: a malformed one is a 400."""


@extend_schema_field({"type": "object"})
class AnyObject(serializers.JSONField):
    """Checked where selectors are: a malformed one is a 400."""


def _choice(choices: Any) -> Any:
    return serializers.ChoiceField(choices=choices, required=False)


class _ActionBody(Body):
    """What create and update share."""

    description = Text(required=False, allow_blank=True)
    runtime = Integer(required=False, help_text="Id of a runtime; runtime_ref is the other way to name it.")
    runtime_ref = Text(max_length=255, required=False)
    required_worker_runtimes = TextMap(required=False)
    worker_selector = AnyObject(required=False)
    worker_tolerations = ObjectList(required=False)
    worker_affinity = AnyObject(required=False)
    param_schema = JSONObject(required=False)
    out_schema = JSONObject(required=False)
    accesses_mcp = Boolean(required=False)
    default_execution_permission_set_refs = TextList(required=False)
    max_retries = Integer(min_value=0, max_value=100, required=False)
    priority = Integer(min_value=-100, max_value=100, required=False)
    on_worker_lost = _choice(OnWorkerLost.choices)
    max_lost_attempts = Integer(min_value=1, max_value=2**31 - 1, required=False)
    limits = JSONObject(required=False)
    strict_parameters = Boolean(required=False)


def _limit() -> Integer:
    return Integer(min_value=1, max_value=2**31 - 1, required=False)


def _timeout() -> Integer:
    return Integer(min_value=1, max_value=604_800, required=False)


class ActionCreateBody(_ActionBody):
    ref = Text(max_length=255, validators=[validate_component_ref])
    pack_ref = Text(max_length=255)
    label = Text(max_length=255)  # type: ignore[assignment]  # a field, not the attribute
    entrypoint = Text(max_length=1024, help_text="Inline code of a shell action, or a path inside the pack.")
    runtime_version_constraint = Text(required=False)
    artifact_retention_policy = _choice(ArtifactRetentionPolicy.choices)
    artifact_retention_limit = _limit()
    log_retention_policy = _choice(ArtifactRetentionPolicy.choices)
    log_retention_limit = _limit()
    timeout_seconds = _timeout()


class ActionUpdateBody(_ActionBody):
    label = Text(max_length=255, required=False)  # type: ignore[assignment]  # a field, not the attribute
    entrypoint = Text(max_length=1024, required=False)
    runtime_version_constraint = Patch(Text())
    artifact_retention_policy = Patch(_choice(ArtifactRetentionPolicy.choices))
    artifact_retention_limit = Patch(_limit())
    log_retention_policy = Patch(_choice(ArtifactRetentionPolicy.choices))
    log_retention_limit = Patch(_limit())
    timeout_seconds = Patch(_timeout())
