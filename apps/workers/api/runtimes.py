"""Create, list, read, change and delete runtimes."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.views import (
    AttuneViewSet,
    CreateMixin,
    DestroyMixin,
    ListMixin,
    RetrieveMixin,
    UpdateMixin,
)
from apps.core.deletions import delete_once
from apps.core.errors import NotFound
from apps.packs.visibility import visible_to as visible_packs
from apps.workers import services
from apps.workers.api.refusals import ReadsRefused
from apps.workers.api.serializers import (
    RuntimeCreateBody,
    RuntimeSerializer,
    RuntimeSummarySerializer,
    RuntimeUpdateBody,
)
from apps.workers.models import Runtime
from apps.workers.visibility import visible_runtimes


class RuntimeViewSet(
    ReadsRefused, ListMixin, RetrieveMixin, CreateMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Runtime]
):
    """Runtimes: how programs are started."""

    queryset = Runtime.objects.order_by("ref")
    visible_to = staticmethod(visible_runtimes)
    noun = "Runtime"
    serializer_class = RuntimeSerializer
    serializer_classes: ClassVar = {
        "list": RuntimeSummarySerializer,
        "create": RuntimeCreateBody,
        "update": RuntimeUpdateBody,
    }
    grants: ClassVar = {
        "list": "runtimes:read",
        "retrieve": "runtimes:read",
        "create": "runtimes:create",
        "update": "runtimes:update",
        "destroy": "runtimes:delete",
    }

    def perform_create(self, data: dict[str, Any]) -> Runtime:
        return services.create_runtime(**data)

    def perform_update(self, row: Runtime, data: dict[str, Any]) -> Runtime:
        return services.update_runtime(row, data)

    def perform_destroy(self, row: Runtime) -> None:
        delete_once(row)


class PackRuntimesViewSet(ReadsRefused, AttuneViewSet[Runtime]):
    """The runtimes of one pack."""

    queryset = Runtime.objects.order_by("ref")
    visible_to = staticmethod(visible_runtimes)
    grants: ClassVar = {"list": "runtimes:read"}

    @extend_schema(responses=RuntimeSummarySerializer(many=True))
    def list(self, request: Request, ref: str) -> Response:
        """List the runtimes of a pack by ref."""
        rows = self.rows().filter(pack_ref=ref)
        if not visible_packs(self.caller).filter(ref=ref).exists() and not rows.exists():
            raise NotFound(f"Pack '{ref}' not found")
        return self.listed(rows, RuntimeSummarySerializer)
