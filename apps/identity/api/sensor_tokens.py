"""Tokens of sensors: ``/auth/sensor-token`` (api.md section 3)."""

from secrets import compare_digest

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.fields import Body, Integer, Text
from apps.core.api.grants import ANY_TOKEN, PUBLIC
from apps.core.api.views import AttuneView
from apps.core.errors import NotFound, Unauthorized
from apps.identity import sensor_tokens

MOST_TRIGGER_TYPES = 1000  # they all travel in the token, in a header of each request


class SensorTokenBody(Body):
    sensor_ref = Text(max_length=255)
    trigger_types = serializers.ListField(
        child=Text(max_length=255), min_length=1, max_length=MOST_TRIGGER_TYPES, help_text="refs of triggers"
    )
    ttl_seconds = Integer(
        min_value=sensor_tokens.LEAST_SECONDS,
        max_value=sensor_tokens.MOST_SECONDS,
        required=False,
        default=sensor_tokens.DEFAULT_SECONDS,
    )


class SensorTokenSerializer(serializers.Serializer):
    identity_id = serializers.IntegerField()
    sensor_ref = serializers.CharField()
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    trigger_types = serializers.ListField(child=serializers.CharField())


class SensorTokenView(AttuneView):
    """A token for a sensor; with a sensor's own token a successor of it."""

    name = "Sensor token"
    grants = {"post": ANY_TOKEN}
    token_types = {"post": frozenset({"access", "execution", "sensor"})}

    @extend_schema(request=SensorTokenBody, responses=SensorTokenSerializer)
    def post(self, request: Request) -> Response:
        body = self.validated(SensorTokenBody)
        token = sensor_tokens.issue_for(
            self.caller, body["sensor_ref"], body["trigger_types"], lifetime_seconds=body["ttl_seconds"]
        )
        return envelopes.single(SensorTokenSerializer(token).data)


class InternalSensorTokenView(AttuneView):
    """A token for a sensor, asked for by a supervisor with the internal token of the settings."""

    name = "Sensor token for supervisors"
    grants = {"post": PUBLIC}

    @extend_schema(
        request=SensorTokenBody,
        responses=SensorTokenSerializer,
        parameters=[OpenApiParameter("X-Attune-Internal-Token", str, OpenApiParameter.HEADER, required=True)],
    )
    def post(self, request: Request) -> Response:
        _require_internal_token(request)
        body = self.validated(SensorTokenBody)
        token = sensor_tokens.issue(
            body["sensor_ref"], dict.fromkeys(body["trigger_types"]), lifetime_seconds=body["ttl_seconds"]
        )
        return envelopes.single(SensorTokenSerializer(token).data)


def _require_internal_token(request: Request) -> None:
    """Raise NotFound where none is configured, Unauthorized for another one."""
    if not settings.INTERNAL_TOKEN:
        raise NotFound("No internal token is configured")
    # A header arrives as Latin-1 whatever it was; what cannot be that is wrong anyway.
    given = request.META.get("HTTP_X_ATTUNE_INTERNAL_TOKEN", "").encode("latin-1", errors="replace")
    if not compare_digest(given, settings.INTERNAL_TOKEN.encode()):
        raise Unauthorized("Invalid internal token")
