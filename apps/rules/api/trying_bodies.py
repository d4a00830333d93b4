"""The bodies of tester and back-test, and what they answer."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.fields import Body, Integer, JSONObject, Moment, Text
from apps.executions.api.bodies import AnyValue
from apps.rules.api.serializers import Conditions
from apps.rules.models import Outcome


class _TriedBody(Body):
    """Fields that stand in for the rule's."""

    conditions = Conditions(required=False)
    action_params = JSONObject(required=False)


class RuleTestBody(_TriedBody):
    event_id = Integer(required=False, min_value=1, help_text="A stored event; exactly one of this and payload.")
    event = Integer(required=False, min_value=1, help_text="The same as event_id.")
    payload = AnyValue(required=False, allow_null=True)
    config = AnyValue(required=False, allow_null=True, help_text="The config of an event that is made up.")


class _DraftBody(Body):
    """A stored rule by its ref, or one that is not stored: its trigger, action and pack."""

    rule_ref = Text(required=False, max_length=255)
    trigger_ref = Text(required=False, max_length=255)
    action_ref = Text(required=False, max_length=255)
    pack_ref = Text(required=False, max_length=255)


class DraftRuleTestBody(_DraftBody, RuleTestBody):
    pass


class BacktestBody(_TriedBody):
    """Null removes a window of the rule for this run."""

    NULLABLE = frozenset({"dedupe", "aggregate", "throttle"})

    since = Moment(required=False)
    until = Moment(required=False)
    limit = Integer(required=False, min_value=1, max_value=100_000)
    samples = Integer(required=False, min_value=0, max_value=100)
    dedupe = JSONObject(required=False, allow_null=True)
    aggregate = JSONObject(required=False, allow_null=True)
    throttle = JSONObject(required=False, allow_null=True)

    def _requires(self, name: str) -> bool:
        return name in self.NULLABLE or super()._requires(name)


class DraftBacktestBody(_DraftBody, BacktestBody):
    pass


# --- Answers ----------------------------------------------------------------------------------------------------


@extend_schema_field({"type": "object", "nullable": True, "additionalProperties": True})
class _Params(serializers.JSONField):
    pass


def _objects(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(child=serializers.DictField(), **kwargs)


class RuleTestSerializer(serializers.Serializer):
    """What a rule would make of one event."""

    rule_ref = serializers.CharField(allow_null=True)
    event = serializers.IntegerField(allow_null=True)
    outcome = serializers.ChoiceField(choices=Outcome.choices)
    matched = serializers.BooleanField()
    reason = serializers.CharField(allow_null=True)
    error = serializers.CharField(allow_null=True)
    rule_enabled = serializers.BooleanField()
    trigger_enabled = serializers.BooleanField()
    rendered_params = _Params()
    params_warnings = _objects()
    trace = _objects()


class _BucketSerializer(serializers.Serializer):
    bucket = serializers.DateTimeField(help_text="The start of an hour.")
    events = serializers.IntegerField()
    matched = serializers.IntegerField()


class _SampleSerializer(serializers.Serializer):
    event = serializers.IntegerField()
    created = serializers.DateTimeField()
    outcome = serializers.ChoiceField(choices=Outcome.choices)
    reason = serializers.CharField(allow_null=True)
    trace = _objects()
    rendered_params = _Params(help_text="Null also when larger than 64 KiB.")


class BacktestSerializer(serializers.Serializer):
    """What a rule would have made of stored events."""

    rule_ref = serializers.CharField(allow_null=True)
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    events_examined = serializers.IntegerField()
    outcomes = serializers.DictField(child=serializers.IntegerField())
    truncated = serializers.BooleanField()
    next_since = serializers.DateTimeField(allow_null=True)
    oldest_event_at = serializers.DateTimeField(allow_null=True)
    buckets = _BucketSerializer(many=True)
    samples = _SampleSerializer(many=True)
