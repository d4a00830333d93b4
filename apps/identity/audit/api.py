"""Read the audit trail (api.md section 22); reading it is recorded, too."""

from typing import ClassVar
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.contains import WindowPagination
from apps.core.api.pagination import AuditPagination
from apps.core.api.schema import unpaged
from apps.core.api.views import AttuneViewSet
from apps.core.errors import BadRequest
from apps.identity.audit import filters
from apps.identity.audit.record import record
from apps.identity.audit.rows import AuditEventSerializer
from apps.identity.models import AuditEvent

MOST_OF_A_REQUEST = 1000  # a client may send one id with all of its requests


class AuditPages(WindowPagination, AuditPagination):
    """Audit events, of which a search may have looked through the newest only."""


class AuditEventViewSet(AttuneViewSet[AuditEvent]):
    """What was done, by whom and from where."""

    queryset = AuditEvent.objects.all()
    lookup_field = "pk"
    lookup_url_kwarg = "id"
    noun = "Audit event"
    serializer_class = AuditEventSerializer
    pagination_class = AuditPages
    grants: ClassVar = {
        "list": "audit_log:read",
        "retrieve": "audit_log:read",
        "by_request": "audit_log:read",
    }

    def before_denial(self) -> None:
        """Whoever may not read the trail is not told which events there are."""

    @extend_schema(parameters=filters.PARAMETERS, responses=AuditEventSerializer(many=True))
    def list(self, request: Request) -> Response:
        """List events, newest first."""
        asked = filters.parse(request.query_params)
        assert isinstance(self.paginator, WindowPagination)
        self.paginator.window = asked.window
        answer = self.listed(asked.apply(AuditEvent.objects.all()))
        given = {name: request.query_params[name] for name in filters.NAMES if request.query_params.get(name)}
        record("audit_log.read", details={"filters": given, "events": len(answer.data["data"])})
        return answer

    @extend_schema(responses=AuditEventSerializer)
    def retrieve(self, request: Request, **_path: str) -> Response:
        """Return one event."""
        event = self.get_object()
        record("audit_log.read", resource_type="audit_event", resource_id=event.pk)
        return envelopes.single(self.shown(event))

    @extend_schema(
        operation_id="audit_events_by_request",
        parameters=[OpenApiParameter("request_id", OpenApiTypes.UUID, OpenApiParameter.PATH)],
        responses=unpaged(AuditEventSerializer),
    )
    def by_request(self, request: Request, request_id: str) -> Response:
        """Return the events of one request in the order in which they happened, of very many the newest."""
        wanted = _uuid(request_id)
        newest = AuditEvent.objects.filter(request_id=wanted).order_by("-created", "-id")
        events = [self.shown(event) for event in newest[:MOST_OF_A_REQUEST]][::-1]
        record("audit_log.read", details={"of_request": str(wanted), "events": len(events)})
        return envelopes.single(events)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadRequest("The id of a request is a UUID") from None
