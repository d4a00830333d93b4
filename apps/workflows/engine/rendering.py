"""
Render what a workflow passes on, and keep its secrets secret (workflows.md section 14). Pure.

Only what goes into a secret parameter of a child is rendered with real values. Everything else is rendered with
markers in their places; where a marker comes out, the value is a secret.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.expressions import Rendering, render_with
from apps.core.markers import MARKER, MARKER_KEY, is_marker, pointer
from apps.workflows.definition.graph import Task
from apps.workflows.engine.book import Book
from apps.workflows.engine.reading import reads_of_document
from apps.workflows.engine.scope import Place, scope_for

Spot = tuple[str | int, ...]


class SecretExposed(Exception):
    """A secret would go where it is not kept secret; the text names the places."""

    def __init__(self, spots: Collection[Spot]) -> None:
        paths = ", ".join(sorted(".".join(map(str, spot)) for spot in spots))
        super().__init__(f"Secret value cannot be assigned to non-secret parameter path(s): {paths}")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A rendered value with markers for its secrets, and what stands behind them, by JSON pointer."""

    value: Any
    secrets: Mapping[str, Any]


def rendered(book: Book, document: Any, place: Place) -> Kept:
    """Return a document with its templates replaced. Raises ExpressionError."""
    reads = reads_of_document(document)
    value = render_with(Rendering(scope=scope_for(book, reads, place)), document).value
    spots = list(secret_spots(value))
    if not spots:
        return Kept(value=value, secrets={})
    real = render_with(Rendering(scope=scope_for(book, reads, place, real=True)), document).value
    return with_markers(value, real, spots)


def with_markers(value: Any, real: Any, spots: Collection[Spot]) -> Kept:
    """Return a value with markers at these places, and what really stands there."""
    secrets = {}
    for spot in spots:
        value = _replaced(value, spot, dict(MARKER))
        secrets[pointer(spot)] = _at(real, spot)
    return Kept(value=value, secrets=secrets)


def rendered_for_child(book: Book, task: Task, document: Any, place: Place) -> Any:
    """
    Return the parameters of a child of the task, with the real values in its secret places.

    Raises ExpressionError, and SecretExposed when a secret would go anywhere else.
    """
    places = book.secret_places(task, document)
    reads = reads_of_document(document)
    openly = scope_for(book, reads, place)
    if not places:
        value = render_with(Rendering(scope=openly), document).value
    else:
        real = scope_for(book, reads, place, real=True)
        scope_at = lambda spot: real if _covered(spot, places) else openly  # noqa: E731  # as short as it gets
        value = render_with(Rendering(scope=openly, scope_at=scope_at), document).value
    spots = [spot for spot in secret_spots(value) if not _covered(spot, places)]
    return _with_real(book, task, document, place, value, spots) if spots else value


def _with_real(book: Book, task: Task, document: Any, place: Place, value: Any, spots: Collection[Spot]) -> Any:
    """Return the parameters with real values for markers that a template brought into secret places below its own."""
    places = book.secret_places(task, value)
    exposed = [spot for spot in spots if not _covered(spot, places)]
    if exposed:
        raise SecretExposed(exposed)
    scope = scope_for(book, reads_of_document(document), place, real=True)
    real = render_with(Rendering(scope=scope), document).value
    for spot in spots:
        value = _replaced(value, spot, _at(real, spot))
    return value


def secret_spots(value: Any) -> Iterator[Spot]:
    """Yield where a marker stands, alone or inside of a text."""
    pending: list[tuple[Spot, Any]] = [((), value)]
    while pending:
        spot, current = pending.pop()
        if isinstance(current, str):
            if MARKER_KEY in current:
                yield spot
        elif is_marker(current):
            yield spot
        elif isinstance(current, dict):
            pending.extend(((*spot, key), below) for key, below in current.items())
        elif isinstance(current, list):
            pending.extend(((*spot, index), below) for index, below in enumerate(current))


def _covered(spot: Spot, places: Collection[Spot]) -> bool:
    return any(spot[: len(secret)] == secret for secret in places)


def _at(value: Any, spot: Spot) -> Any:
    for step in spot:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _replaced(value: Any, spot: Spot, by: Any) -> Any:
    """Return a copy of the value, along this path only, with something else at its end."""
    if not spot:
        return by
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[spot[0]] = _replaced(copy[spot[0]], spot[1:], by)
    return copy
