"""Take secrets out of a stream of bytes, wherever it is cut."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from apps.core.redaction.forms import Form
from apps.core.redaction.patterns import Pattern, Patterns
from apps.core.redaction.wrapping import CONTEXT_BYTES, Unwrapped, unwrapped

MASK = b"***"
PIECE_BYTES = 64 * 1024  # bounds what a hostile text with a match at each byte takes in memory
# A long form that repeats itself may be in progress at several places at once. The first of them is the right one
# wherever the secret is printed as it is.
MOST_IN_PROGRESS = 16

Span = tuple[int, int]


@dataclass(frozen=True)
class _Progress:
    """A long form of which the first ``done`` bytes have been seen; the next is expected at ``at``."""

    form: Form
    done: int
    at: int


class RedactedStream:
    """
    One stream: ``feed`` takes bytes and returns those that may be shown, ``flush`` the rest.

    Held back is only an end that may be the beginning of a secret: at most 63 bytes, and line breaks inside of base64.
    ``release`` gives it away when it was held for long enough; should the secret go on after all, the rest of it is
    masked. All bytes of a secret appear as one ``***``, together with those of others that touch or overlap it. Of a
    secret of more than 64 bytes the first 64 are enough, and it is masked for as far as it goes.
    """

    def __init__(self, make_patterns: Callable[[], Patterns]) -> None:
        self._make_patterns = make_patterns  # with the first bytes: a program that is quiet costs nothing
        self._text = b""  # the end of the stream: what may begin a secret, and a little of what came before
        self._given = 0  # so much of it has been returned
        self._masked = False  # the last thing returned was a mask
        self._progress: list[_Progress] = []

    @cached_property
    def _patterns(self) -> Patterns:
        return self._make_patterns()

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return len(self._text) - self._given

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return what can be shown by now."""
        if len(data) <= PIECE_BYTES:
            return self._take(data)
        pieces = (data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES))
        return b"".join([self._take(piece) for piece in pieces])

    def release(self) -> bytes:
        """Return what is held back; the greater part of a secret does not become visible by that."""
        if not self.held:
            return b""
        spans = self._last_spans()
        for start in range(max(self._given, len(self._text) - self._patterns.longest), len(self._text)):
            if self._patterns.is_mostly_there(self._text[start:]):
                spans.append((start, len(self._text)))
                break
        return self._give(spans, len(self._text))

    def flush(self) -> bytes:
        """Return what is held back at the end of the stream: it did not become a secret."""
        return self._end(self._last_spans())

    def cut(self) -> bytes:
        """End a stream of which the rest is not read: what may have become a secret is masked."""
        return self._end([(self._given, len(self._text))])

    def _end(self, spans: list[Span]) -> bytes:
        """Forget everything: the next bytes begin another stream."""
        shown = self._give(spans, len(self._text))
        self._text, self._given, self._masked, self._progress = b"", 0, False, []
        return shown

    def _take(self, data: bytes) -> bytes:
        known = len(self._text)
        self._text += data
        reading = _Reading(self._patterns, self._text, self._progress, known=known)
        spans = reading.spans()
        self._progress = reading.progress
        end = len(self._text) - reading.unfinished()
        shown = self._give(spans, end)
        self._forget(end - CONTEXT_BYTES)
        return shown

    def _last_spans(self) -> list[Span]:
        text = self._text
        if not text:
            return []
        return _Reading(self._patterns, text, self._progress, known=len(text), is_last=True).spans()

    def _give(self, spans: list[Span], end: int) -> bytes:
        """
        Return the text up to ``end`` with the spans masked. A span that begins there or before goes whole, though it
        may turn out to be the beginning of a longer one.
        """
        shown = []
        at = self._given
        for span_start, span_end in sorted(spans):
            start = max(span_start, at)
            if start > max(at, end):
                break
            if start >= span_end:
                continue
            if start > at:
                shown.append(self._text[at:start])
                self._masked = False
            if not self._masked:
                shown.append(MASK)
                self._masked = True
            at = span_end
        if at < end:
            shown.append(self._text[at:end])
            self._masked = False
            at = end
        self._given = at
        return b"".join(shown)

    def _forget(self, count: int) -> None:
        if count > 0:
            self._text = self._text[count:]
            self._given -= count
            self._progress = [_Progress(each.form, each.done, each.at - count) for each in self._progress]


