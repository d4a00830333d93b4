"""All forms of all secrets, made ready to be found in bytes."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from apps.core.redaction.forms import Form

# So much of the beginning of a long form is searched for; what follows is compared. Long enough that nothing else
# begins so, short enough that little is held back and the automaton stays small.
BEGINNING_BYTES = 64
SHORT_BEGINNING_BYTES = 16  # when there are very many long forms
MANY_BYTES = 512 * 1024
# The quick automaton takes some milliseconds to make and about 500 bytes per byte of the patterns: it is for programs
# that print much, and not for many secrets.
QUICK_FROM_BYTES = 1024 * 1024
QUICK_PATTERN_BYTES = 80_000


@dataclass
class Pattern:
    """Bytes to search for."""

    plain: bool = False  # it is all of a form that is no base64
    base64: bool = False  # it is all of a base64 form
    long: list[Form] = field(default_factory=list)  # it is the beginning of these


class Patterns:
    """Finds forms, and tells how much of the end of a text may be the beginning of one."""

    def __init__(self, forms: Sequence[Form]) -> None:
        found = _collected(forms)
        self._words = sorted(found)
        self.patterns = [found[word] for word in self._words]
        self.longest = max(map(len, self._words), default=0)
        # A quick look that spares most of the slow ones: what the proper beginnings begin with.
        self._starts = frozenset(word[:length] for word in self._words for length in (1, 2, 3) if length < len(word))
        self._has_line_breaks = any(b"\n" in word for word in self._words)
        self._automaton: BytesAhoCorasick | None = None
        size = sum(map(len, self._words))
        self._may_be_quick = size <= QUICK_PATTERN_BYTES
        self._unread = max(QUICK_FROM_BYTES, 64 * size)  # until it pays to make the quick one

    def __bool__(self) -> bool:
        return bool(self._words)

    def find(self, text: bytes) -> list[tuple[int, int, int]]:
        """Return every occurrence of a pattern, overlapping ones too: its place in ``patterns``, its start and end."""
        if not self._words:
            return []
        self._unread -= len(text)
        if self._automaton is None:
            self._automaton = self._made(Implementation.ContiguousNFA)
        elif self._unread < 0 and self._may_be_quick:
            self._automaton = self._made(Implementation.DFA)
            self._may_be_quick = False
        return self._automaton.find_matches_as_indexes(text, overlapping=True)

    def _made(self, implementation: Implementation) -> BytesAhoCorasick:
        return BytesAhoCorasick(self._words, matchkind=MatchKind.Standard, implementation=implementation)

    def unfinished(self, text: bytes) -> int:
        """Return the length of the longest end of ``text`` with which a pattern begins that goes on after it."""
        first = max(0, len(text) - self.longest + 1)
        if not self._has_line_breaks:
            first = max(first, text.rfind(b"\n") + 1)
        for start in range(first, len(text)):
            if text[start : start + 3] in self._starts and self._pattern_after(text[start:]) is not None:
                return len(text) - start
        return 0

    def is_mostly_there(self, end: bytes) -> bool:
        """Return True when ``end`` is at least 4 bytes and half of a pattern that begins with it."""
        if len(end) < 4:
            return False
        at = bisect_right(self._words, end)
        # As many as a few long values with a common beginning have; the shortest usually comes early.
        return any(word.startswith(end) and len(word) <= 2 * len(end) for word in self._words[at : at + 100])

    def _pattern_after(self, beginning: bytes) -> bytes | None:
        """Return a pattern that begins so and is longer."""
        at = bisect_right(self._words, beginning)
        if at < len(self._words) and self._words[at].startswith(beginning):
            return self._words[at]
        return None


def _collected(forms: Sequence[Form]) -> dict[bytes, Pattern]:
    """Sort the forms into those that are patterns as a whole and those of which the beginning is one."""
    different = _different(forms)
    in_full = sum(min(len(form.beginning), BEGINNING_BYTES) for form in different)
    limit = BEGINNING_BYTES if in_full <= MANY_BYTES else SHORT_BEGINNING_BYTES
    found: dict[bytes, Pattern] = {}
    for form in different:
        pattern = found.setdefault(form.beginning[:limit], Pattern())
        if not form.is_complete or len(form.beginning) > limit:
            pattern.long.append(form)
        elif form.is_base64:
            pattern.base64 = True
        else:
            pattern.plain = True
    return found


def _different(forms: Sequence[Form]) -> list[Form]:
    """Leave out what is there already, and long forms with which another begins: that one finds them too."""
    different = {(form.is_base64, form.beginning): form for form in forms if form.is_complete}
    _leave_out_longer_runs(different)
    ordered = sorted(different)
    for key, (next_is_base64, next_beginning) in pairwise(ordered):
        is_base64, beginning = key
        if len(beginning) > BEGINNING_BYTES and is_base64 == next_is_base64 and next_beginning.startswith(beginning):
            del different[key]
    return [*different.values(), *(form for form in forms if not form.is_complete)]


def _leave_out_longer_runs(forms: dict[tuple[bool, bytes], Form]) -> None:
    """Leave out what is one letter again and again, when a shorter run of it is there: it matches everywhere inside."""
    runs = sorted((key for key in forms if key[1].count(key[1][:1]) == len(key[1])), key=lambda key: len(key[1]))
    shortest: set[tuple[bool, bytes]] = set()
    for is_base64, run in runs:
        if (is_base64, run[:1]) in shortest:
            del forms[is_base64, run]
        shortest.add((is_base64, run[:1]))
