"""Routes of parts that are not built yet and belong to no app: they are there and answer 501."""

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.grants import ANY_TOKEN
from apps.core.api.views import AttuneView
from apps.core.errors import NotImplementedYet


@extend_schema(exclude=True)
class RetentionConfigView(AttuneView):
    """How long rows are kept, and how much they take."""

    name = "Retention"
    grants = {"get": "retention:read", "put": "retention:update"}

    def get(self, request: Request) -> Response:
        raise NotImplementedYet("Retention is not there yet; everything is kept")

    put = get


@extend_schema(exclude=True)
class RetentionUsageView(AttuneView):
    """How much what is kept takes."""

    name = "Retention usage"
    grants = {"get": "retention:read"}

    def get(self, request: Request) -> Response:
        raise NotImplementedYet("Retention is not there yet; everything is kept")


@extend_schema(exclude=True)
class AnalyticsView(AttuneView):
    """How much happened in each hour."""

    name = "Analytics"
    grants = {"get": ANY_TOKEN}

    def get(self, request: Request) -> Response:
        raise NotImplementedYet("Analytics are not there yet; executions have statistics of their own")


@extend_schema(exclude=True)
class MetricsView(AttuneView):
    """Figures for Prometheus."""

    name = "Metrics"
    grants = {"get": ANY_TOKEN}
    token_types = {"get": frozenset({"access"})}

    def get(self, request: Request) -> Response:
        raise NotImplementedYet("Metrics are not there yet")


@extend_schema(exclude=True)
class InternalFilesView(AttuneView):
    """Files of workers that share no disk with the server."""

    name = "Files of workers"
    grants = dict.fromkeys(("get", "put", "patch", "delete"), ANY_TOKEN)
    token_types = dict.fromkeys(grants, frozenset({"worker"}))

    def get(self, request: Request, file: str) -> Response:
        raise NotImplementedYet("Workers need a disk that they share with the server (ATTUNE_ARTIFACTS_DIR)")

    put = patch = delete = get


_SERIES = (
    "executions/status", "executions/throughput", "executions/failure-rate", "events/volume", "workers/status",
    "enforcements/volume", "dashboard",
)  # fmt: skip

urlpatterns = [
    *(path(f"api/v1/analytics/{name}", AnalyticsView.as_view()) for name in _SERIES),
    path("api/v1/retention-config", RetentionConfigView.as_view()),
    path("api/v1/retention-config/usage", RetentionUsageView.as_view()),
    path("metrics", MetricsView.as_view()),
    path("api/v1/internal/files/<path:file>", InternalFilesView.as_view()),
]
