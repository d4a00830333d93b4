"""Routes of workflows, their runs, and what packs have of them."""

from django.urls import path

from apps.core.api.routers import Router
from apps.workflows.api.packs import PackWorkflowStepsViewSet
from apps.workflows.api.reruns import RerunViewSet
from apps.workflows.api.runs import DryRunViewSet, RunViewSet
from apps.workflows.api.workflows import PackWorkflowFilesViewSet, PackWorkflowsViewSet, WorkflowViewSet

PACK = "api/v1/packs/<str:ref>"
router = Router()
router.register("api/v1/workflows", WorkflowViewSet, basename="workflow")
urlpatterns = [
    path("api/v1/workflows/<str:ref>/dry-run", DryRunViewSet.as_view({"post": "dry_run"})),
    path("api/v1/executions/<str:pk>/workflow", RunViewSet.as_view({"get": "workflow"})),
    path("api/v1/executions/<str:pk>/rerun", RerunViewSet.as_view({"post": "rerun"})),
    *router.urls,
    path(f"{PACK}/workflows", PackWorkflowsViewSet.as_view({"get": "list"})),
    path(f"{PACK}/workflows/sync", PackWorkflowStepsViewSet.as_view({"post": "sync"})),
    path(f"{PACK}/workflows/validate", PackWorkflowStepsViewSet.as_view({"post": "validate"})),
    path(f"{PACK}/workflow-files", PackWorkflowFilesViewSet.as_view({"post": "create"})),
]
