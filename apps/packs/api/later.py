"""Routes of parts that are not built yet: they are there and answer 501."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.grants import filtered
from apps.core.api.views import AttuneViewSet
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
