"""One byte range of RFC 9110, and the conditions that go with it. Pure."""

import re
from dataclasses import dataclass
from typing import Final

_RANGE: Final = re.compile(r"bytes=\s*(\d*)-(\d*)\s*", re.ASCII)
_MOST_DIGITS = 19


@dataclass(frozen=True, kw_only=True)
class Part:
    """The bytes from ``start`` up to ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


class Unsatisfiable(Exception):
    """The range begins behind the last byte."""


def requested_part(header: str | None, size: int) -> Part | None:
    """
    Return the part that a Range header asks for; None for no header, several ranges, or what is no byte range.

    Raises Unsatisfiable.
    """
    match = _RANGE.fullmatch(header) if header is not None else None
    if match is None:
        return None
    first, last = match.groups()
    if max(len(first), len(last)) > _MOST_DIGITS or not (first or last):
        return None
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return Part(start=size - length, end=size)
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return Part(start=int(first), end=min(int(last) + 1, size) if last else size)


def range_still_applies(if_range: str | None, etag: str | None) -> bool:
    """Return False when an If-Range header names another version of the bytes (or a date, which we do not keep)."""
    return if_range is None or (etag is not None and if_range.strip() == etag)


def is_known(if_none_match: str | None, etag: str | None) -> bool:
    """Return True when an If-None-Match header says that the client has these bytes."""
    if if_none_match is None or etag is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in tags or etag in tags
