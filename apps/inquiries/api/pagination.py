"""Lists of inquiries: by ``offset`` and ``limit``, or by page or cursor like every list (api.md 1.5)."""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework.views import APIView

from apps.core.api import query
from apps.core.api.pagination import NewestFirstPagination


class InquiryPagination(NewestFirstPagination):
    """Newest first; ``page`` is ``offset / limit + 1``."""

    size_parameter = "limit"
    maximum_size = 500

    _offset: int | None

    def _read(self, params: Mapping[str, str]) -> None:
        super()._read(params)
        offset = query.number(params, "offset")
        self._offset = None if offset is None else min(max(offset, 0), query.MAX_ID)
        if self._offset is not None:
            self.page = self._offset // self.size + 1

    def _slice(self, queryset: "QuerySet[Any]", start: int) -> list[Any]:
        return super()._slice(queryset, start if self._offset is None else self._offset)

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        offset = {
            "name": "offset",
            "in": "query",
            "required": False,
            "description": "Rows to leave out at the beginning; instead of page.",
            "schema": {"type": "integer", "minimum": 0},
        }
        return [*super().get_schema_operation_parameters(view), offset]
