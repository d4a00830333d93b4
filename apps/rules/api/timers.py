"""The timers of rules: what is coming, and how they stand (api.md 10.5)."""

from typing import ClassVar

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import clock
from apps.core.api import envelopes, query
from apps.core.api.grants import filtered
from apps.core.api.views import AttuneView
from apps.core.errors import BadRequest, NotFound
from apps.events.api.upcoming import DEFAULT_COUNT, ScheduleSerializer, shown_preview
from apps.events.models import Timer, TimerState
from apps.events.timers.kinds import KIND_OF_TRIGGER
from apps.events.timers.preview import MOST_FIRINGS, preview_of_rule
from apps.rules.effects import use_of
from apps.rules.models import Rule
from apps.rules.visibility import visible_rules


class RuleScheduleSerializer(ScheduleSerializer):
    rule_ref = serializers.CharField()


class RuleTimerSerializer(serializers.Serializer):
    trigger_ref = serializers.CharField()
    state = serializers.ChoiceField(TimerState.choices)
    next_fire_at = serializers.DateTimeField(allow_null=True)
    last_due_at = serializers.DateTimeField(allow_null=True)
    last_fired_at = serializers.DateTimeField(allow_null=True)
    execution_count = serializers.IntegerField()
    missed_count = serializers.IntegerField()
    last_missed_at = serializers.DateTimeField(allow_null=True)
    error = serializers.CharField(allow_null=True)


class RuleUpcomingView(AttuneView):
    """When the timer of a rule fires next."""

    grants: ClassVar = {"get": filtered("rules:read")}

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "count", OpenApiTypes.INT, description=f"1 to {MOST_FIRINGS}, {DEFAULT_COUNT} by default."
            ),
            OpenApiParameter("from", OpenApiTypes.DATETIME, description="After this time; now by default."),
        ],
        responses=RuleScheduleSerializer,
    )
    def get(self, request: Request, ref: str) -> Response:
        """Preview the firings of a rule's timer; of a disabled one as if it were enabled."""
        rule = _timer_rule(self, ref)
        now = clock.now()
        preview = preview_of_rule(
            use_of(rule),
            after=query.moment(request.query_params, "from") or now,
            count=query.integer(request.query_params, "count", minimum=1, maximum=MOST_FIRINGS) or DEFAULT_COUNT,
            now=now,
        )
        known = {"rule_ref": rule.ref, "trigger_ref": rule.trigger_ref, "enabled": rule.enabled}
        return envelopes.single({**known, **shown_preview(preview)})


class RuleTimerView(AttuneView):
    """How the timer of a rule stands."""

    grants: ClassVar = {"get": filtered("rules:read")}

    @extend_schema(responses=RuleTimerSerializer)
    def get(self, request: Request, ref: str) -> Response:
        """Read the state of a rule's timer."""
        rule = _timer_rule(self, ref)
        timer = Timer.objects.filter(rule=rule.pk).first() or Timer(
            trigger_ref=rule.trigger_ref, state=TimerState.STOPPED
        )
        return envelopes.single(RuleTimerSerializer(timer).data)


def _timer_rule(view: AttuneView, ref: str) -> Rule:
    rule = visible_rules(view.caller).filter(ref=ref).first()
    if rule is None:
        raise NotFound(f"Rule '{ref}' not found")
    if rule.trigger_ref not in KIND_OF_TRIGGER:
        raise BadRequest(f"Rule '{ref}' has no timer trigger")
    return rule
