"""Base64 that is broken into lines, seen as if it were not."""

import re
from bisect import bisect_left, bisect_right
from itertools import pairwise

# A line break after 40 characters of base64, with the blanks by which the next line is indented. It begins with the
# line break, so that the expression engine can skip from one to the next at full speed.
_BREAK = re.compile(rb"\n(?<=[A-Za-z0-9+/_=\r-]{40}\n)[ \t]{0,32}")
_ENDS_IN_HALF_A_BREAK = re.compile(rb"\r(?<=[A-Za-z0-9+/_=-]{40}\r)\Z")
# What must still be known of the text before, so that a break is recognised.
CONTEXT_BYTES = 80
CHANCE_CHARACTERS = 4


class Unwrapped:
    """A text without the line breaks inside of base64, and the way back to where things were."""

    def __init__(self, text: bytes, breaks: list[tuple[int, int]]) -> None:
        parts, at, removed = [], 0, 0
        self._breaks: list[int] = []  # where they were, counted in the text without them
        self._removed = [0]  # bytes, up to and with each
        for start, end in breaks:
            parts.append(text[at:start])
            self._breaks.append(start - removed)
            removed += end - start
            self._removed.append(removed)
            at = end
        parts.append(text[at:])
        self.text = b"".join(parts)

    def start_in_original(self, position: int) -> int:
        """Return where the byte at ``position`` was; a break before it counts as before it."""
        return position + self._removed[bisect_right(self._breaks, position)]

    def end_in_original(self, position: int) -> int:
        """Return where the byte before ``position`` ended; a break after it counts as after it."""
        return position + self._removed[bisect_left(self._breaks, position)]

    def from_original(self, position: int) -> int:
        """Return where the byte at ``position`` of the original is; of a break, where it was."""
        low, high = 0, len(self.text)
        while low < high:
            middle = (low + high) // 2
            if self.start_in_original(middle) < position:
                low = middle + 1
            else:
                high = middle
        return low

    def end_without_chance(self, start: int, end: int) -> int:
        """Return where what goes on from line to line ends: a few equal characters after the last break are chance."""
        last = bisect_left(self._breaks, end) - 1
        if last >= 0 and self._breaks[last] >= start and end - self._breaks[last] < CHANCE_CHARACTERS:
            return self._breaks[last]
        return end

    def pieces(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return what ``start`` to ``end`` was in the original, without the breaks."""
        if not self._breaks:
            return [(start, end)]
        inside = self._breaks[bisect_right(self._breaks, start) : bisect_left(self._breaks, end)]
        edges = [start, *inside, end]
        return [(self.start_in_original(one), self.end_in_original(other)) for one, other in pairwise(edges)]


def unwrapped(text: bytes) -> Unwrapped | None:
    """Return ``text`` without the line breaks inside of base64, or None when there are none."""
    breaks = [
        (match.start() - (text[match.start() - 1 : match.start()] == b"\r"), match.end())
        for match in _BREAK.finditer(text)
    ]
    half = _ENDS_IN_HALF_A_BREAK.search(text, max(0, len(text) - 1)) if text.endswith(b"\r") else None
    if half:
        breaks.append((half.start(), half.end()))
    return Unwrapped(text, breaks) if breaks else None
