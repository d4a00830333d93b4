"""Create, list, read, change and delete queues."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import contains, envelopes, query
from apps.core.api.grants import by_object, filtered
from apps.core.api.pagination import KeyPagination
from apps.core.api.views import AttuneViewSet, DestroyMixin, RetrieveMixin
from apps.core.errors import NotFound
from apps.identity.grants import require_delegation
from apps.packs.models import Pack
from apps.packs.visibility import visible_to as visible_packs
from apps.queues import services
from apps.queues.api.serializers import (
    SUMMARY,
    QueueCreateBody,
    QueueSerializer,
    QueueSummarySerializer,
    QueueUpdateBody,
)
from apps.queues.models import WorkQueue
from apps.queues.visibility import visible_queues

BEYOND_OWN_ACCESS = "Cannot save a queue with permission sets beyond current access"
FILTERS = [
    OpenApiParameter("enabled", OpenApiTypes.BOOL),
    OpenApiParameter("is_adhoc", OpenApiTypes.BOOL),
    OpenApiParameter("search", str, description="Part of the ref, the label or the description."),
]


def _whole(rows: "QuerySet[WorkQueue]") -> "QuerySet[WorkQueue]":
    """Return the rows with what their tuning is resolved from."""
    return rows.select_related("pack", "owner_identity")


class QueueViewSet(RetrieveMixin, DestroyMixin, AttuneViewSet[WorkQueue]):
    """Queues: items that executions of an action work off."""

    queryset = _whole(WorkQueue.objects.order_by("ref"))
    visible_to = staticmethod(lambda caller: _whole(visible_queues(caller)))
    noun = "Queue"
    serializer_class = QueueSerializer
    serializer_classes: ClassVar = {
        "list": QueueSummarySerializer,
        "create": QueueCreateBody,
        "update": QueueUpdateBody,
    }
    pagination_class = KeyPagination
    grants: ClassVar = {
        "list": by_object("queues:read"),
        "of_pack": by_object("queues:read"),
        "retrieve": filtered("queues:read"),
        "create": "queues:create",
        "update": "queues:update",
        "destroy": "queues:delete",
    }

    @extend_schema(parameters=FILTERS)
    def list(self, request: Request) -> Response:
        """List the queues by ref."""
        self.authorize()
        return self.listed(self.filter_rows(self.rows()), QueueSummarySerializer)

    @extend_schema(parameters=FILTERS, responses=QueueSummarySerializer(many=True))
    def of_pack(self, request: Request, ref: str) -> Response:
        """List the queues of a pack by ref."""
        if not Pack.objects.filter(ref=ref).exists():
            raise NotFound(f"Pack '{ref}' not found")
        self.authorize()
        rows = self.rows().filter(pack_ref=ref)
        if not visible_packs(self.caller).filter(ref=ref).exists() and not rows.exists():
            raise NotFound(f"Pack '{ref}' not found")
        return self.listed(self.filter_rows(rows), QueueSummarySerializer)

    def filter_rows(self, rows: "QuerySet[WorkQueue]") -> "QuerySet[WorkQueue]":
        params = self.request.query_params
        for name in ("enabled", "is_adhoc"):
            if (wanted := query.boolean(params, name)) is not None:
                rows = rows.filter(**{name: wanted})
        if search := query.fragment(params, "search"):
            found = [contains.in_any_case(name, search) for name in ("ref", "label", "description")]
            rows = rows.filter(found[0] | found[1] | found[2])
        return rows.select_related(None).only(*SUMMARY)

    @extend_schema(request=QueueCreateBody, responses={201: QueueSerializer})
    def create(self, request: Request) -> Response:
        """Create a queue."""
        data = self.validated(QueueCreateBody)
        self.authorize_new(data)
        require_delegation(self.caller, data.get("permission_set_refs"), BEYOND_OWN_ACCESS)
        queue = services.create_queue(**data, owner=self.caller.identity)
        return envelopes.created(self.shown(queue), "Queue created successfully")

    @extend_schema(request=QueueUpdateBody, responses=QueueSerializer)
    def update(self, request: Request, ref: str) -> Response:
        """Change a queue; of one that a pack manages only ``enabled`` and ``accepting_new_items``."""
        queue = self.get_object()
        data: dict[str, Any] = self.validated(QueueUpdateBody, partial=True)
        self.authorize_changed(queue, data)
        if "permission_set_refs" in data and data["permission_set_refs"] != queue.permission_set_refs:
            require_delegation(self.caller, data["permission_set_refs"], BEYOND_OWN_ACCESS)
        queue = services.update_queue(queue.pk, data)
        return envelopes.single(self.shown(queue), "Queue updated successfully")

    def perform_destroy(self, queue: WorkQueue) -> None:
        services.delete_queue(queue.pk)
