"""Routes of parts that are not built yet: they are there and answer 501."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.grants import ANY_TOKEN, filtered
from apps.core.api.views import AttuneView, AttuneViewSet
from apps.core.errors import NotImplementedYet
from apps.packs import visibility
from apps.packs.models import Pack


@extend_schema(exclude=True)
class LaterViewSet(AttuneViewSet[Pack]):
    """Installing from elsewhere, and pack tests."""

    queryset = Pack.objects.order_by("ref")
    visible_to = staticmethod(visibility.visible_to)
    noun = "Pack"
    grants: ClassVar = {
        "install": "packs:install",
        "test": "packs:install",
        "tests": filtered("packs:read"),
    }

    def install(self, request: Request) -> Response:
        """Install packs from elsewhere, and what belongs to it."""
        raise NotImplementedYet("Installing packs from elsewhere is not there yet")

    def test(self, request: Request, ref: str) -> Response:
        """Run a pack's tests."""
        self.get_object()
        raise NotImplementedYet("Pack tests are not there yet")

    def tests(self, request: Request, ref: str) -> Response:
        """Show the results of a pack's tests."""
        self.get_object()
        raise NotImplementedYet("Pack tests are not there yet")


@extend_schema(exclude=True)
class PackIndicesView(AttuneView):
    """Where packs are looked for, and what is found there."""

    name = "Pack indices"
    grants: ClassVar = {"get": "packs:read", **dict.fromkeys(("post", "put", "delete"), "packs:configure")}

    def get(self, request: Request, **names: str) -> Response:
        raise NotImplementedYet("Pack indices are not there yet; upload or register a pack")

    post = put = delete = get


@extend_schema(exclude=True)
class PackArchiveView(AttuneView):
    """The files of a pack, for workers that share no disk with the server."""

    name = "Pack archive"
    grants: ClassVar = {"get": ANY_TOKEN}
    token_types: ClassVar = {"get": frozenset({"worker"})}

    def get(self, request: Request, ref: str) -> Response:
        raise NotImplementedYet("Workers need a disk that they share with the server (ATTUNE_PACKS_DIR)")
