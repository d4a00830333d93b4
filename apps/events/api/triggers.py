"""Create, list, read and change triggers (api.md section 7)."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.grants import filtered
from apps.core.api.views import AttuneViewSet, CreateMixin, DestroyMixin, ListMixin, RetrieveMixin, UpdateMixin
from apps.core.deletions import delete_once
from apps.core.errors import NotFound
from apps.events import triggers
from apps.events.api.sensors import shown_sensors
from apps.events.api.serializers import (
    SensorSummarySerializer,
    TriggerCreateBody,
    TriggerSerializer,
    TriggerSummarySerializer,
    TriggerUpdateBody,
    shown_trigger,
)
from apps.events.models import Trigger
from apps.events.visibility import WITH_SENSORS, visible_sensors, visible_triggers
from apps.packs.visibility import visible_to as visible_packs

# Large, and no part of a summary.
_NOT_LISTED = ("param_schema", "out_schema", "webhook_config")


class TriggerViewSet(ListMixin, RetrieveMixin, CreateMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Trigger]):
    """Triggers: kinds of events."""

    queryset = Trigger.objects.order_by("ref")
    visible_to = staticmethod(visible_triggers)
    noun = "Trigger"
    serializer_class = TriggerSerializer
    serializer_classes: ClassVar = {
        "list": TriggerSummarySerializer,
        "create": TriggerCreateBody,
        "update": TriggerUpdateBody,
    }
    grants: ClassVar = {
        "list": filtered("triggers:read"),
        "enabled": filtered("triggers:read"),
        "retrieve": filtered("triggers:read"),
        "sensors": filtered("triggers:read"),
        "create": "triggers:create",
        "update": "triggers:update",
        "enable": "triggers:update",
        "disable": "triggers:update",
        "destroy": "triggers:delete",
    }
    token_types: ClassVar = {"retrieve": WITH_SENSORS}

    def filter_rows(self, rows: "QuerySet[Trigger]") -> "QuerySet[Trigger]":
        return rows.defer(*_NOT_LISTED)

    def shown(self, row: Trigger) -> dict[str, Any]:
        return shown_trigger(row, self.caller)

    @extend_schema(operation_id="triggers_enabled", responses=TriggerSummarySerializer(many=True))
    @route(detail=False)
    def enabled(self, request: Request) -> Response:
        """List the enabled triggers by ref."""
        return self.listed(self.filter_rows(self.rows()).filter(enabled=True), TriggerSummarySerializer)

    @extend_schema(responses=SensorSummarySerializer(many=True))
    @route(detail=True)
    def sensors(self, request: Request, ref: str) -> Response:
        """List the sensors that serve a trigger: one at most."""
        rows = shown_sensors(visible_sensors(self.caller).filter(triggers__ref=ref))
        if not self.rows().filter(ref=ref).exists() and not rows.exists():
            raise NotFound(self.absent(ref))
        return self.listed(rows, SensorSummarySerializer)

    @extend_schema(request=None, responses=TriggerSerializer)
    @route(detail=True, methods=["post"])
    def enable(self, request: Request, ref: str) -> Response:
        """Enable a trigger; a body is ignored."""
        row = triggers.set_enabled(self.get_object(), enabled=True)
        return envelopes.single(self.shown(row), "Trigger enabled successfully")

    @extend_schema(request=None, responses=TriggerSerializer)
    @route(detail=True, methods=["post"])
    def disable(self, request: Request, ref: str) -> Response:
        """Disable a trigger: its events are stored, and no rule fires on them. A body is ignored."""
        row = triggers.set_enabled(self.get_object(), enabled=False)
        return envelopes.single(self.shown(row), "Trigger disabled successfully")

    def perform_create(self, data: dict[str, Any]) -> Trigger:
        return triggers.create_trigger(**data)

    def perform_update(self, row: Trigger, data: dict[str, Any]) -> Trigger:
        return triggers.update_trigger(row, data)

    def perform_destroy(self, row: Trigger) -> None:
        delete_once(row)


class PackTriggersViewSet(AttuneViewSet[Trigger]):
    """The triggers of one pack."""

    queryset = Trigger.objects.order_by("ref")
    visible_to = staticmethod(visible_triggers)
    grants: ClassVar = {"list": filtered("triggers:read")}

    @extend_schema(responses=TriggerSummarySerializer(many=True))
    def list(self, request: Request, ref: str) -> Response:
        """List the triggers of a pack by ref."""
        rows = self.rows().filter(pack_ref=ref).defer(*_NOT_LISTED)
        if not visible_packs(self.caller).filter(ref=ref).exists() and not rows.exists():
            raise NotFound(f"Pack '{ref}' not found")
        return self.listed(rows, TriggerSummarySerializer)
