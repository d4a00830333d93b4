"""What executions, history records and logs look like on the wire (api.md 13, 21)."""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.executions.models import Execution
from apps.executions.states import Status

# Attributes of the row by their name on the wire; a reference is its id.
EXECUTION_KEYS: dict[str, str] = {
    "id": "pk",
    "action": "action_id",
    "action_ref": "action_ref",
    "config": "config",
    "parent": "parent_id",
    "enforcement": "enforcement",
    "executor": "executor_id",
    "permission_set_refs": "permission_set_refs",
    "artifact_retention_policy": "artifact_retention_policy",
    "artifact_retention_limit": "artifact_retention_limit",
    "worker_selector": "worker_selector",
    "worker_tolerations": "worker_tolerations",
    "worker_affinity": "worker_affinity",
    "worker": "worker_id",
    "status": "status",
    "result": "result",
    "original_execution": "original_execution_id",
    "started_at": "started_at",
    "workflow_task": "workflow_task",
    "created": "created",
    "updated": "updated",
    "pack_ref": "pack_ref",
    "rule_ref": "rule_ref",
    "trigger_ref": "trigger_ref",
    "root": "root",
    "priority": "priority",
    "not_before": "not_before",
    "timeout_seconds": "timeout_seconds",
    "scheduled_at": "scheduled_at",
    "finished_at": "finished_at",
    "exit_code": "exit_code",
    "duration_ms": "duration_ms",
    "succeeded": "succeeded",
    "retry_count": "retry_count",
    "max_retries": "max_retries",
    "retry_reason": "retry_reason",
    "retry_of": "retry_of_id",
    "attempt": "attempt",
    "epoch": "epoch",
    "expires_at": "expires_at",
    "cancelled_by": "cancelled_by_id",
    "pinned": "pinned",
    "correlation_id": "correlation_id",
}
SUMMARY_KEYS: dict[str, str] = {
    name: EXECUTION_KEYS[name]
    for name in (
        "id", "action_ref", "status", "parent", "enforcement", "rule_ref", "trigger_ref", "started_at",
        "workflow_task", "original_execution", "created", "updated", "worker", "finished_at", "exit_code",
        "duration_ms", "succeeded", "not_before", "retry_count",
    )
}  # fmt: skip
# Left out when they have no value.
OMITTED = frozenset(
    {
        "artifact_retention_policy", "artifact_retention_limit", "worker_selector", "worker_tolerations",
        "worker_affinity", "original_execution", "started_at", "workflow_task",
    }
)  # fmt: skip
# The columns a list reads: never parameters and results.
SUMMARY_COLUMNS: tuple[str, ...] = tuple(
    "id" if attribute == "pk" else attribute.removesuffix("_id") for attribute in SUMMARY_KEYS.values()
)


