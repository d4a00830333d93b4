"""Render the templates in a whole JSON document: every string, through objects and arrays; keys are left alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from apps.core.expressions.budget import MAX_STEPS, Run, check_text_size
from apps.core.expressions.errors import ExpressionError, LimitExceeded
from apps.core.expressions.expression import compile_expression
from apps.core.expressions.scope import Scope
from apps.core.expressions.templates import Piece, Template, parse_template
from apps.core.expressions.values import NOTHING, measure, string_form

MAX_DOCUMENT_BYTES = 1024 * 1024  # of the rendered document, as JSON
MAX_DOCUMENT_STEPS = 1_000_000  # of all its templates together; one may take a tenth
MAX_DOCUMENT_NESTING = 300  # a document and a value, each as deep as the API takes them, fit in part
MAX_WARNINGS = 100

_STEPS_PER_CHARACTER = 10  # of an expression's text, for reading it
_SHOWN_CHARACTERS = 1024

Place = tuple[str | int, ...]
LookUp = Callable[[str, Scope], Any]


class DocumentTooLarge(LimitExceeded):
    """The rendered document is larger than 1 MiB of JSON."""


class TemplateWarning(TypedDict):
    """A template that found nothing or failed: where in the document, as written, and why."""

    path: str
    template: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A document without templates, and in lenient places what is missing from it."""

    value: Any
    warnings: Sequence[TemplateWarning] = ()


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """
    How a document is rendered.

    ``lenient``: what is missing or fails becomes null, or nothing inside text, with a warning. ``look_up`` gets the
    text of each template first and returns its value or NOTHING. ``scope_at`` gives a place a scope of its own.
    """

    scope: Scope
    lenient: bool = False
    look_up: LookUp | None = None
    scope_at: Callable[[Place], Scope] | None = None


def render(document: Any, scope: Scope, *, lenient: bool = False) -> Rendered:
    """
    Return the document with its templates replaced.

    A string that is one template becomes the value with its type, which may be a part of the roots: do not change it.
    Raises ExpressionError at the first template that fails unless ``lenient``; DocumentTooLarge in any case.
    """
    return render_with(Rendering(scope=scope, lenient=lenient), document)


def render_with(rendering: Rendering, document: Any) -> Rendered:
    """Return the document with its templates replaced, see ``render``."""
    return _Renderer(rendering).render(document)


class _Renderer:
    def __init__(self, rendering: Rendering) -> None:
        self._how = rendering
        self._steps = MAX_DOCUMENT_STEPS
        self._size = 0
        self._warnings: list[TemplateWarning] = []
        self._dropped = 0

    def render(self, document: Any) -> Rendered:
        holder: list[Any] = [None]
        pending: list[tuple[Any, Any, Any, Place]] = [(document, holder, 0, ())]
        while pending:
            value, target, key, place = pending.pop()
            if value.__class__ is dict:
                self._add(2 + sum(len(name) + 4 for name in value))
                made: Any = dict.fromkeys(value)
                target[key] = made
                pending += [(value[name], made, name, (*place, name)) for name in reversed(value)]
            elif value.__class__ is list:
                self._add(2 + len(value))
                made = [None] * len(value)
                target[key] = made
                pending += [(value[index], made, index, (*place, index)) for index in range(len(value) - 1, -1, -1)]
            else:
                target[key] = self._leaf(value, place)
        return Rendered(value=holder[0], warnings=self._all_warnings())

    def _leaf(self, value: Any, place: Place) -> Any:
        try:
            return self._counted(self._string(value, place) if value.__class__ is str else value, place)
        except ExpressionError as error:
            return self._failed(error, value if value.__class__ is str else "", place)

    def _counted(self, value: Any, place: Place) -> Any:
        """Return the value when it is finite JSON, and neither too deep nor too large for where it stands."""
        size, depth = measure(value, MAX_DOCUMENT_BYTES, in_bytes=True)
        if depth + len(place) > MAX_DOCUMENT_NESTING:
            raise LimitExceeded(f"the value is nested deeper than {MAX_DOCUMENT_NESTING}")
        self._add(size)
        return value

    def _add(self, size: int) -> None:
        self._size += size
        if self._size > MAX_DOCUMENT_BYTES:
            raise DocumentTooLarge(f"the rendered document is larger than {MAX_DOCUMENT_BYTES:,} bytes of JSON")

    # --- One string -----------------------------------------------------------------------------------------------

    def _string(self, text: str, place: Place) -> Any:
        if "{{" not in text:
            return text
        template = parse_template(text)
        if template.only is None:
            return self._joined(template, place)
        try:
            value, _ = self._evaluated(template, template.only, place)
            return value
        except ExpressionError as error:
            return self._failed(error, template.only.written, place)

    def _joined(self, template: Template, place: Place) -> str:
        parts: list[str] = []
        size = 0
        for part in template.parts:
            parts.append(part if isinstance(part, str) else self._in_text(template, part, place))
            size += len(parts[-1])
            check_text_size(size)
        return "".join(parts)

    def _in_text(self, template: Template, piece: Piece, place: Place) -> str:
        try:
            value, run = self._evaluated(template, piece, place)
            return string_form(run, value)
        except ExpressionError as error:
            self._failed(error, piece.written, place)
            return ""

    def _evaluated(self, template: Template, piece: Piece, place: Place) -> tuple[Any, Run]:
        scope = self._how.scope if self._how.scope_at is None else self._how.scope_at(place)
        steps = min(MAX_STEPS, self._steps - _STEPS_PER_CHARACTER * len(piece.expression))
        if steps <= 0:
            raise LimitExceeded(f"the templates of the document take more than {MAX_DOCUMENT_STEPS:,} steps")
        run = Run(scope, lenient=self._how.lenient, steps=steps)
        try:
            found = NOTHING if self._how.look_up is None else self._how.look_up(piece.expression, scope)
            if found is NOTHING:
                found = compile_expression(piece.expression).evaluate_in(run)
            return found, run
        except ExpressionError as error:
            raise error.within(template.text, piece.start) from None
        finally:
            self._steps -= steps - run.steps + _STEPS_PER_CHARACTER * len(piece.expression)

    # --- What went wrong ------------------------------------------------------------------------------------------

    def _failed(self, error: ExpressionError, written: str, place: Place) -> None:
        path = ".".join(str(key) for key in place)
        if isinstance(error, DocumentTooLarge) or not self._how.lenient:
            error.path = path
            raise error
        if len(self._warnings) >= MAX_WARNINGS:
            self._dropped += 1
            return
        shown = written if len(written) <= _SHOWN_CHARACTERS else f"{written[:_SHOWN_CHARACTERS]}..."
        self._warnings.append({"path": path, "template": shown, "error": str(error)})

    def _all_warnings(self) -> list[TemplateWarning]:
        if not self._dropped:
            return self._warnings
        return [*self._warnings, {"path": "", "template": "", "error": f"and {self._dropped} more"}]
