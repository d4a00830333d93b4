"""What answers about rules look like, and the bodies of requests."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.fields import Body, Boolean, Integer, JSONObject, Text, TextList
from apps.core.refs import validate_component_ref
from apps.rules.models import Enforcement, EnforcementCondition, EnforcementStatus, Outcome, Rule

SUMMARY = (
    "id", "ref", "pack_ref", "label", "description", "action_ref", "trigger_ref", "action_params", "trigger_params",
    "permission_set_refs", "enabled", "created", "updated",
)  # fmt: skip
DETAIL = (
    *SUMMARY, "pack", "action", "trigger", "conditions", "is_adhoc", "owner_identity", "priority",
    "alert_on_failure", "dedupe", "aggregate", "throttle",
)  # fmt: skip


# --- Answers ----------------------------------------------------------------------------------------------------


class RuleSummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = Rule
        fields = SUMMARY


class RuleSerializer(serializers.ModelSerializer):
    pack = serializers.IntegerField(source="pack_id", read_only=True)
    action = serializers.IntegerField(source="action_id", read_only=True, allow_null=True)
    trigger = serializers.IntegerField(source="trigger_id", read_only=True, allow_null=True)
    owner_identity = serializers.IntegerField(source="owner_identity_id", read_only=True, allow_null=True)

    class Meta:
        model = Rule
        fields = DETAIL


class EnforcementSummarySerializer(serializers.ModelSerializer):
    rule = serializers.IntegerField(source="rule_id", read_only=True, allow_null=True)
    status = serializers.ChoiceField(choices=EnforcementStatus.choices)
    condition = serializers.ChoiceField(choices=EnforcementCondition.choices)

    class Meta:
        model = Enforcement
        fields = ("id", "rule", "rule_ref", "trigger_ref", "event", "status", "condition", "created")


class EnforcementSerializer(EnforcementSummarySerializer):
    class Meta(EnforcementSummarySerializer.Meta):
        fields = (  # type: ignore[assignment]  # more of them
            *EnforcementSummarySerializer.Meta.fields, "config", "payload", "conditions", "resolved_at",
        )  # fmt: skip


class DecisionSerializer(serializers.Serializer):
    """What one rule made of one event."""

    id = serializers.IntegerField()
    event = serializers.IntegerField()
    rule = serializers.IntegerField(source="rule_id", allow_null=True)
    rule_ref = serializers.CharField()
    trigger_ref = serializers.CharField()
    outcome = serializers.ChoiceField(choices=Outcome.choices)
    matched = serializers.BooleanField()
    reason = serializers.CharField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    key = serializers.CharField(allow_null=True)
    trace = serializers.ListField(source="criteria", child=serializers.DictField())
    params_warnings = serializers.ListField(child=serializers.DictField())
    enforcement = serializers.IntegerField(source="enforcement_id", allow_null=True)
    executions = serializers.ListField(child=serializers.IntegerField())
    duration_us = serializers.IntegerField()
    created = serializers.DateTimeField()


# --- Bodies -----------------------------------------------------------------------------------------------------


@extend_schema_field({"oneOf": [{"type": "object"}, {"type": "array", "items": {}}]})
class Conditions(serializers.JSONField):
    """A JSON object or list."""

    default_error_messages = {"form": "Must be a JSON object or list."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict | list):
            self.fail("form")
        return data


class RuleBody(Body):
    """What create and update share. Null removes what may be null, and means "not given" everywhere else."""

    NULLABLE = frozenset({"permission_set_refs", "priority", "dedupe", "aggregate", "throttle"})

    description = Text(required=False, allow_blank=True)
    conditions = Conditions(required=False)
    action_params = JSONObject(required=False)
    trigger_params = JSONObject(required=False)
    permission_set_refs = TextList(required=False, allow_null=True)
    enabled = Boolean(required=False)
    priority = Integer(min_value=-100, max_value=100, required=False, allow_null=True)
    alert_on_failure = Boolean(required=False)
    dedupe = JSONObject(required=False, allow_null=True)
    aggregate = JSONObject(required=False, allow_null=True)
    throttle = JSONObject(required=False, allow_null=True)

    def _requires(self, name: str) -> bool:
        return name in self.NULLABLE or super()._requires(name)


class RuleCreateBody(RuleBody):
    ref = Text(max_length=255, validators=[validate_component_ref])
    pack_ref = Text(max_length=255)
    label = Text(max_length=255)  # type: ignore[assignment]  # a field, not the attribute
    action_ref = Text(max_length=255)
    trigger_ref = Text(max_length=255)


class RuleUpdateBody(RuleBody):
    label = Text(max_length=255, required=False)  # type: ignore[assignment]  # a field, not the attribute
    action_ref = Text(max_length=255, required=False)
    trigger_ref = Text(max_length=255, required=False)
