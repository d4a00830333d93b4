"""Find the templates ``{{ expression }}`` in a text (workflows.md 6.2)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from apps.core.expressions.cache import ParseCache
from apps.core.expressions.errors import LimitExceeded
from apps.core.expressions.lexer import STRING

_MARKS = re.compile(r"['\"()\[\]{}]")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_MAX_MARKS = 20_000  # looked at in vain in one text; every "{{" without an end looks at all that follow it

_kept: ParseCache["Template"] = ParseCache(most_weight=4_000_000)  # characters


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The inside of one template: the text of an expression, and where that begins. ``written`` has the braces."""

    expression: str
    start: int
    written: str


@dataclass(frozen=True, kw_only=True)
class Template:
    """A text in parts: plain ones and templates. ``only`` is the template that the whole text is, trimmed."""

    text: str
    parts: Sequence[str | Piece]
    only: Piece | None


def parse_template(text: str) -> Template:
    """Return the parts of a text. What is in the templates is not read yet. Raises LimitExceeded."""
    found = _kept.get(text)
    if found is None:
        found = _parsed(text)
        _kept.put(text, found, 200 + 2 * len(text))
    return found


def inner_expression(text: str) -> tuple[str, int]:
    """Return a bare expression, or the inside of exactly one template, and where it begins in the text."""
    if "{{" in text and text.lstrip().startswith("{{"):
        only = parse_template(text).only
        if only is not None:
            return only.expression, only.start
    return text, 0


def _parsed(text: str) -> Template:
    parts: list[str | Piece] = []
    marks = plain = 0  # where the plain part began
    position = text.find("{{")
    while position >= 0:
        end, looked_at = _end(text, position + 2)
        if end < 0:  # text; but a later one may have an end
            marks += looked_at
            if marks > _MAX_MARKS:
                raise LimitExceeded("the text has too many brackets and quotes after '{{'", position).within(text)
            position = text.find("{{", position + 2)
            continue
        if plain < position:
            parts.append(text[plain:position])
        inner = text[position + 2 : end]
        parts.append(Piece(expression=inner, start=position + 2, written=text[position : end + 2]))
        plain = end + 2
        position = text.find("{{", plain)
    if plain < len(text):
        parts.append(text[plain:])
    return Template(text=text, parts=parts, only=_only(parts))


def _end(text: str, start: int) -> tuple[int, int]:
    """Return where the closing braces stand, -1 for nowhere, and how many marks were looked at."""
    looked_at = 0
    open_brackets: list[str] = []  # by what closes them
    position = start
    while mark := _MARKS.search(text, position):
        looked_at += 1
        position = mark.end()
        match mark[0]:
            case "'" | '"':
                literal = STRING.match(text, mark.start())
                if literal is None:
                    return -1, looked_at
                position = literal.end()
            case "(" | "[" | "{":
                open_brackets.append(_CLOSING[mark[0]])
            case closing if open_brackets and closing == open_brackets[-1]:
                open_brackets.pop()
            case "}" if not open_brackets and text.startswith("}}", mark.start()):
                return mark.start(), looked_at
    return -1, looked_at


def _only(parts: Sequence[str | Piece]) -> Piece | None:
    pieces = [part for part in parts if isinstance(part, Piece)]
    if len(pieces) != 1 or any(isinstance(part, str) and part.strip() for part in parts):
        return None
    return pieces[0]
