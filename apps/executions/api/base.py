"""What the views of executions share."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.response import Response

from apps.core import sql
from apps.core.api import query
from apps.core.api.contains import WindowPagination
from apps.core.api.grants import Mode
from apps.core.api.pagination import ExecutionPagination
from apps.core.api.views import AttuneViewSet
from apps.executions import visibility
from apps.executions.api.filters import ExecutionFilters, parse_filters
from apps.executions.api.serializers import (
    SUMMARY_COLUMNS,
    ExecutionSerializer,
    ExecutionSummarySerializer,
    execution_data,
    summary_data,
)
from apps.executions.errors import ExecutionNotFound
from apps.executions.models import Execution, ExecutionQuerySet


class ExecutionWindowPagination(WindowPagination, ExecutionPagination):
    """Executions, of which a search may have looked through the newest only."""


class ExecutionViews(AttuneViewSet[Execution]):
    """One execution by its id, or those that the caller may see."""

    queryset = Execution.objects.newest_first()
    serializer_class = ExecutionSerializer
    visible_to = staticmethod(visibility.visible_to)
    pagination_class = ExecutionWindowPagination
    lookup_field = "pk"
    noun = "Execution"

    def get_object(self) -> Execution:
        """Return the execution of the path. Raises ExecutionNotFound; Forbidden when the caller may not read it."""
        execution = self.existing()
        if not visibility.is_own(self.caller, execution):
            self.caller.require("executions:read", execution)
        return execution

    def existing(self) -> Execution:
        """
        Return the execution of the path.

        Raises ExecutionNotFound; Forbidden where the operation takes a grant that does not hold for it.
        """
        pk = query.path_id(self.kwargs["pk"])
        execution = sql.get(Execution, "id = %s", [pk])
        if execution is None:
            raise ExecutionNotFound(pk)
        if self.mode is Mode.REQUIRED:
            self.authorize(execution)
        return execution

    def before_denial(self) -> None:
        if "pk" in self.kwargs:
            self.existing()

    def shown(self, row: Execution) -> dict[str, Any]:
        return execution_data(row)

    def matching(self) -> tuple[ExecutionQuerySet, ExecutionFilters]:
        """Return the visible rows that the query's filters leave, and the filters."""
        filters = parse_filters(self.request.query_params)
        return filters.apply(visibility.visible_to(self.caller)), filters

    def summaries(self, rows: "QuerySet[Execution]", *, window: int | None = None) -> Response:
        """Return one page of summaries; only their columns are read."""
        assert isinstance(self.paginator, WindowPagination)
        self.paginator.window = window
        return self.listed(rows.only(*SUMMARY_COLUMNS), ExecutionSummarySerializer)

    def summaries_of(self, rows: "QuerySet[Execution]") -> list[dict[str, Any]]:
        """Return the summaries of all the rows."""
        return [summary_data(row) for row in rows.only(*SUMMARY_COLUMNS)]
