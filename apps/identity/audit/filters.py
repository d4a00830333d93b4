"""The filters of audit events (api.md section 22): named values as conditions in SQL."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from apps.core.api import contains, query
from apps.core.api.query import Params
from apps.identity.models import AuditCategory, AuditEvent, AuditOutcome

# Text to find anywhere in a column, for which there is no index.
_PARTS = ("actor_login", "http_path")
NAMES = (
    "category", "event_type", "outcome", "actor_identity", "actor_login", "resource_type", "resource_id",
    "resource_ref", "request_id", "http_status", "http_method", "http_path", "created_after", "created_before",
)  # fmt: skip


def _parameter(name: str, kind: OpenApiTypes = OpenApiTypes.STR, text: str = "") -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=text)


PARAMETERS = [
    _parameter("category", text=f"One or, with commas, more of {', '.join(AuditCategory.values)}."),
    _parameter("event_type", text="A whole type, or all that begin alike: secret.*"),
    _parameter("outcome", text=f"One or, with commas, more of {', '.join(AuditOutcome.values)}."),
    _parameter("actor_identity", OpenApiTypes.INT64, "An id."),
    _parameter("actor_login", text="A part of it, any case; looks through the newest 100,000 rows."),
    _parameter("resource_type"),
    _parameter("resource_id", OpenApiTypes.INT64, "An id."),
    _parameter("resource_ref", text="A full ref, or <pack>.*"),
    _parameter("request_id", OpenApiTypes.UUID),
    _parameter("http_status", OpenApiTypes.INT),
    _parameter("http_method"),
    _parameter("http_path", text="A part of it, any case; looks through the newest 100,000 rows."),
    _parameter("created_after", OpenApiTypes.DATETIME, "Inclusive; RFC 3339 or YYYY-MM-DD."),
    _parameter("created_before", OpenApiTypes.DATETIME, "Exclusive; RFC 3339 or YYYY-MM-DD."),
]


@dataclass(frozen=True, kw_only=True)
class AuditFilters:
    """What is asked for: by columns, and by texts that are to be found in some."""

    condition: Q
    parts: tuple[tuple[str, str], ...]

    @property
    def window(self) -> int | None:
        """How many of the newest rows are looked through; None: all."""
        return contains.WINDOW if self.parts else None

    def apply(self, rows: "QuerySet[AuditEvent]", *, whole: bool = False) -> "QuerySet[AuditEvent]":
        """Return the rows that match; ``whole``: however long looking through all of them takes."""
        rows = rows.filter(self.condition)
        if self.parts and not whole:
            rows = contains.newest(rows)
        for name, part in self.parts:
            rows = rows.filter(**{f"{name}__icontains": part})
        return rows


def parse(params: Params) -> AuditFilters:
    """Return the filters of a query. Raises BadRequest for a value that cannot be understood."""
    condition = Q()
    for name, value in _values(params).items():
        if value is not None:
            condition &= Q(**{name: value})
    for name in ("event_type", "resource_ref"):
        condition &= query.ref_filter(name, query.text(params, name))
    parts = ((name, contains.text_to_find(params, name)) for name in _PARTS)
    return AuditFilters(condition=condition, parts=tuple((name, part) for name, part in parts if part is not None))


def _values(params: Params) -> dict[str, Any]:
    method = query.text(params, "http_method")
    return {
        "category__in": query.choices(params, "category", AuditCategory.values),
        "outcome__in": query.choices(params, "outcome", AuditOutcome.values),
        "actor_identity": query.identifier(params, "actor_identity"),
        "resource_type": query.text(params, "resource_type"),
        "resource_id": query.identifier(params, "resource_id"),
        "request_id": query.uuid(params, "request_id"),
        "http_status": query.integer(params, "http_status", minimum=0, maximum=2**31 - 1),
        "http_method": method.upper() if method is not None else None,
        "created__gte": query.moment(params, "created_after"),
        "created__lt": query.moment(params, "created_before"),
    }