class _Reading:
    """One look at the text: where secrets are, and which go on after it."""

    def __init__(
        self, patterns: Patterns, text: bytes, progress: list[_Progress], *, known: int, is_last: bool = False
    ) -> None:
        self.patterns = patterns
        self.text = text
        self.before = progress
        self.known = known  # long forms that begin in so much of the text are in ``before`` already
        self.is_last = is_last
        self.progress: list[_Progress] = []
        self.in_progress: Counter[Form] = Counter()
        self.lines = unwrapped(text)

    def spans(self) -> list[Span]:
        """Return what is to be masked, in any order; after that ``progress`` and ``unfinished`` are known."""
        whole = Unwrapped(self.text, [])
        if self.lines is None:
            return self._seen(whole, plain=True, base64=True)
        return self._seen(whole, plain=True, base64=False) + self._seen(self.lines, plain=False, base64=True)

    def unfinished(self) -> int:
        """Return how many bytes at the end may be the beginning of more."""
        size = len(self.text)
        starts = [each.at for each in self.progress]
        starts.append(size - self.patterns.unfinished(self.text))
        if self.lines is not None:
            unwrapped_size = len(self.lines.text)
            starts.append(self.lines.end_in_original(unwrapped_size - self.patterns.unfinished(self.lines.text)))
        return size - min(starts)

    def _seen(self, view: Unwrapped, *, plain: bool, base64: bool) -> list[Span]:
        spans: list[Span] = []
        for each in self.before:
            if base64 if each.form.is_base64 else plain:
                at = view.from_original(each.at)
                spans.append((at, self._follow(view, each.form, each.done, at, is_new=True)))
        last_start = last_end = 0  # of a run of matches that touch, which come in the order of their ends
        patterns = self.patterns.patterns
        for number, start, end in self.patterns.find(view.text):
            pattern = patterns[number]
            if pattern.long:
                spans.extend(self._long_spans(view, pattern, (start, end), plain=plain, base64=base64))
            if not ((plain and pattern.plain) or (base64 and pattern.base64)):
                continue
            if start > last_end:
                spans.append((last_start, last_end))
                last_start = start
            elif start < last_start:
                last_start = start
            last_end = end
        spans.append((last_start, last_end))
        return [piece for start, end in spans if start < end for piece in view.pieces(start, end)]

    def _long_spans(
        self, view: Unwrapped, pattern: Pattern, beginning: Span, *, plain: bool, base64: bool
    ) -> Iterator[Span]:
        start, end = beginning
        is_new = view.end_in_original(end) > self.known
        for form in pattern.long:
            if base64 if form.is_base64 else plain:
                yield start, self._follow(view, form, end - start, end, is_new=is_new)

    def _follow(self, view: Unwrapped, form: Form, done: int, at: int, *, is_new: bool) -> int:
        """Return up to where the text goes on as the form does, of which it holds the first ``done`` bytes."""
        if self.in_progress[form] >= MOST_IN_PROGRESS:
            return at
        same = _common_length(form.content, done, view.text, at)
        is_whole = done + same == len(form.content)
        goes_on = at + same == len(view.text) and not is_whole
        if not goes_on and not is_whole:
            same = view.end_without_chance(at, at + same) - at
        back = 0 if goes_on and self.is_last else _bytes_of_half_a_character(form, done + same)
        if goes_on and is_new:
            self.in_progress[form] += 1
            self.progress.append(_Progress(form, done + same - back, view.start_in_original(at + same - back)))
        return at + same - back


def _common_length(one: bytes, one_at: int, other: bytes, other_at: int) -> int:
    """Return how many bytes are the same from there on."""
    for size in (64, max(len(one), len(other))):
        first = one[one_at : one_at + size]
        second = other[other_at : other_at + size]
        shorter = min(len(first), len(second))
        first, second = first[:shorter], second[:shorter]
        if first != second:
            different = int.from_bytes(first, "little") ^ int.from_bytes(second, "little")
            return ((different & -different).bit_length() - 1) // 8
    return shorter


def _bytes_of_half_a_character(form: Form, end: int) -> int:
    """Return how far before ``end`` a character began that ends after it; what is shown must remain text."""
    if form.is_base64 or end >= len(form.content):
        return 0
    back = 0
    while back < 3 and form.content[end - back] & 0xC0 == 0x80:
        back += 1
    return back
