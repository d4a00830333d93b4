"""Sensors at work over HTTP (api.md section 9): what they print, and the rules they serve."""

from typing import ClassVar

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, holding, query
from apps.core.api.grants import filtered
from apps.core.api.schema import Bare, bare
from apps.core.api.views import AttuneViewSet
from apps.core.errors import ValidationFailed
from apps.events import notices
from apps.events.models import Sensor
from apps.events.sensors import logs
from apps.events.visibility import WITH_SENSORS, require_own, visible_sensors
from apps.executions.api.ranges import Part
from apps.executions.api.raw import Content, serve
from apps.executions.logs import STREAMS, Stream

LONGEST_WAIT_SECONDS = 60
MOST_LINES = 100_000


class LogReferenceSerializer(serializers.Serializer):
    stream = serializers.ChoiceField(choices=STREAMS)
    artifact_ref = serializers.CharField()
    artifact_id = serializers.IntegerField(allow_null=True)


class SensorLogsSerializer(serializers.Serializer):
    sensor_ref = serializers.CharField()
    logs = LogReferenceSerializer(many=True)


class RuleEntrySerializer(serializers.Serializer):
    """A rule as sensors are given it."""

    id = serializers.IntegerField()
    ref = serializers.CharField()
    trigger_ref = serializers.CharField()
    trigger_params = serializers.DictField()
    config = serializers.DictField()


class RuleNoticeSerializer(serializers.Serializer):
    event_type = serializers.CharField()
    rule_id = serializers.IntegerField()
    rule_ref = serializers.CharField()
    trigger_ref = serializers.CharField()
    trigger_type = serializers.CharField()
    trigger_params = serializers.DictField()
    timestamp = serializers.DateTimeField()


class SensorRulesSerializer(serializers.Serializer):
    version = serializers.IntegerField()
    rules = RuleEntrySerializer(many=True)
    changes = RuleNoticeSerializer(many=True)


class SensorWorkViewSet(AttuneViewSet[Sensor]):
    """What one sensor prints and which rules it serves."""

    queryset = Sensor.objects.order_by("ref")
    visible_to = staticmethod(visible_sensors)
    noun = "Sensor"
    grants: ClassVar = {
        "logs": filtered("triggers:read"),
        "log": filtered("triggers:read"),
        "rules": filtered("triggers:read"),
    }
    token_types: ClassVar = {"rules": WITH_SENSORS}

    def get_object(self) -> Sensor:
        require_own(self.caller, self.kwargs["ref"])
        return super().get_object()

    @extend_schema(operation_id="sensor_logs", responses=bare(SensorLogsSerializer))
    def logs(self, request: Request, ref: str) -> Response:
        """Name the artifacts that hold what the sensor prints."""
        sensor = self.get_object()
        ids = logs.artifact_ids(sensor)
        refs = {stream: logs.artifact_ref(sensor.ref, stream) for stream in STREAMS}
        found = [
            {"stream": stream, "artifact_ref": name, "artifact_id": ids.get(name)} for stream, name in refs.items()
        ]
        return Response({"sensor_ref": sensor.ref, "logs": found})

    @extend_schema(
        operation_id="sensor_log",
        parameters=[OpenApiParameter("tail", int, description="the last lines only, this many")],
        responses={(200, "text/plain"): Bare(OpenApiTypes.STR)},
    )
    def log(self, request: Request, ref: str, stream: str) -> HttpResponseBase:
        """Read what the sensor has printed, as far as it is kept: whole, its ``tail``, or by a Range header."""
        name = _stream(stream)
        tail = query.integer(request.query_params, "tail", minimum=0, maximum=MOST_LINES)
        log = logs.open_log(self.get_object(), name)
        part = None if tail is None else Part(start=log.tail_start(tail), end=log.size_bytes)
        content = Content(
            size=log.size_bytes, content_type="text/plain; charset=utf-8", read=log.part, close=log.close
        )
        return serve(request, content, headers={"Cache-Control": "private, no-cache"}, part=part)

    @extend_schema(
        operation_id="sensor_rules",
        parameters=[
            OpenApiParameter("version", int, description="the version the caller knows"),
            OpenApiParameter("wait", int, description="seconds to wait for another version, 0 to 60"),
        ],
        responses=SensorRulesSerializer,
    )
    def rules(self, request: Request, ref: str) -> Response:
        """Return the enabled rules the sensor serves; with ``version`` and ``wait`` as soon as they have changed."""
        params = request.query_params
        known = query.integer(params, "version")
        wait = query.integer(params, "wait", minimum=0, maximum=LONGEST_WAIT_SECONDS) or 0
        sensor = self.get_object()
        state = notices.state_of(sensor, known)
        response = envelopes.single(state)
        if wait and known is not None and known == state["version"]:
            hold = holding.Hold(seconds=wait, sensor_id=sensor.pk, version=known)
            response.headers[holding.HEADER] = hold.text()
        return response


def _stream(name: str) -> Stream:
    for stream in STREAMS:
        if name == stream:
            return stream
    raise ValidationFailed(details=[{"field": "stream", "message": "must be stdout or stderr"}])
