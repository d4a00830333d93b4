"""Ask, read, answer, change and delete inquiries."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import by_object, filtered
from apps.core.api.views import AttuneViewSet, CreateMixin, DestroyMixin, RetrieveMixin, UpdateMixin
from apps.core.errors import BadRequest
from apps.executions.errors import ExecutionNotFound
from apps.executions.visibility import visible_to as visible_executions
from apps.identity import audit
from apps.inquiries import rights, services
from apps.inquiries.answers import real_answer
from apps.inquiries.api.pagination import InquiryPagination
from apps.inquiries.api.serializers import (
    InquiryCreate,
    InquiryRespond,
    InquirySerializer,
    InquirySummarySerializer,
    InquiryUpdate,
)
from apps.inquiries.models import Inquiry, InquiryStatus
from apps.inquiries.visibility import visible_to

_NOT_LISTED = ("response_schema", "response")
_ALSO_UNDERSTOOD = {"canceled": InquiryStatus.CANCELLED.value}
FILTERS = [
    OpenApiParameter("status", str, description=f"one or several of {', '.join(InquiryStatus.values)}"),
    OpenApiParameter("execution", OpenApiTypes.INT64),
    OpenApiParameter("assigned_to", OpenApiTypes.INT64, description="Id of an identity."),
    OpenApiParameter("created_after", OpenApiTypes.DATETIME, description="From this time on."),
    OpenApiParameter("created_before", OpenApiTypes.DATETIME, description="Before this time."),
]
SECRETS = OpenApiParameter(
    "include_secret_values", bool, description="The real values of secrets in the answer; takes executions:decrypt."
)


class InquiryViewSet(CreateMixin, RetrieveMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Inquiry]):
    """Questions to people."""

    queryset = Inquiry.objects.newest_first()
    visible_to = staticmethod(visible_to)
    pagination_class = InquiryPagination
    holds_secrets = frozenset({"respond"})
    lookup_field = "pk"
    noun = "Inquiry"
    serializer_class = InquirySerializer
    serializer_classes: ClassVar = {"create": InquiryCreate, "update": InquiryUpdate, "respond": InquiryRespond}
    grants: ClassVar = {
        "list": filtered("inquiries:read"),
        "by_status": filtered("inquiries:read"),
        "of_execution": filtered("inquiries:read"),
        "retrieve": filtered("inquiries:read"),
        "create": by_object("inquiries:create"),
        "update": "inquiries:update",
        "destroy": "inquiries:delete",
        "respond": by_object("inquiries:respond"),
    }

    @extend_schema(parameters=FILTERS, responses=InquirySummarySerializer(many=True))
    def list(self, request: Request) -> Response:
        """List inquiries, newest first."""
        return self._summaries(self.filter_rows(self.rows()))

    @extend_schema(parameters=FILTERS, responses=InquirySummarySerializer(many=True))
    def by_status(self, request: Request, status: str) -> Response:
        """List the inquiries of one status, newest first."""
        wanted = _ALSO_UNDERSTOOD.get(status.lower(), status.lower())
        if wanted not in InquiryStatus.values:
            raise BadRequest(f"Invalid inquiry status: {status[:80]}")
        return self._summaries(self.filter_rows(self.rows()).filter(status=wanted))

    @extend_schema(parameters=FILTERS, responses=InquirySummarySerializer(many=True))
    def of_execution(self, request: Request, pk: str) -> Response:
        """List the inquiries of an execution: one, or none."""
        execution_id = query.path_id(pk)
        rows = self.rows().filter(execution=execution_id)
        # Whoever may see neither it nor its question is not told that it is there.
        if not rows.exists() and not visible_executions(self.caller).filter(pk=execution_id).exists():
            raise ExecutionNotFound(execution_id)
        return self._summaries(self.filter_rows(rows))

    def filter_rows(self, rows: "QuerySet[Inquiry]") -> "QuerySet[Inquiry]":
        params = self.request.query_params
        if statuses := query.choices(params, "status", [*InquiryStatus.values, *_ALSO_UNDERSTOOD]):
            rows = rows.filter(status__in=[_ALSO_UNDERSTOOD.get(status, status) for status in statuses])
        for name in ("execution", "assigned_to"):
            if (wanted := query.identifier(params, name)) is not None:
                rows = rows.filter(**{name: wanted})
        after, before = query.moment(params, "created_after"), query.moment(params, "created_before")
        if after is not None:
            rows = rows.filter(created__gte=after)
        return rows if before is None else rows.filter(created__lt=before)

    def _summaries(self, rows: "QuerySet[Inquiry]") -> Response:
        return self.listed(rows.defer(*_NOT_LISTED), InquirySummarySerializer)

    @extend_schema(parameters=[SECRETS])
    def retrieve(self, request: Request, pk: str) -> Response:
        """Read an inquiry."""
        with_secrets = query.boolean(request.query_params, "include_secret_values")
        inquiry = self.get_object()
        if with_secrets:
            self.caller.require("executions:decrypt", inquiry.execution)
            inquiry.response = real_answer(inquiry)
            audit.record("secret.inquiry_values.decrypted", resource_type="inquiry", resource_id=inquiry.pk)
        return envelopes.single(self.shown(inquiry))

    @extend_schema(request=InquiryCreate, responses={201: InquirySerializer})
    def create(self, request: Request) -> Response:
        """Ask a question about an execution, which goes on meanwhile."""
        if self.caller.execution_id is None:  # ahead of what is wrong with the body
            self.caller.require("inquiries:create")
        return super().create(request)

    def authorize_new(self, data: Mapping[str, Any]) -> None:
        """A program may ask about its own execution without a grant."""
        if data["execution"] != self.caller.execution_id:
            self.caller.require("inquiries:create", {})

    def perform_create(self, data: dict[str, Any]) -> Inquiry:
        return services.create_inquiry(services.NewInquiry(**data), caller=self.caller)

    def perform_update(self, row: Inquiry, data: dict[str, Any]) -> Inquiry:
        return services.update_inquiry(row.pk, data, caller=self.caller)

    def perform_destroy(self, row: Inquiry) -> None:
        services.delete_inquiry(row.pk, caller=self.caller)

    @extend_schema(request=InquiryRespond, responses=InquirySerializer)
    def respond(self, request: Request, pk: str) -> Response:
        """Answer an inquiry; the execution that waits for it goes on."""
        row = self.get_object()
        rights.check_may_respond(self.caller, row)  # ahead of what is wrong with the body
        data = self.validated(InquiryRespond)
        answered = services.respond(row.pk, data["response"], caller=self.caller)
        return envelopes.single(self.shown(answered), "Response submitted successfully")
