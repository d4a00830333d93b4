"""Routes of parts that are not built yet: they are there and answer 501."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.grants import filtered
from apps.core.errors import NotImplementedYet
from apps.executions.api.base import ExecutionViews


@extend_schema(exclude=True)
class LaterViewSet(ExecutionViews):
    """Streams, another worker."""

    grants: ClassVar = {
        "stream": filtered("executions:read"),
        "reschedule": "executions:update",
    }

    def stream(self, request: Request) -> Response:
        """Follow executions while they change."""
        raise NotImplementedYet("Live streams are not there yet")

    def reschedule(self, request: Request, pk: str) -> Response:
        """Let dispatch choose a worker anew."""
        self.existing()
        raise NotImplementedYet("Rescheduling is not there yet")
