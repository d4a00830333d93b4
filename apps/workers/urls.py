"""Routes of workers and runtimes."""

from django.urls import path

from apps.core.api.routers import Router
from apps.workers.api.runtimes import PackRuntimesViewSet, RuntimeViewSet
from apps.workers.api.workers import WorkerHistoryViewSet, WorkerViewSet

router = Router()
router.register("api/v1/runtimes", RuntimeViewSet, basename="runtime")
router.register("api/v1/workers", WorkerViewSet, basename="worker")
urlpatterns = [
    *router.urls,
    path("api/v1/workers/<str:pk>/history", WorkerHistoryViewSet.as_view({"get": "list"})),
    path("api/v1/packs/<str:ref>/runtimes", PackRuntimesViewSet.as_view({"get": "list"})),
]
