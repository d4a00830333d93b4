"""Preview the firings of timer settings (api.md 7 and 10.5)."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import clock
from apps.core.api import envelopes, fields
from apps.core.api.grants import filtered
from apps.core.api.views import AttuneView
from apps.core.errors import BadRequest, NotFound
from apps.events.timers.kinds import KIND_OF_TRIGGER
from apps.events.timers.preview import MOST_FIRINGS, Preview, preview_of_settings
from apps.events.visibility import visible_triggers

DEFAULT_COUNT = 20


class UpcomingBody(fields.Body):
    trigger_params = fields.JSONObject()
    count = fields.Integer(min_value=1, max_value=MOST_FIRINGS, required=False)

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": fields.Moment(required=False)}


class FiringSerializer(serializers.Serializer):
    due_at = serializers.DateTimeField()
    local = serializers.CharField(help_text="The same moment in the timer's zone, with offset")
    note = serializers.ChoiceField(["dst_shifted", "dst_skipped", "dst_repeated"], allow_null=True)


class ScheduleSerializer(serializers.Serializer):
    """What a timer will do; settings that are not saved have no rule, and count as enabled when the trigger is."""

    rule_ref = serializers.CharField(allow_null=True)
    enabled = serializers.BooleanField()
    trigger_ref = serializers.CharField()
    timezone = serializers.CharField()
    misfire = serializers.ChoiceField(["skip", "once", "all"])
    dst = serializers.ChoiceField(["shift", "skip", "both"])
    firings = FiringSerializer(many=True)
    exhausted = serializers.BooleanField(help_text="The schedule ends with these")


def shown_preview(preview: Preview) -> dict[str, Any]:
    """Return the part of the answer that is about the schedule."""
    return {
        "timezone": preview.plan.timezone,
        "misfire": preview.plan.misfire,
        "dst": preview.plan.dst_policy,
        "firings": [
            {"due_at": clock.as_text(firing.due_at), "local": firing.local.isoformat(), "note": firing.note}
            for firing in preview.firings
        ],
        "exhausted": preview.exhausted,
    }


class TriggerUpcomingView(AttuneView):
    """When a timer with these settings would fire; nothing is stored."""

    grants: ClassVar = {"post": filtered("triggers:read")}

    @extend_schema(request=UpcomingBody, responses=ScheduleSerializer)
    def post(self, request: Request, ref: str) -> Response:
        """Preview settings of a timer."""
        trigger = visible_triggers(self.caller).filter(ref=ref).first()
        if trigger is None:
            raise NotFound(f"Trigger '{ref}' not found")
        if ref not in KIND_OF_TRIGGER:
            raise BadRequest(f"Trigger '{ref}' is not a timer trigger")
        body = self.validated(UpcomingBody)
        now = clock.now()
        preview = preview_of_settings(
            ref,
            body["trigger_params"],
            after=body.get("from") or now,
            count=body.get("count") or DEFAULT_COUNT,
            now=now,
        )
        known = {"rule_ref": None, "trigger_ref": ref, "enabled": trigger.enabled}
        return envelopes.single({**known, **shown_preview(preview)})
