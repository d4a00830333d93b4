"""What a secret may look like in a program's output: every form that is searched for."""

import re
from base64 import b64encode
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from apps.core.redaction.escapes import (
    EVERYTHING_ESCAPED,
    INSIDE_JSON,
    Escape,
    from_bytes,
    to_bytes,
    ways_to_write,
)

MINIMUM_CHARACTERS = 4
NEVER_SECRET = frozenset({"true", "false", "null"})
LARGEST_NUMBER = 10**40
LARGE_CHARACTERS = 16 * 1024  # above, a form is made in full only when its beginning has been seen
RUN_CHARACTERS = 64  # of a text that is one letter again and again: more of them hold that many as well
MANY_TEXTS = 20_000  # above, they are searched for as they are and in the most common escapes only
# So many characters of a text are enough to know the first bytes of each form; line breaks can shrink to a half.
BEGINNING_CHARACTERS = 160

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


@dataclass(frozen=True, eq=False, repr=False)
class Form:
    """
    One way in which one secret may appear.

    ``beginning`` is all of it when it ``is_complete``, else its first 64 bytes and more. ``is_base64``: it may be
    broken into lines.
    """

    beginning: bytes
    is_complete: bool
    make: Callable[[], bytes]
    is_base64: bool

    @cached_property
    def content(self) -> bytes:
        """All of it."""
        return self.beginning if self.is_complete else self.make()


def secret_texts(values: Iterable[Any]) -> set[str]:
    """Return the texts to search for: the values themselves, and of lists and objects each text inside."""
    texts: set[str] = set()
    waiting: list[Any] = []
    for value in values:
        # A secret number is one when it stands alone; inside of an object it may be any count or size.
        waiting.append(repr(value) if is_number(value) else value)
    while waiting:
        match waiting.pop():
            case str() as text:
                texts.add(text)
            case dict() as members:
                waiting.extend(members.values())
            case list() | tuple() as items:
                waiting.extend(items)
            case _:
                pass
    return {text for text in texts if is_searched_for(text)}


def is_number(value: Any) -> bool:
    """Return True for a number that may be a secret; the text of a huge one takes long to make."""
    return type(value) in (int, float) and abs(value) < LARGEST_NUMBER


def is_searched_for(text: str) -> bool:
    """Return True for what is long enough, and not a word that stands everywhere."""
    return len(text) >= MINIMUM_CHARACTERS and text.strip().lower() not in NEVER_SECRET


def forms_of(texts: Collection[str]) -> Iterator[Form]:
    """Return the forms of secrets; the same may come several times."""
    for text in map(_trimmed, texts):
        if len(texts) <= MANY_TEXTS:
            yield from _all_forms(text)
        else:
            yield from _written(text, ways_to_write(text, large=True))


def _all_forms(text: str) -> Iterator[Form]:
    large = len(text) > LARGE_CHARACTERS
    inside_json = () if large else (from_bytes(write(text)) for write in INSIDE_JSON)
    for variant in dict.fromkeys((*_with_other_line_breaks(text), *inside_json)):
        yield from _written(variant, ways_to_write(variant, large=large))
        if not large:
            yield from _written(variant, EVERYTHING_ESCAPED, in_full=BEGINNING_CHARACTERS)
        ways = BASE64 if len(variant) <= BEGINNING_CHARACTERS else BASE64_OF_LONG
        yield from _written(variant, ways, is_base64=True, in_full=BEGINNING_CHARACTERS)
    for line in _lines(text):
        yield from _written(line, ways_to_write(line, large=large))


def _written(
    text: str, ways: Iterable[Escape], *, is_base64: bool = False, in_full: int = LARGE_CHARACTERS
) -> Iterator[Form]:
    """Return a text written in each way, the same only once; of one with more than ``in_full`` characters the start."""
    is_complete = len(text) <= in_full
    seen = set()
    for write in ways:
        beginning = write(text if is_complete else text[:BEGINNING_CHARACTERS])
        if not is_complete or beginning not in seen:
            seen.add(beginning)
            yield Form(beginning, is_complete, partial(write, text), is_base64)


def _trimmed(text: str) -> str:
    """Blanks around a secret are easily lost on the way; without them it is found with them too."""
    trimmed = text.strip()
    if text.count(text[0]) == len(text):
        return text[:RUN_CHARACTERS]
    return trimmed if len(trimmed) >= MINIMUM_CHARACTERS else text


def _with_other_line_breaks(text: str) -> Iterable[str]:
    if "\n" not in text and "\r" not in text:
        return (text,)
    return {text, _LINE_BREAK.sub("\n", text), _LINE_BREAK.sub("\r\n", text)}


def _lines(text: str) -> Iterable[str]:
    if "\n" not in text and "\r" not in text:
        return ()
    return {_trimmed(line) for line in _LINE_BREAK.split(text) if is_searched_for(line) and not line.isspace()}


def _base64(text: str, *, offset: int, ending: str, url_safe: bool) -> bytes:
    """
    Return base64 of a text that has ``offset`` bytes (modulo 3) before it: the characters that depend on nothing
    else, or these and what comes at the end when nothing follows it.
    """
    data = bytes(offset) + to_bytes(text)
    encoded = b64encode(data)
    first = -(-8 * offset // 6)  # the characters before hold bits of what stands before the text
    if ending == "open":
        encoded = encoded[: 8 * len(data) // 6]
    elif ending == "unpadded":
        encoded = encoded.rstrip(b"=")
    return encoded[first:].translate(_URL_SAFE) if url_safe else encoded[first:]


BASE64: tuple[Escape, ...] = tuple(
    partial(_base64, offset=offset, ending=ending, url_safe=url_safe)
    for offset in range(3)
    for ending in ("open", "unpadded", "padded")
    for url_safe in (False, True)
)
# A beginning is enough to find it, and all others begin so.
BASE64_OF_LONG: tuple[Escape, ...] = tuple(
    partial(_base64, offset=offset, ending="padded", url_safe=url_safe)
    for offset in range(3)
    for url_safe in (False, True)
)
