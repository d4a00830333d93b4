"""Render the parameters of a rule's action (events.md section 5): lenient, never an exception."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.expressions import (
    NOTHING,
    DocumentTooLarge,
    Lazy,
    Rendering,
    Scope,
    TemplateWarning,
    member_of,
    render_with,
)

Place = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True)
class RenderedParams:
    """
    The parameters of the execution, and what is missing from them.

    ``error`` is set when they are larger than 1 MiB of JSON; there are none then.
    """

    value: dict[str, Any]
    warnings: Sequence[TemplateWarning] = ()
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class SecretScope:
    """What only secret parameters may read, and which they are: places such as ``("db", "password")``."""

    scope: Scope
    places: Collection[Place]

    def covers(self, place: Place) -> bool:
        return any(place[: len(secret)] == secret for secret in self.places)


def render_params(
    action_params: Mapping[str, Any] | None, scope: Scope, *, secret: SecretScope | None = None
) -> RenderedParams:
    """
    Return the parameters with every template replaced, and a warning for each that found nothing or failed.

    A text without blanks is a path first, so that names may hold hyphens. ``scope`` has no secret configuration;
    templates inside the places of ``secret`` are rendered with the scope there. Never raises ExpressionError.
    """
    scope_at = None
    if secret is not None and secret.places:
        scope_at = lambda place: secret.scope if secret.covers(place) else scope  # noqa: E731  # as short as it gets
    rendering = Rendering(scope=scope, lenient=True, look_up=look_up_path, scope_at=scope_at)
    try:
        rendered = render_with(rendering, dict(action_params or {}))
    except DocumentTooLarge as error:
        return RenderedParams(value={}, error=f"The parameters cannot be rendered: {error.message}")
    return RenderedParams(value=rendered.value, warnings=rendered.warnings)


def render_key(template: str, scope: Scope) -> str:
    """Return the text that a key (of dedupe and the like) renders to; what is missing is the empty string in it."""
    rendering = Rendering(scope=scope, lenient=True, look_up=look_up_path)
    # The blank before it makes two parts of a text that is one template, so the result is its string form.
    try:
        return str(render_with(rendering, f"\x20{template}\x20.").value)[1:-2]
    except DocumentTooLarge:
        return ""


def look_up_path(text: str, scope: Scope) -> Any:
    """Return what stands at the path that a text without blanks spells, NOTHING when it is none or leads nowhere."""
    path = text.strip()
    if not path or any(character.isspace() for character in path):
        return NOTHING
    root, *names = path.split(".")
    if root not in scope.roots:
        return NOTHING
    value = scope.roots[root]
    if value.__class__ is Lazy:
        value = value.value()
    for name in names:
        value = member_of(value, name)
        if value is NOTHING:
            return NOTHING
    return value
