"""Cut the text of an expression into tokens."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from apps.core.expressions.budget import MAX_INTEGER_BITS
from apps.core.expressions.errors import ExpressionSyntaxError

MAX_TEXT_BYTES = 8 * 1024
MAX_NESTING = 64
KEYWORDS = frozenset({"if", "else", "or", "and", "not", "in", "is", "true", "false", "null", "none"})

_BLANKS = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[^\W\d]\w*")
_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DIGITS = re.compile(r"[0-9]+")
STRING = re.compile(r"'[^'\\]*(?:\\.[^'\\]*)*'|\"[^\"\\]*(?:\\.[^\"\\]*)*\"", re.DOTALL)
_OPERATOR = re.compile(r"==|!=|<=|>=|//|[-+*/%~<>()\[\]{},:.|]")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_HALF_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u(?![0-9a-fA-F]{4})")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_MAX_DIGITS = MAX_INTEGER_BITS * 3 // 10  # ten bits hold a little more than three digits


class Token(NamedTuple):
    """``kind`` is name, index (digits after a dot), constant, end, or the keyword or operator itself."""

    kind: str
    value: Any
    start: int
    end: int


def check_size(text: str) -> None:
    """Raise ExpressionSyntaxError when the text is longer than an expression may be. Takes no time for a long one."""
    if len(text) > MAX_TEXT_BYTES or len(text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
        raise ExpressionSyntaxError(f"the expression is longer than {MAX_TEXT_BYTES // 1024} KiB", 0)


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens and an end. Raises ExpressionSyntaxError at the first place that is none, or nested too deep."""
    position, depth, after_dot = 0, 0, False
    while True:
        position = _BLANKS.match(text, position).end()  # type: ignore[union-attr]  # matches the empty text too
        if position == len(text):
            yield Token("end", None, position, position)
            return
        token = _token(text, position, after_dot=after_dot)
        if token.kind in ("(", "[", "{"):
            depth += 1
            if depth > MAX_NESTING:
                raise ExpressionSyntaxError(f"brackets are nested deeper than {MAX_NESTING}", position)
        elif token.kind in (")", "]", "}"):
            depth -= 1
        yield token
        position, after_dot = token.end, token.kind == "."


def _token(text: str, start: int, *, after_dot: bool) -> Token:
    if match := _NAME.match(text, start):
        name = match[0]
        if name in KEYWORDS and not after_dot:
            return Token(name, name, start, match.end())
        return Token("name", name, start, match.end())
    if after_dot and (match := _DIGITS.match(text, start)):
        return Token("index", match[0], start, match.end())
    if match := _NUMBER.match(text, start):
        return Token("constant", _number(match, start), start, match.end())
    if match := STRING.match(text, start):
        return Token("constant", _string(match[0], start), start, match.end())
    if match := _OPERATOR.match(text, start):
        return Token(match[0], match[0], start, match.end())
    if text[start] in "'\"":
        raise ExpressionSyntaxError("the text in quotes has no end", start)
    raise ExpressionSyntaxError(f"unexpected character {_shown(text[start])}", start)


def _shown(character: str) -> str:
    return f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"


def _number(match: re.Match[str], start: int) -> int | float:
    if match[1] is None and match[2] is None:
        if len(match[0]) > _MAX_DIGITS:
            raise ExpressionSyntaxError(f"an integer has at most {_MAX_DIGITS} digits", start)
        return int(match[0])
    number = float(match[0])
    if number in (float("inf"), float("-inf")):
        raise ExpressionSyntaxError("the number is too large", start)
    return number


def _string(literal: str, start: int) -> str:
    inner = literal[1:-1]
    if "\\" in inner:
        # Half a surrogate pair followed by its other half makes one character, as in JSON.
        if _HALF_ESCAPE.search(inner):
            raise ExpressionSyntaxError("\\u is followed by four hexadecimal digits", start)
        inner = _ESCAPE.sub(_unescaped, inner)
        inner = inner.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    if "\x00" in inner or any("\ud800" <= character <= "\udfff" for character in inner):
        raise ExpressionSyntaxError("a text holds neither U+0000 nor half a surrogate pair", start)
    return inner


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    # Others stay as they are, so that a regular expression can be written as usual.
    return _ESCAPES.get(escape, match[0])
