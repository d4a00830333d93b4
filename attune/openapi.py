"""The OpenAPI document and its page; nobody needs a token to read them."""

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.response import Response

from attune.pages import safe_page

# The page's scripts are our own files; Swagger UI sets styles as it goes.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@cache
def document() -> bytes:
    """Return the OpenAPI document; it only changes with the code."""
    schema = SchemaGenerator().get_schema(request=None, public=True)
    rendered: bytes = OpenApiJsonRenderer2().render(schema)
    return rendered


@safe_page
def document_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(document(), content_type="application/json")


class SwaggerPage(SpectacularSwaggerSplitView):
    """Swagger UI from the product's own files, its script apart from the page."""

    authentication_classes = ()
    permission_classes = ()
    http_method_names = ["get", "head"]
    url_name = "openapi-document"

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Response:
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        answer["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        return answer


urlpatterns = [
    path("docs", SwaggerPage.as_view(), name="docs"),
    path("api-spec/openapi.json", document_view, name="openapi-document"),
]
