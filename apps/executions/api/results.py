"""The whole result, why, and history of an execution (api.md 13.5, 13.6, 21)."""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.grants import by_object, filtered
from apps.core.api.history import HISTORY_PARAMETERS, HistoryRecordSerializer, history_matching
from apps.core.api.pagination import HistoryPagination
from apps.core.api.views import AttuneViewSet
from apps.core.errors import BadRequest
from apps.executions import visibility
from apps.executions.api.base import ExecutionViews
from apps.executions.api.documents import POINTER, WAIT
from apps.executions.api.executions import wait_seconds
from apps.executions.api.serializers import WhySerializer
from apps.executions.api.waiting import until_finished
from apps.executions.artifacts import whole_result
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.services import explain
from apps.identity.grants import narrowed, under
from apps.workers.models import Worker, WorkerHistory
from apps.workers.visibility import readable_workers

_MISSING = object()


class ResultViewSet(ExecutionViews):
    """What came of an execution."""

    grants: ClassVar = {"result": by_object("executions:read"), "why": by_object("executions:read")}

    @extend_schema(parameters=[POINTER, WAIT], responses=OpenApiTypes.ANY)
    def result(self, request: Request, pk: str) -> Response:
        """Read the whole result, whatever its size; null before the end. ``pointer`` picks a part of it."""
        seconds = wait_seconds(request)
        pointer = request.query_params.get("pointer")
        execution = self.get_object()
        if seconds and not execution.is_finished:
            return until_finished(envelopes.single(None), execution, seconds)
        whole = whole_result(execution) if execution.is_finished else None
        return envelopes.single(whole if pointer is None else part_at(whole, pointer))

    @extend_schema(responses=WhySerializer)
    def why(self, request: Request, pk: str) -> Response:
        """Say what an execution waits for, or why it ended."""
        return envelopes.single(explain(self.get_object()))


def part_at(value: Any, pointer: str) -> Any:
    """Return what a JSON pointer (RFC 6901) names. Raises BadRequest for a bad or missing path."""
    if pointer and not pointer.startswith("/"):
        raise BadRequest("A JSON pointer is empty or begins with '/'")
    for token in pointer.split("/")[1:]:
        value = _member(value, token.replace("~1", "/").replace("~0", "~"))
        if value is _MISSING:
            raise BadRequest(f"The result has nothing at {pointer[:200]}")
    return value


def _member(value: Any, name: str) -> Any:
    match value:
        case dict():
            return value.get(name, _MISSING)
        case list() if name.isascii() and name.isdigit() and len(name) < 10 and (name == "0" or name[0] != "0"):
            return value[int(name)] if int(name) < len(value) else _MISSING
        case _:
            return _MISSING


class ExecutionHistoryViewSet(ExecutionViews):
    """What became of one execution, step by step."""

    grants: ClassVar = {"list": by_object("executions:read")}
    pagination_class = HistoryPagination  # type: ignore[assignment]  # of another kind than the base view's

    @extend_schema(parameters=HISTORY_PARAMETERS, responses=HistoryRecordSerializer(many=True))
    def list(self, request: Request, pk: str) -> Response:
        """List the changes of an execution, newest first."""
        rows = ExecutionHistory.objects.filter(entity_id=self.get_object().pk)
        return self.listed(history_matching(rows, request.query_params), HistoryRecordSerializer)


class HistoryViewSet(AttuneViewSet[ExecutionHistory]):
    """What became of executions and workers."""

    queryset = ExecutionHistory.objects.all()
    serializer_class = HistoryRecordSerializer
    grants: ClassVar = {"list": filtered("executions:read")}
    pagination_class = HistoryPagination

    @extend_schema(parameters=HISTORY_PARAMETERS, responses=HistoryRecordSerializer(many=True))
    def list(self, request: Request, entity_type: str) -> Response:
        """List the changes of all executions, or of all workers, newest first."""
        rows: Any
        match entity_type:
            case "execution":
                rows = _history_of(
                    ExecutionHistory.objects.all(), visibility.readable(self.caller), Execution.objects.all()
                )
            case "worker":
                self.caller.require("workers:read")
                rows = _history_of(
                    WorkerHistory.objects.all(),
                    readable_workers(self.caller),
                    Worker.objects.all(),
                )
            case _:
                raise BadRequest(f"There is no history of '{entity_type[:80]}': execution and worker have one")
        return self.listed(history_matching(rows, request.query_params))


def _history_of(history: Any, readable: Q, entities: "QuerySet[Any]") -> Any:
    """Return what became of the readable ones of these; whoever reads all reads of deleted ones, too."""
    return narrowed(history, under("entity_id", entities, readable))
