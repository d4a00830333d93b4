"""Create, list, read and change executions (api.md 13.1 to 13.3)."""

from typing import Any, ClassVar

from django.db.models import Count, Q
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import by_object, filtered
from apps.core.api.schema import unpaged
from apps.core.errors import BadRequest
from apps.executions import visibility
from apps.executions.api.base import ExecutionViews
from apps.executions.api.bodies import ExecuteBody, ExecutionUpdateBody
from apps.executions.api.documents import FILTER_PARAMETERS, SECRETS, WAIT, WINDOW
from apps.executions.api.filters import parse_filters
from apps.executions.api.requests import execution_request
from apps.executions.api.serializers import (
    ExecutionSerializer,
    ExecutionSummarySerializer,
    StatsSerializer,
)
from apps.executions.api.waiting import LONGEST_SECONDS, until_finished
from apps.executions.models import ExecutionQuerySet
from apps.executions.secrets import with_secret_values
from apps.executions.services import request_execution, update_execution
from apps.executions.states import PENDING, Status
from apps.identity import audit

STATS_WINDOW = 1000  # of the newest executions that are counted unless all are asked for


class ExecutionViewSet(ExecutionViews):
    """Executions: one run of an action each."""

    grants: ClassVar = {
        "list": filtered("executions:read"),
        "by_status": filtered("executions:read"),
        "by_enforcement": filtered("executions:read"),
        "stats": filtered("executions:read"),
        "retrieve": by_object("executions:read"),
        "attempts": by_object("executions:read"),
        "create": by_object("actions:execute"),
        "update": "executions:update",
    }
    serializer_classes: ClassVar = {"create": ExecuteBody, "update": ExecutionUpdateBody}

    @extend_schema(parameters=FILTER_PARAMETERS, responses=ExecutionSummarySerializer(many=True))
    def list(self, request: Request) -> Response:
        """List executions, newest first."""
        rows, filters = self.matching()
        return self.summaries(rows, window=filters.window)

    @extend_schema(parameters=FILTER_PARAMETERS, responses=ExecutionSummarySerializer(many=True))
    def by_status(self, request: Request, status: str) -> Response:
        """List the executions of one status, newest first."""
        if status.lower() not in Status.values:
            raise BadRequest(f"Invalid execution status: {status}")
        rows, filters = self.matching()
        return self.summaries(rows.filter(status=status.lower()), window=filters.window)

    @extend_schema(parameters=FILTER_PARAMETERS, responses=ExecutionSummarySerializer(many=True))
    def by_enforcement(self, request: Request, enforcement: str) -> Response:
        """List the executions of one enforcement, newest first."""
        rows, filters = self.matching()
        return self.summaries(rows.filter(enforcement=query.path_id(enforcement)), window=filters.window)

    @extend_schema(parameters=[*FILTER_PARAMETERS, WINDOW], responses=StatsSerializer)
    def stats(self, request: Request) -> Response:
        """Count executions by kind of status: the newest 1000, or with a filter or window=all all that match."""
        window = query.choice(request.query_params, "window", ("1000", "all"))
        filters = parse_filters(request.query_params)
        rows = filters.apply(visibility.visible_to(self.caller))
        whole = window == "all" or not filters.is_empty
        return envelopes.single(counted(rows if whole else newest(rows)) | {"window": "all" if whole else "1000"})

    @extend_schema(request=ExecuteBody, responses={201: ExecutionSerializer})
    def create(self, request: Request) -> Response:
        """Run an action."""
        body = self.validated(ExecuteBody)
        execution = request_execution(execution_request(self.caller, body, idempotency_key=_key(request)))
        return envelopes.created(self.shown(execution), "Execution requested successfully")

    @extend_schema(parameters=[WAIT, SECRETS], responses=ExecutionSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Read an execution; with ``wait`` (seconds, up to 60) once it has ended."""
        seconds = wait_seconds(request)
        execution = self.get_object()
        with_secrets = query.boolean(request.query_params, "include_secret_values")
        if with_secrets:
            self.caller.require("executions:decrypt", execution)
        if seconds and not execution.is_finished:
            return until_finished(envelopes.single(self.shown(execution)), execution, seconds)
        if with_secrets:
            execution = with_secret_values(execution)
            audit.record("secret.execution_values.decrypted", resource_type="execution", resource_id=execution.pk)
        return envelopes.single(self.shown(execution))

    @extend_schema(request=ExecutionUpdateBody, responses=ExecutionSerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Change when a waiting execution starts, or whether retention leaves one alone."""
        execution = self.existing()
        body = self.validated(ExecutionUpdateBody)
        changed = update_execution(execution.pk, actor=f"identity:{self.caller.identity.pk}", **body)
        return envelopes.single(self.shown(changed), "Execution updated successfully")

    @extend_schema(operation_id="executions_attempts", responses=unpaged(ExecutionSummarySerializer))
    def attempts(self, request: Request, pk: str) -> Response:
        """List all attempts of the chain of retries that an execution belongs to, oldest first."""
        execution = self.get_object()
        first = execution.original_execution_id or execution.pk
        rows = visibility.visible_to(self.caller).filter(Q(pk=first) | Q(original_execution=first))
        return envelopes.single(self.summaries_of(rows.order_by("created", "id")))


def newest(rows: ExecutionQuerySet) -> ExecutionQuerySet:
    """Return the newest rows, as many as statistics look at."""
    return rows.newest_first()[:STATS_WINDOW]


def counted(rows: ExecutionQuerySet) -> dict[str, int]:
    """Return how many of the rows have which kind of status; one query."""
    kinds = {
        "completed": [Status.COMPLETED],
        "failed": [Status.FAILED],
        "running": [Status.RUNNING],
        "pending": sorted(PENDING),
        "cancelled": [Status.CANCELLED, Status.CANCELING],
        "timeout": [Status.TIMEOUT],
        "abandoned": [Status.ABANDONED],
    }
    counts = {kind: Count("pk", filter=Q(status__in=statuses)) for kind, statuses in kinds.items()}
    found: dict[str, int] = rows.aggregate(total=Count("pk"), **counts)
    return found


def wait_seconds(request: Request) -> int:
    """Return how long the request is ready to wait for an end."""
    return query.integer(request.query_params, "wait", minimum=0, maximum=LONGEST_SECONDS) or 0


def _key(request: Request) -> str | None:
    key: Any = request.META.get("HTTP_IDEMPOTENCY_KEY")
    return None if key is None else str(key)
