"""Routes of packs; the lists of their actions and runtimes stand in the apps that own those."""

from django.urls import path

from apps.core.api.routers import Router
from apps.packs.api.later import LaterViewSet, PackArchiveView, PackIndicesView
from apps.packs.api.packs import PackViewSet, UploadViewSet

PACKS = "api/v1/packs"
router = Router()
router.register(PACKS, PackViewSet, basename="pack")

_install = LaterViewSet.as_view({"post": "install"})
_tests = LaterViewSet.as_view({"get": "tests"})

urlpatterns = [
    path(f"{PACKS}/upload", UploadViewSet.as_view({"post": "upload"})),
    *(
        path(f"{PACKS}/{name}", _install)
        for name in ("install", "register-batch", "download", "dependencies", "build-envs")
    ),
    *router.urls,
    path(f"{PACKS}/<str:ref>/test", LaterViewSet.as_view({"post": "test"})),
    path(f"{PACKS}/<str:ref>/tests", _tests),
    path(f"{PACKS}/<str:ref>/tests/latest", _tests),
    path("api/v1/pack-indices", PackIndicesView.as_view()),
    path("api/v1/pack-indices/packs", PackIndicesView.as_view()),
    path("api/v1/pack-indices/packs/<str:ref>", PackIndicesView.as_view()),
    path("api/v1/pack-indices/<str:id>", PackIndicesView.as_view()),
    path("api/v1/internal/packs/<str:ref>/archive", PackArchiveView.as_view()),
]
