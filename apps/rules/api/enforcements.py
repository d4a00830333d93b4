"""Enforcements: rules that matched events, and what came of it (api.md section 12)."""

from typing import ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import by_object, filtered
from apps.core.api.pagination import EventPagination
from apps.core.api.views import AttuneViewSet
from apps.executions.api.documents import SECRETS
from apps.identity import audit
from apps.rules.api.decisions import within
from apps.rules.api.serializers import EnforcementSerializer, EnforcementSummarySerializer
from apps.rules.models import Enforcement, EnforcementStatus
from apps.rules.secrets import with_secret_values
from apps.rules.visibility import visible_enforcements

_NOT_LISTED = ("config", "payload", "conditions", "resolved_at")
FILTERS = [
    OpenApiParameter("rule", OpenApiTypes.INT64),
    OpenApiParameter("event", OpenApiTypes.INT64),
    OpenApiParameter("status", str, description=f"one or several of {', '.join(EnforcementStatus.values)}"),
    OpenApiParameter("trigger_ref", str),
    OpenApiParameter("rule_ref", str),
    OpenApiParameter("created_after", OpenApiTypes.DATETIME, description="From this time on."),
    OpenApiParameter("created_before", OpenApiTypes.DATETIME, description="Before this time."),
]


class EnforcementViewSet(AttuneViewSet[Enforcement]):
    """Enforcements: written by the engine, read here."""

    queryset = Enforcement.objects.newest_first()
    visible_to = staticmethod(visible_enforcements)
    pagination_class = EventPagination
    lookup_field = "pk"
    noun = "Enforcement"
    serializer_class = EnforcementSerializer
    grants: ClassVar = {
        "list": filtered("enforcements:read"),
        "retrieve": by_object("enforcements:read"),
    }

    @extend_schema(parameters=FILTERS, responses=EnforcementSummarySerializer(many=True))
    def list(self, request: Request) -> Response:
        """List enforcements, newest first."""
        return self.listed(self.filter_rows(self.rows()).defer(*_NOT_LISTED), EnforcementSummarySerializer)

    def filter_rows(self, rows: "QuerySet[Enforcement]") -> "QuerySet[Enforcement]":
        params = self.request.query_params
        for name in ("rule", "event"):
            if (wanted := query.identifier(params, name)) is not None:
                rows = rows.filter(**{name: wanted})
        if statuses := query.choices(params, "status", EnforcementStatus.values):
            rows = rows.filter(status__in=statuses)
        for name in ("trigger_ref", "rule_ref"):
            rows = rows.filter(query.ref_filter(name, query.text(params, name)))
        return within(rows, params)

    @extend_schema(parameters=[SECRETS])
    def retrieve(self, request: Request, pk: str) -> Response:
        """Read an enforcement."""
        with_secrets = query.boolean(request.query_params, "include_secret_values")
        enforcement = self.get_object()
        self.authorize(enforcement)
        if with_secrets:
            self.caller.require("enforcements:decrypt", enforcement)
            enforcement = with_secret_values(enforcement)
            audit.record(
                "secret.enforcement_values.decrypted", resource_type="enforcement", resource_id=enforcement.pk
            )
        return envelopes.single(self.shown(enforcement))

    def rows(self) -> "QuerySet[Enforcement]":
        """One that may not be read is no secret: it answers 403 and not 404."""
        return self.get_queryset() if self.operation == "retrieve" else super().rows()
