"""List and read workers; cordon, uncordon and drain them; what became of them."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import clock
from apps.core.api import query
from apps.core.api.history import HISTORY_PARAMETERS, HistoryRecordSerializer, history_matching
from apps.core.api.pagination import HistoryPagination
from apps.core.api.schema import bare
from apps.core.api.views import AttuneViewSet
from apps.identity.models import Identity
from apps.workers import services
from apps.workers.api.refusals import ReadsRefused
from apps.workers.api.serializers import ReasonBody, WorkerSerializer, worker_data
from apps.workers.health import HEALTH_STATES, health_state
from apps.workers.load import count_load
from apps.workers.models import Worker, WorkerHistory, WorkerRole, WorkerStatus
from apps.workers.visibility import visible_workers


class WorkerViewSet(ReadsRefused, AttuneViewSet[Worker]):
    """Workers: who runs executions."""

    queryset = Worker.objects.select_related("lease").order_by("name")
    visible_to = staticmethod(visible_workers)
    lookup_field = "pk"
    noun = "Worker"
    serializer_class = WorkerSerializer
    serializer_classes: ClassVar = {"cordon": ReasonBody, "drain": ReasonBody}
    grants: ClassVar = {
        "list": "workers:read",
        "retrieve": "workers:read",
        "cordon": "workers:manage",
        "uncordon": "workers:manage",
        "drain": "workers:manage",
    }

    @extend_schema(
        parameters=[
            OpenApiParameter("role", str, enum=WorkerRole.values),
            OpenApiParameter("status", str, description="one or several, separated by commas"),
            OpenApiParameter("cordoned", bool),
            OpenApiParameter("health_state", str, description="one or several, separated by commas"),
        ]
    )
    def list(self, request: Request) -> Response:
        """List workers by name."""
        page: Sequence[Worker] = self.paginate_queryset(self.filter_rows(self.rows())) or ()
        return self.get_paginated_response(_shown(page))

    def filter_rows(self, rows: "QuerySet[Worker]") -> "QuerySet[Worker]":
        params = self.request.query_params
        if role := query.choice(params, "role", WorkerRole.values):
            rows = rows.filter(worker_role=role)
        if statuses := query.choices(params, "status", WorkerStatus.values):
            rows = rows.filter(status__in=statuses)
        if (cordoned := query.boolean(params, "cordoned")) is not None:
            rows = rows.filter(cordoned=cordoned)
        if states := query.choices(params, "health_state", HEALTH_STATES):
            rows = rows.filter(pk__in=_in_state(rows, states))
        return rows

    @extend_schema(responses=bare(WorkerSerializer))
    def retrieve(self, request: Request, pk: str) -> Response:
        """Read one worker."""
        return _bare(self.get_object())

    @extend_schema(request=ReasonBody, responses=bare(WorkerSerializer))
    @route(detail=True, methods=["post"])
    def cordon(self, request: Request, pk: str) -> Response:
        """Give it no new work; what it has goes on."""
        return self._with_reason(services.cordon)

    @extend_schema(request=None, responses=bare(WorkerSerializer))
    @route(detail=True, methods=["post"])
    def uncordon(self, request: Request, pk: str) -> Response:
        """Give it work again."""
        return _bare(services.uncordon(self.get_object(), by=_person(self)))

    @extend_schema(request=ReasonBody, responses=bare(WorkerSerializer))
    @route(detail=True, methods=["post"])
    def drain(self, request: Request, pk: str) -> Response:
        """Cordon it and take back what it has not started."""
        return self._with_reason(services.drain)

    def _with_reason(self, verb: Callable[..., Worker]) -> Response:
        worker = self.get_object()
        reason = self.validated(ReasonBody).get("reason")
        return _bare(verb(worker, by=_person(self), reason=reason))


class WorkerHistoryViewSet(ReadsRefused, AttuneViewSet[Worker]):
    """What became of one worker."""

    queryset = Worker.objects.order_by("name")
    visible_to = staticmethod(visible_workers)
    lookup_field = "pk"
    noun = "Worker"
    grants: ClassVar = {"list": "workers:read"}
    pagination_class = HistoryPagination

    @extend_schema(parameters=HISTORY_PARAMETERS, responses=HistoryRecordSerializer(many=True))
    def list(self, request: Request, pk: str) -> Response:
        """List the changes of a worker, newest first."""
        rows = WorkerHistory.objects.filter(entity_id=self.get_object().pk)
        return self.listed(history_matching(rows, request.query_params), HistoryRecordSerializer)


def _shown(workers: Sequence[Worker]) -> list[dict[str, Any]]:
    """Return workers of the wire; one query counts the executions of all of them."""
    loads = count_load([worker.pk for worker in workers])
    now = clock.now()
    show = WorkerSerializer().to_representation
    return [show(worker_data(worker, loads[worker.pk], now=now)) for worker in workers]


def _bare(worker: Worker) -> Response:
    return Response(_shown([worker])[0])


def _in_state(rows: "QuerySet[Worker]", states: Sequence[str]) -> list[int]:
    """Return the ids of those in one of the derived states. Workers are few, so they are looked at one by one."""
    workers = list(rows)
    loads = count_load([worker.pk for worker in workers])
    now = clock.now()
    return [
        worker.pk
        for worker in workers
        if health_state(worker, total_active=sum(loads[worker.pk].values()), now=now) in states
    ]


def _person(view: WorkerViewSet) -> Identity:
    identity: Identity = view.caller.identity
    return identity
