"""How answers leave: JSON always, the browsable pages for whoever asks for HTML."""

from typing import Any

from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request

from apps.core.errors import AttuneError


class LenientNegotiation(DefaultContentNegotiation):
    """JSON for whoever accepts neither JSON nor HTML: an ``Accept`` header is no reason to refuse."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        if "text/html" not in request.META.get("HTTP_ACCEPT", ""):
            return renderers[0], renderers[0].media_type
        try:
            chosen: tuple[BaseRenderer, str] = super().select_renderer(request, renderers, format_suffix)
        except NotAcceptable:
            return renderers[0], renderers[0].media_type
        return chosen


class BrowsableRenderer(BrowsableAPIRenderer):
    """The browsable API with forms for raw JSON: what one types is what a client would send."""

    def show_form_for_method(self, view: Any, method: str, request: Request, obj: Any) -> bool:
        """Whether this caller could do it here."""
        try:
            return bool(super().show_form_for_method(view, method, request, obj))
        except AttuneError:
            return False

    def get_rendered_html_form(self, data: Any, view: Any, method: str, request: Request) -> Any:
        """Return a true value where a button is enough (DELETE, OPTIONS); bodies are written as JSON."""
        if method not in {"DELETE", "OPTIONS"} or method not in view.allowed_methods:
            return None
        return self.show_form_for_method(view, method, request, None) or None
