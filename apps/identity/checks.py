"""Start-up check: every route says which grant it takes (auth.md section 1)."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.checks import Error
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from apps.core.api.grants import classified
from apps.identity.grants import ACTIONS

METHODS = ("get", "post", "put", "patch", "delete")


def routes(patterns: list[Any] | None = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, callback) of every route of the product."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            yield path, entry.callback


def operations(callback: Any) -> Iterator[tuple[str, str]]:
    """Yield (method, operation) of a REST view: the key into its ``grants``."""
    view: type[APIView] = callback.cls
    actions: dict[str, str] | None = getattr(callback, "actions", None)
    for method in METHODS:
        if actions is not None:
            if method in actions:
                yield method, actions[method]
        elif hasattr(view, method) and method in view.http_method_names:
            yield method, method


def every_route_is_classified(**_options: Any) -> list[Error]:
    """Return an error for each operation without a classification."""
    found = []
    for path, callback in routes():
        view = getattr(callback, "cls", None)
        if view is None or not issubclass(view, APIView) or not path.startswith(("api/v1/", "auth/")):
            continue
        known = getattr(view, "grants", {})
        for method, operation in operations(callback):
            problem = _problem(known, operation)
            if problem:
                hint = "See the view's grants; apps/core/api/grants.py shows the forms."
                found.append(
                    Error(f"{view.__name__}, {method.upper()} /{path}: {problem}", hint=hint, id="attune.E001")
                )
    return found


def _problem(known: Mapping[str, Any], operation: str) -> str | None:
    if operation not in known:
        return f"'{operation}' does not say which grant it takes."
    grant = classified(known[operation]).grant
    resource, _, action = grant.partition(":")
    if grant and action not in ACTIONS.get(resource, frozenset()):
        return f"'{operation}' takes '{grant}', which is no grant."
    return None
