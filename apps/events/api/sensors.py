"""Create, list, read and change sensors (api.md section 9)."""

from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.grants import filtered
from apps.core.api.views import AttuneViewSet, CreateMixin, DestroyMixin, ListMixin, RetrieveMixin, UpdateMixin
from apps.core.deletions import delete_once
from apps.core.errors import NotFound
from apps.events import sensor_rows
from apps.events.api.serializers import (
    SensorCreateBody,
    SensorSerializer,
    SensorSummarySerializer,
    SensorUpdateBody,
)
from apps.events.models import Sensor, Trigger
from apps.events.visibility import WITH_SENSORS, require_own, visible_sensors
from apps.identity.callers import Caller
from apps.packs.visibility import visible_to as visible_packs

# Large, and no part of a summary.
_NOT_LISTED = ("param_schema", "config", "worker_selector", "worker_tolerations", "worker_affinity")


def shown_sensors(rows: "QuerySet[Sensor]") -> "QuerySet[Sensor]":
    """Return the rows with the refs of their triggers, in order."""
    refs = Trigger.objects.only("ref", "sensor").order_by("ref")
    return rows.prefetch_related(Prefetch("triggers", queryset=refs))


def visible_with_triggers(caller: Caller) -> "QuerySet[Sensor]":
    return shown_sensors(visible_sensors(caller))


class SensorViewSet(ListMixin, RetrieveMixin, CreateMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Sensor]):
    """Sensors: programs that watch something and send events."""

    queryset = Sensor.objects.order_by("ref")
    visible_to = staticmethod(visible_with_triggers)
    noun = "Sensor"
    serializer_class = SensorSerializer
    serializer_classes: ClassVar = {
        "list": SensorSummarySerializer,
        "create": SensorCreateBody,
        "update": SensorUpdateBody,
    }
    grants: ClassVar = {
        "list": filtered("triggers:read"),
        "enabled": filtered("triggers:read"),
        "retrieve": filtered("triggers:read"),
        "create": "triggers:create",
        "update": "triggers:update",
        "enable": "triggers:update",
        "disable": "triggers:update",
        "destroy": "triggers:delete",
    }
    token_types: ClassVar = {"retrieve": WITH_SENSORS}

    def get_object(self) -> Sensor:
        require_own(self.caller, self.kwargs["ref"])
        return super().get_object()

    def filter_rows(self, rows: "QuerySet[Sensor]") -> "QuerySet[Sensor]":
        return rows.defer(*_NOT_LISTED)

    @extend_schema(operation_id="sensors_enabled", responses=SensorSummarySerializer(many=True))
    @route(detail=False)
    def enabled(self, request: Request) -> Response:
        """List the enabled sensors by ref."""
        return self.listed(self.filter_rows(self.rows()).filter(enabled=True), SensorSummarySerializer)

    @extend_schema(request=None, responses=SensorSerializer)
    @route(detail=True, methods=["post"])
    def enable(self, request: Request, ref: str) -> Response:
        """Enable a sensor; a body is ignored."""
        row = sensor_rows.set_enabled(self.get_object(), enabled=True)
        return envelopes.single(self.shown(row), "Sensor enabled successfully")

    @extend_schema(request=None, responses=SensorSerializer)
    @route(detail=True, methods=["post"])
    def disable(self, request: Request, ref: str) -> Response:
        """Disable a sensor: its program is stopped. A body is ignored."""
        row = sensor_rows.set_enabled(self.get_object(), enabled=False)
        return envelopes.single(self.shown(row), "Sensor disabled successfully")

    @extend_schema(request=SensorCreateBody, responses={201: SensorSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Create a sensor; a trigger that another one served is served by it from now on."""
        data = self.validated(SensorCreateBody)
        self.authorize_new(data)
        row, losers = sensor_rows.create_sensor(**data)
        taken = f"; its trigger was served by {losers[0]} until now" if losers else ""
        return envelopes.created(self.shown(row), f"Sensor created successfully{taken}")

    def perform_update(self, row: Sensor, data: dict[str, Any]) -> Sensor:
        return sensor_rows.update_sensor(row, data)

    def perform_destroy(self, row: Sensor) -> None:
        delete_once(row)


class PackSensorsViewSet(AttuneViewSet[Sensor]):
    """The sensors of one pack."""

    queryset = Sensor.objects.order_by("ref")
    visible_to = staticmethod(visible_with_triggers)
    grants: ClassVar = {"list": filtered("triggers:read")}

    @extend_schema(responses=SensorSummarySerializer(many=True))
    def list(self, request: Request, ref: str) -> Response:
        """List the sensors of a pack by ref."""
        rows = self.rows().filter(pack_ref=ref).defer(*_NOT_LISTED)
        if not visible_packs(self.caller).filter(ref=ref).exists() and not rows.exists():
            raise NotFound(f"Pack '{ref}' not found")
        return self.listed(rows, SensorSummarySerializer)
