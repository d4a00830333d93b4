"""What rules decided on events, and why (api.md 10.4)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import query
from apps.core.api.grants import filtered
from apps.core.api.pagination import EventPagination
from apps.core.api.views import AttuneViewSet, shared
from apps.core.errors import NotFound
from apps.events.visibility import visible_events
from apps.executions.models import Execution
from apps.rules.api.serializers import DecisionSerializer
from apps.rules.models import Outcome, RuleDecision
from apps.rules.visibility import visible_decisions, visible_rules

MATCHED = (Outcome.MATCHED, Outcome.DELAYED)
FILTERS = [
    OpenApiParameter("outcome", str, description=f"one or several, separated by commas: {', '.join(Outcome.values)}"),
    OpenApiParameter("matched", OpenApiTypes.BOOL),
    OpenApiParameter("rule_ref", str),
    OpenApiParameter("event", OpenApiTypes.INT64),
    OpenApiParameter("created_after", OpenApiTypes.DATETIME, description="From this time on."),
    OpenApiParameter("created_before", OpenApiTypes.DATETIME, description="Before this time."),
]


class DecisionViewSet(AttuneViewSet[RuleDecision]):
    """The decisions of one rule, or on one event; newest first."""

    queryset = RuleDecision.objects.newest_first()
    visible_to = staticmethod(visible_decisions)
    pagination_class = EventPagination
    grants: ClassVar = {"of_rule": filtered("rules:read"), "of_event": filtered("rules:read")}

    @extend_schema(parameters=FILTERS, responses=DecisionSerializer(many=True))
    def of_rule(self, request: Request, ref: str) -> Response:
        """List what a rule decided."""
        rule = visible_rules(self.caller).filter(ref=ref).values_list("pk", flat=True).first()
        if rule is None:
            raise NotFound(f"Rule '{ref}' not found")
        return self._page(self.rows().filter(rule=rule))

    @extend_schema(parameters=FILTERS, responses=DecisionSerializer(many=True))
    def of_event(self, request: Request, pk: str) -> Response:
        """List what rules decided on an event."""
        event_id = query.path_id(pk)
        if not visible_events(self.caller).filter(pk=event_id).exists():
            raise NotFound(f"Event with ID {event_id} not found")
        return self._page(self.rows().filter(event=event_id))

    def _page(self, rows: "QuerySet[RuleDecision]") -> Response:
        page = self.paginate_queryset(self.filter_rows(rows)) or ()
        return self.get_paginated_response(shown_decisions(page))

    def filter_rows(self, rows: "QuerySet[RuleDecision]") -> "QuerySet[RuleDecision]":
        params = self.request.query_params
        if outcomes := query.choices(params, "outcome", Outcome.values):
            rows = rows.filter(outcome__in=outcomes)
        matched = query.boolean(params, "matched")
        if matched is not None:
            rows = rows.filter(outcome__in=MATCHED) if matched else rows.exclude(outcome__in=MATCHED)
        rows = rows.filter(query.ref_filter("rule_ref", query.text(params, "rule_ref")))
        if (event := query.identifier(params, "event")) is not None:
            rows = rows.filter(event=event)
        return within(rows, params)


def within(rows: "QuerySet[Any]", params: query.Params) -> "QuerySet[Any]":
    """Return the rows created in the range of ``created_after`` and ``created_before``."""
    after, before = query.moment(params, "created_after"), query.moment(params, "created_before")
    if after is not None:
        rows = rows.filter(created__gte=after)
    return rows if before is None else rows.filter(created__lt=before)


def shown_decisions(decisions: Sequence[RuleDecision]) -> list[dict[str, Any]]:
    """Return decisions as answers show them; one more query for the executions of all."""
    executions: dict[int | None, list[int]] = {}
    enforcements = [decision.enforcement_id for decision in decisions if decision.enforcement_id is not None]
    if enforcements:
        found = Execution.objects.filter(enforcement__in=enforcements).order_by("pk")
        for enforcement, pk in found.values_list("enforcement", "pk"):
            executions.setdefault(enforcement, []).append(pk)
    for decision in decisions:
        decision.executions = executions.get(decision.enforcement_id, [])  # type: ignore[attr-defined]
    show = shared(DecisionSerializer).to_representation
    return [show(decision) for decision in decisions]