def wire(value: Any) -> Any:
    """Return a column's value as JSON has it: times in UTC with Z, UUIDs as text."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case UUID():
            return str(value)
        case _:
            return value


def execution_data(execution: Execution) -> dict[str, Any]:
    """Return an Execution object of the wire."""
    data = _data(execution, EXECUTION_KEYS)
    if not data["permission_set_refs"]:
        del data["permission_set_refs"]
    return data


def summary_data(execution: Execution) -> dict[str, Any]:
    """Return an ExecutionSummary object of the wire."""
    return _data(execution, SUMMARY_KEYS)


def _data(execution: Execution, keys: dict[str, str]) -> dict[str, Any]:
    data = {}
    for name, attribute in keys.items():
        value = task_data(execution) if name == "workflow_task" else wire(getattr(execution, attribute))
        if value is not None or name not in OMITTED:
            data[name] = value
    return data


def task_data(execution: Execution) -> dict[str, Any] | None:
    """Return what a task of a workflow is told beside its execution (model.md 4.6), None for any other execution."""
    task = execution.workflow_task
    if task is None:
        return None
    waits = execution.status == Status.REQUESTED and execution.retry_count > 0
    return {
        **task,
        "retry_count": execution.retry_count,
        "max_retries": task.get("max_retries", 0),
        "next_retry_at": wire(execution.not_before) if waits else None,
        "timed_out": bool(task.get("timed_out")) or execution.status == Status.TIMEOUT,
        "duration_ms": execution.duration_ms,
        "started_at": wire(execution.started_at),
        "completed_at": wire(execution.finished_at),
    }


class _ReadOnly(serializers.Serializer):
    """Documents an answer that plain functions make: lists and exports are many rows long."""

    make: ClassVar[Any]

    def to_representation(self, instance: Any) -> Any:
        return type(self).make(instance)


def _optional(field: type[Any], **kwargs: Any) -> Any:
    return field(required=False, **kwargs)


class ExecutionSummarySerializer(_ReadOnly):
    """A row of a list of executions."""

    make = staticmethod(summary_data)

    id = serializers.IntegerField()
    action_ref = serializers.CharField()
    status = serializers.ChoiceField(choices=Status.choices)
    parent = serializers.IntegerField(allow_null=True)  # type: ignore[assignment]  # a field, not the attribute
    enforcement = serializers.IntegerField(allow_null=True)
    rule_ref = serializers.CharField(allow_null=True)
    trigger_ref = serializers.CharField(allow_null=True)
    started_at = _optional(serializers.DateTimeField)
    workflow_task = _optional(serializers.DictField)
    original_execution = _optional(serializers.IntegerField)
    created = serializers.DateTimeField()
    updated = serializers.DateTimeField()
    worker = serializers.IntegerField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    exit_code = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    succeeded = serializers.BooleanField(allow_null=True)
    not_before = serializers.DateTimeField(allow_null=True)
    retry_count = serializers.IntegerField()


class ExecutionSerializer(ExecutionSummarySerializer):
    """An execution."""

    make = staticmethod(execution_data)

    action = serializers.IntegerField(allow_null=True)
    config = serializers.DictField(allow_null=True, help_text="The parameters, flat; null when none were given.")
    executor = serializers.IntegerField(allow_null=True, help_text="The identity on whose behalf it runs.")
    permission_set_refs = _optional(serializers.ListField, child=serializers.CharField())
    artifact_retention_policy = _optional(serializers.CharField)
    artifact_retention_limit = _optional(serializers.IntegerField)
    worker_selector = _optional(serializers.DictField)
    worker_tolerations = _optional(serializers.ListField)
    worker_affinity = _optional(serializers.DictField)
    result = serializers.DictField(allow_null=True)
    pack_ref = serializers.CharField(allow_null=True)
    root = serializers.IntegerField(allow_null=True)  # type: ignore[assignment]  # a field, not the attribute
    priority = serializers.IntegerField()
    timeout_seconds = serializers.IntegerField(allow_null=True)
    scheduled_at = serializers.DateTimeField(allow_null=True)
    max_retries = serializers.IntegerField(allow_null=True)
    retry_reason = serializers.CharField(allow_null=True)
    retry_of = serializers.IntegerField(allow_null=True)
    attempt = serializers.IntegerField()
    epoch = serializers.IntegerField()
    expires_at = serializers.DateTimeField(allow_null=True)
    cancelled_by = serializers.IntegerField(allow_null=True)
    pinned = serializers.BooleanField()
    correlation_id = serializers.UUIDField()


class StatsSerializer(serializers.Serializer):
    """How many executions there are of each kind."""

    total = serializers.IntegerField()
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    running = serializers.IntegerField()
    pending = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    timeout = serializers.IntegerField()
    abandoned = serializers.IntegerField()
    window = serializers.ChoiceField(choices=["1000", "all"])


class LogInfoSerializer(serializers.Serializer):
    """What there is of one stream."""

    size_bytes = serializers.IntegerField()
    complete = serializers.BooleanField()
    truncated = serializers.BooleanField()
    dropped_bytes = serializers.IntegerField()
    lines = serializers.IntegerField(allow_null=True)
    url = serializers.CharField()


class LogsSerializer(serializers.Serializer):
    """Both streams of an execution."""

    stdout = LogInfoSerializer()
    stderr = LogInfoSerializer()


class MatchSerializer(serializers.Serializer):
    """A line that holds the text."""

    stream = serializers.ChoiceField(choices=["stdout", "stderr"])
    line = serializers.IntegerField()
    offset = serializers.IntegerField()
    text = serializers.CharField()


class SearchSerializer(serializers.Serializer):
    """What a search of the logs found."""

    matches = MatchSerializer(many=True)
    truncated = serializers.BooleanField()


class ReasonSerializer(serializers.Serializer):
    """One reason why an execution waits, runs or ended."""

    code = serializers.CharField()
    message = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    details = serializers.DictField()


class WhySerializer(serializers.Serializer):
    """What an execution waits for, or why it ended."""

    execution = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Status.choices)
    since = serializers.DateTimeField()
    summary = serializers.CharField()
    position = serializers.IntegerField(allow_null=True)
    next_check_at = serializers.DateTimeField(allow_null=True)
    reasons = ReasonSerializer(many=True)


class SkippedSerializer(serializers.Serializer):
    """An execution that a bulk cancel left alone."""

    id = serializers.IntegerField()
    status = serializers.CharField(allow_null=True)
    reason = serializers.ChoiceField(choices=["not_found", "forbidden", "finished"])


class BulkCancelledSerializer(serializers.Serializer):
    """What a bulk cancel did, or would do."""

    matched = serializers.IntegerField()
    cancelled = serializers.ListField(child=serializers.IntegerField())
    canceling = serializers.ListField(child=serializers.IntegerField())
    skipped = SkippedSerializer(many=True)
    has_more = serializers.BooleanField()
    dry_run = serializers.BooleanField()


@extend_schema_field({})
class AnyJSON(serializers.Field):
    """Any JSON value, shown as it is."""

    def to_representation(self, value: Any) -> Any:
        return value
