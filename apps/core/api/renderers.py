"""How answers leave: JSON always, the browsable pages for whoever asks for HTML."""

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.html import format_html
from rest_framework import serializers
from rest_framework.exceptions import NotAcceptable
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer, BrowsableAPIRenderer
from rest_framework.request import Request, override_method

from apps.core.api.fields import Patch
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
        with override_method(view, request, method) as asked:
            return self.show_form_for_method(view, method, asked, None) or None

    def get_raw_data_form(self, data: Any, view: Any, method: str, request: Request) -> forms.Form | None:
        """Return a form that begins with a body one could send: what is required, or what is there now."""
        form: forms.Form | None = super().get_raw_data_form(data, view, method, request)
        if form is None or "application/json" not in {parser.media_type for parser in view.parser_classes}:
            return None
        if hasattr(view, "get_serializer_class"):
            with override_method(view, request, method):
                fields = view.get_serializer_class()().fields
            present = data.get("data") if method == "PUT" and isinstance(data, Mapping) else None
            content = form.fields["_content"]
            content.initial = json.dumps(_example(fields, present), indent=4, ensure_ascii=False, default=str)
            content.help_text = _described(fields)
        return form


def _example(fields: Mapping[str, serializers.Field], present: Any) -> dict[str, Any]:
    """Return a body: of an update the present values, else the required fields."""
    if not isinstance(present, Mapping):
        return {name: field.get_initial() for name, field in fields.items() if field.required}
    known = {name: present[name] for name in fields if present.get(name) is not None}
    return {
        name: {"op": "set", "value": value} if isinstance(fields[name], Patch) else value
        for name, value in known.items()
    }


def _described(fields: Mapping[str, serializers.Field]) -> str:
    if not fields:
        return ""
    return format_html(
        "Fields: {}", ", ".join(name if field.required else f"{name}?" for name, field in fields.items())
    )
