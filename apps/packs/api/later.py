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
    """Installing from elsewhere, pack tests, workflows, and lists of components whose apps are not there yet."""

    queryset = Pack.objects.order_by("ref")
    visible_to = staticmethod(visibility.visible_to)
    noun = "Pack"
    grants: ClassVar = {
        "install": "packs:install",
        "test": "packs:install",
        "tests": filtered("packs:read"),
        "components": filtered("packs:read"),
        "sync": "packs:configure",
        "validate": filtered("packs:read"),
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

    def components(self, request: Request, ref: str) -> Response:
        """List components of a pack."""
        self.get_object()
        raise NotImplementedYet("Components of this kind are not there yet")

    def sync(self, request: Request, ref: str) -> Response:
        """Bring a pack's workflows in step with its files."""
        self.get_object()
        raise NotImplementedYet("Workflows are not there yet")

    def validate(self, request: Request, ref: str) -> Response:
        """Check a pack's workflow files."""
        self.get_object()
        raise NotImplementedYet("Workflows are not there yet")
