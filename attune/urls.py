"""Every route of the product."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from apps.core.api.handler import InternalError, body_of
from apps.core.errors import BadRequest
from attune import health, later, openapi
from attune.pages import Page, safe_page


def _redirect(**target: Any) -> Page:
    return safe_page(RedirectView.as_view(**target))


urlpatterns: list[URLPattern | URLResolver] = [
    path("", include(health.urlpatterns)),
    path("", include("attune.api_urls")),
    path("", include(openapi.urlpatterns)),
    path("", include(later.urlpatterns)),
    path("admin/", admin.site.urls),
    # What people type: the address alone, or without the last slash.
    path("", _redirect(pattern_name="admin:index")),
    path("admin", _redirect(pattern_name="admin:index")),
    path("api/v1/", _redirect(pattern_name="docs")),
    path("login", _redirect(url="/admin/login/", query_string=True)),
]


def unknown_path(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404 with an empty body (api.md 1.1)."""
    return HttpResponse(status=404)


def unreadable(request: HttpRequest, exception: Exception) -> HttpResponse:
    return JsonResponse(body_of(BadRequest("The request cannot be read")), status=400)


def failed(request: HttpRequest) -> HttpResponse:
    return JsonResponse(body_of(InternalError()), status=500)


handler404 = unknown_path
handler400 = unreadable
handler500 = failed
