"""
Lists a page at a time (api.md 1.4, 1.5).

A view names one of these as its ``pagination_class`` and orders its queryset; the rest is done here::

    PagePagination        packs, actions, runtimes, workers, lists below a parent   page_size, 50, at most 100
    ExecutionPagination   executions, artifacts: newest first                       per_page, 20, at most 100
    EventPagination       events, enforcements, deliveries: newest first            per_page, 50, at most 1000
    KeyPagination         keys, queues, queue items                                 per_page, 50, at most 1000
    AuditPagination       audit events: newest first                                per_page, 50, at most 500
    HistoryPagination     history: newest first by ``time``                         page_size, 50, at most 1000

``page_size``, ``per_page`` and ``limit`` are the same parameter on every list.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db.models import Model, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.api import query
from apps.core.errors import BadRequest

EXACT_UP_TO = 10_000  # counting more rows than this costs more than the total is worth
SIZE_PARAMETERS = ("page_size", "per_page", "limit")


@dataclass(frozen=True, kw_only=True)
class Total:
    """How many rows match; a lower bound when it is not exact."""

    items: int
    is_exact: bool


def bounded_count(rows: "QuerySet[Any]") -> Total:
    """Count the rows, up to a bound."""
    found = rows.order_by()[: EXACT_UP_TO + 1].count()
    return Total(items=found, is_exact=found <= EXACT_UP_TO)


class PagePagination(BasePagination):
    """Numbered pages of a list in the order of its queryset."""

    size_parameter: ClassVar[str] = "page_size"
    default_size: ClassVar[int] = 50
    maximum_size: ClassVar[int] = 100

    page: int
    asked_size: int
    size: int
    total: Total | None
    has_previous: bool
    has_next: bool

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        """Return the rows of the page that the request asks for."""
        self._read(request.query_params)
        self.total = bounded_count(queryset) if self._wants_total(request.query_params) else None
        start = (self.page - 1) * self.size
        rows = self._slice(queryset, start)
        self.has_previous = self.page > 1
        self.has_next = len(rows) > self.size
        rows = rows[: self.size]
        if self.total and not self.total.is_exact:
            known = start + len(rows) + (1 if self.has_next else 0)
            self.total = Total(items=max(self.total.items, known if rows else 0), is_exact=False)
        return rows

    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        return Response({"data": data, "items": data, "pagination": self.pagination()})

    def pagination(self) -> dict[str, Any]:
        """Return the object that tells where in the list the page is."""
        told: dict[str, Any] = {
            "page": self.page,
            "page_size": self.asked_size,
            "effective_page_size": self.size,
            "has_previous": self.has_previous,
            "has_next": self.has_next,
        }
        if self.total is not None:
            told["total_items"] = self.total.items
            told["total_pages"] = -(-self.total.items // self.size)
            if not self.total.is_exact:
                told["total_is_exact"] = False
        return told

    def _read(self, params: Mapping[str, str]) -> None:
        self.page = max(1, query.integer(params, "page", minimum=0) or 0)
        name = next((name for name in SIZE_PARAMETERS if params.get(name)), self.size_parameter)
        asked = query.number(params, name)
        # Never refused, however large: what is echoed is kept to 64 bits.
        self.asked_size = self.default_size if asked is None else min(max(asked, -query.MAX_ID), query.MAX_ID)
        self.size = min(max(self.asked_size, 1), self.maximum_size)

    def _wants_total(self, params: Mapping[str, str]) -> bool:
        return query.boolean(params, "include_total") is not False

    def _slice(self, queryset: "QuerySet[Any]", start: int) -> list[Any]:
        """Return one row more than fits, to know whether more follow; none when there is nothing that far."""
        beyond = self.total is not None and self.total.is_exact and start >= self.total.items
        if beyond or start > query.MAX_ID - self.size - 1:
            return []
        return list(queryset[start : start + self.size + 1])

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            _parameter("page", "integer", "Number of the page, from 1.", minimum=0, default=1),
            _parameter(
                self.size_parameter,
                "integer",
                f"Rows per page, at most {self.maximum_size}; page_size, per_page and limit mean the same.",
                default=self.default_size,
            ),
            _parameter("include_total", "boolean", "false leaves the totals out.", default=True),
        ]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["data", "items", "pagination"],
            "properties": {
                "data": schema,
                "items": schema,
                "pagination": {"$ref": "#/components/schemas/Pagination"},
            },
        }


class KeyPagination(PagePagination):
    """Keys, queues and queue items."""

    size_parameter = "per_page"
    maximum_size = 1000


class NewestFirstPagination(PagePagination):
    """
    Newest first, by page or (at constant cost, without skips or repeats) by cursor.

    The queryset's own order is replaced: by ``time_field``, then by id.
    """

    time_field: ClassVar[str] = "created"
    size_parameter = "per_page"

    next_cursor: str | None
    descending: bool

    def paginate_queryset(self, queryset: Any, request: Request, view: APIView | None = None) -> list[Any]:
        params = request.query_params
        order = query.choice(params, "order", ("asc", "desc"))
        after = self._position(params, queryset.model, order)
        self.descending = after.descending if after else order != "asc"
        sign = "-" if self.descending else ""
        queryset = queryset.order_by(f"{sign}{self.time_field}", f"{sign}id")
        if after is None:
            rows = super().paginate_queryset(queryset, request, view)
        else:
            rows = self._continue(queryset, after, params)
        self.next_cursor = self._cursor(rows[-1]) if rows and self.has_next else None
        return rows

    def pagination(self) -> dict[str, Any]:
        return {**super().pagination(), "next_cursor": self.next_cursor}

    def _continue(self, queryset: "QuerySet[Any]", after: "Position", params: Mapping[str, str]) -> list[Any]:
        self._read(params)
        self.total = bounded_count(queryset) if query.boolean(params, "include_total") else None
        rows = list(queryset.filter(after.condition(self.time_field))[: self.size + 1])
        self.has_previous, self.has_next = True, len(rows) > self.size
        return rows[: self.size]

    def _position(self, params: Mapping[str, str], model: type[Model], order: str | None) -> "Position | None":
        cursor = query.text(params, "cursor")
        if cursor is not None:
            position = Position.read(cursor)
            if order is not None and (order == "desc") != position.descending:
                raise BadRequest("The cursor belongs to the other order")
            return position
        row_id = query.identifier(params, "before_id")
        if row_id is None:
            return None
        moment = model._default_manager.filter(pk=row_id).values_list(self.time_field, flat=True).first()
        return Position(moment=moment, row_id=row_id, descending=order != "asc")

    def _cursor(self, row: Any) -> str:
        moment = row[self.time_field] if isinstance(row, dict) else getattr(row, self.time_field)
        row_id = row["id"] if isinstance(row, dict) else row.pk
        return Position(moment=moment, row_id=row_id, descending=self.descending).write()

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        return [
            *super().get_schema_operation_parameters(view),
            _parameter("order", "string", "asc: oldest first.", enum=["asc", "desc"], default="desc"),
            _parameter("cursor", "string", "Goes on after the page whose next_cursor this is; same filters."),
            _parameter("before_id", "integer", "Goes on after the row with this id."),
        ]


class ExecutionPagination(NewestFirstPagination):
    """Executions and artifacts."""

    default_size = 20


class EventPagination(NewestFirstPagination):
    """Events, enforcements, decisions, deliveries."""

    maximum_size = 1000


class AuditPagination(NewestFirstPagination):
    """Audit events."""

    maximum_size = 500


class HistoryPagination(NewestFirstPagination):
    """Rows of a history table."""

    size_parameter = "page_size"
    time_field = "time"
    maximum_size = 1000


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place in a newest-first list: behind the row with this time and id. Without a time, by id alone."""

    moment: datetime | None
    row_id: int
    descending: bool

    def condition(self, time_field: str) -> Q:
        """Return the condition of the rows behind this place; its first half lets an index find the start."""
        side = "lt" if self.descending else "gt"
        by_id = Q(**{f"id__{side}": self.row_id})
        if self.moment is None:
            return by_id
        not_before = Q(**{f"{time_field}__{side}e": self.moment})
        return not_before & (Q(**{f"{time_field}__{side}": self.moment}) | by_id)

    def write(self) -> str:
        moment = self.moment.isoformat() if self.moment else None
        packed = json.dumps([moment, self.row_id, "d" if self.descending else "a"], separators=(",", ":"))
        return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")

    @classmethod
    def read(cls, cursor: str) -> "Position":
        """Raises BadRequest for a text that ``write`` did not make."""
        try:
            packed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            moment, row_id, order = json.loads(packed)
            at = datetime.fromisoformat(moment)
            if (
                at.tzinfo != UTC
                or type(row_id) is not int
                or not 0 < row_id <= query.MAX_ID
                or order not in ("a", "d")
            ):
                raise ValueError(cursor)
        except (ValueError, TypeError, RecursionError):
            raise BadRequest("The cursor is not one that this list gave") from None
        return cls(moment=at, row_id=row_id, descending=order == "d")


def _parameter(name: str, kind: str, description: str, **rules: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": kind, **rules},
    }
