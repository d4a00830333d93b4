"""Routes of executions, their history and artifacts; fixed words come before ids."""

from django.urls import include, path

from apps.executions.api.artifacts.versions import UploadViewSet, VersionViewSet
from apps.executions.api.artifacts.views import ArtifactViewSet
from apps.executions.api.executions import ExecutionViewSet
from apps.executions.api.export import ExportViewSet
from apps.executions.api.later import LaterViewSet
from apps.executions.api.logs import LogViewSet
from apps.executions.api.policies import PolicyStateViewSet, QueueStatsViewSet
from apps.executions.api.results import ExecutionHistoryViewSet, HistoryViewSet, ResultViewSet
from apps.executions.api.verbs import VerbViewSet

_executions, _logs, _verbs = ExecutionViewSet, LogViewSet, VerbViewSet
_results, _later = ResultViewSet, LaterViewSet
_artifacts, _versions, _uploads = ArtifactViewSet, VersionViewSet, UploadViewSet

_routes = [
    path("executions", _executions.as_view({"get": "list", "post": "create"})),
    path("executions/execute", _executions.as_view({"post": "create"})),
    path("executions/stats", _executions.as_view({"get": "stats"})),
    path("executions/export", ExportViewSet.as_view({"get": "export"})),
    path("executions/stream", _later.as_view({"get": "stream"})),
    path("executions/cancel", _verbs.as_view({"post": "cancel_many"})),
    path("executions/status/<str:status>", _executions.as_view({"get": "by_status"})),
    path("executions/enforcement/<str:enforcement>", _executions.as_view({"get": "by_enforcement"})),
    path("executions/<str:pk>", _executions.as_view({"get": "retrieve", "put": "update"})),
    path("executions/<str:pk>/attempts", _executions.as_view({"get": "attempts"})),
    path("executions/<str:pk>/result", _results.as_view({"get": "result"})),
    path("executions/<str:pk>/why", _results.as_view({"get": "why"})),
    path("executions/<str:pk>/history", ExecutionHistoryViewSet.as_view({"get": "list"})),
    path("executions/<str:pk>/logs", _logs.as_view({"get": "overview"})),
    path("executions/<str:pk>/logs/search", _logs.as_view({"get": "search"})),
    path("executions/<str:pk>/logs/<str:stream>", _logs.as_view({"get": "read"})),
    path("executions/<str:pk>/logs/<str:stream>/stream", _logs.as_view({"get": "follow"})),
    path("executions/<str:pk>/artifacts", _artifacts.as_view({"get": "of_execution"})),
    path("executions/<str:pk>/cancel", _verbs.as_view({"post": "cancel"})),
    path("executions/<str:pk>/force-close", _verbs.as_view({"post": "force_close"})),
    path("executions/<str:pk>/retry", _verbs.as_view({"post": "retry"})),
    path("executions/<str:pk>/reschedule", _later.as_view({"post": "reschedule"})),
    path("policies/<str:ref>/state", PolicyStateViewSet.as_view({"get": "state"})),
    path("actions/<str:ref>/queue-stats", QueueStatsViewSet.as_view({"get": "queue_stats"})),
    path("history/<str:entity_type>", HistoryViewSet.as_view({"get": "list"})),
    path("artifacts", _artifacts.as_view({"get": "list", "post": "create"})),
    # The ref of an artifact may hold slashes.
    path("artifacts/ref/<path:ref>/versions/upload", _uploads.as_view({"post": "upload_by_ref"})),
    path("artifacts/ref/<path:ref>/versions/file", _versions.as_view({"post": "allocate_by_ref"})),
    path("artifacts/ref/<path:ref>", _artifacts.as_view({"get": "by_ref"})),
    path("artifacts/<str:pk>", _artifacts.as_view({"get": "retrieve", "put": "update", "delete": "destroy"})),
    path("artifacts/<str:pk>/progress", _artifacts.as_view({"post": "progress"})),
    path("artifacts/<str:pk>/data", _artifacts.as_view({"put": "data"})),
    path("artifacts/<str:pk>/download", _versions.as_view({"get": "download"})),
    path("artifacts/<str:pk>/stream", _artifacts.as_view({"get": "stream"})),
    path("artifacts/<str:pk>/versions", _versions.as_view({"get": "list", "post": "create"})),
    path("artifacts/<str:pk>/versions/upload", _uploads.as_view({"post": "upload"})),
    path("artifacts/<str:pk>/versions/file", _versions.as_view({"post": "allocate"})),
    path("artifacts/<str:pk>/versions/latest", _versions.as_view({"get": "latest"})),
    path("artifacts/<str:pk>/versions/<str:number>", _versions.as_view({"get": "retrieve", "delete": "destroy"})),
    path("artifacts/<str:pk>/versions/<str:number>/download", _versions.as_view({"get": "download"})),
]

urlpatterns = [path("api/v1/", include(_routes))]
