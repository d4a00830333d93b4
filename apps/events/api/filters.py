"""The filters of events (api.md section 11): the query string as conditions in SQL."""

from django.db.models import Q
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from apps.core.api import query
from apps.core.api.query import Params


def _parameter(name: str, kind: OpenApiTypes = OpenApiTypes.STR, text: str = "") -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=text)


FILTER_PARAMETERS = [
    *(_parameter(name, OpenApiTypes.INT64, "An id.") for name in ("trigger", "source", "rule")),
    *(_parameter(name, text="A full ref, or <pack>.*") for name in ("trigger_ref", "rule_ref", "source_ref")),
    _parameter("correlation_id", OpenApiTypes.UUID),
    _parameter(
        "payload_contains", text="Text in the payload's JSON, any case; looks through the newest 100,000 rows."
    ),
    _parameter("created_after", OpenApiTypes.DATETIME, "Inclusive; RFC 3339 or YYYY-MM-DD."),
    _parameter("created_before", OpenApiTypes.DATETIME, "Exclusive; RFC 3339 or YYYY-MM-DD."),
]


def event_condition(params: Params) -> Q:
    """Return what a query asks of columns. Raises BadRequest for a value that cannot be understood."""
    condition = Q()
    for name in ("trigger", "source", "rule"):
        if (row_id := query.identifier(params, name)) is not None:
            condition &= Q(**{name: row_id})
    for name in ("trigger_ref", "rule_ref", "source_ref"):
        condition &= query.ref_filter(name, query.text(params, name))
    if (correlation_id := query.uuid(params, "correlation_id")) is not None:
        condition &= Q(correlation_id=correlation_id)
    if (after := query.moment(params, "created_after")) is not None:
        condition &= Q(created__gte=after)
    if (before := query.moment(params, "created_before")) is not None:
        condition &= Q(created__lt=before)
    return condition
