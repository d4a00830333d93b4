"""Whether the product is alive and able to work (api.md section 2). Nobody needs a token to ask."""

import logging

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from attune.pages import safe_page
from attune.preflight import check_database
from settings.env import CannotStart

logger = logging.getLogger(__name__)

# Whoever asks (a load balancer, a container's health check) gives up after a few seconds.
PATIENCE_SECONDS = 2


@safe_page
def health(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@safe_page
def live(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@safe_page
def ready(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=503 if _database_problem() else 200)


@safe_page
def detailed(request: HttpRequest) -> HttpResponse:
    problem = _database_problem()
    if problem:
        return JsonResponse({"status": "error", "database": "disconnected", "error": problem}, status=503)
    return JsonResponse({"status": "ok", "version": settings.ATTUNE_VERSION, "database": "connected"})


def _database_problem() -> str | None:
    """Return a sentence for strangers (no names of hosts or users) when the database does not answer, else None."""
    try:
        check_database(timeout_seconds=PATIENCE_SECONDS, may_make_it=False)
    except CannotStart as problem:
        logger.warning("Not ready: %s", problem)
        return "The database does not answer"
    return None


urlpatterns = [
    path("health", health),
    path("health/detailed", detailed),
    path("health/ready", ready),
    path("ready", ready),
    path("health/live", live),
    path("healthz", live),
]
