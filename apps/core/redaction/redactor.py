"""What a run uses: secrets in; clean streams, texts and values out."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

from apps.core.redaction.escapes import from_bytes, to_bytes
from apps.core.redaction.forms import MINIMUM_CHARACTERS, forms_of, is_number, secret_texts
from apps.core.redaction.patterns import Patterns
from apps.core.redaction.stream import MASK, RedactedStream
from apps.core.redaction.wrapping import unwrapped

MASK_TEXT = MASK.decode()


class Redactor:
    """
    Removes secret values, and whatever they may be escaped as, from what a program printed (auth.md section 11).

    ``values`` are JSON values: texts, numbers, and lists and objects, of which each text counts. Texts shorter than 4
    characters and the words true, false and null are not searched for. Nothing is made before it is needed.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        self._texts = secret_texts(values)

    def also(self, values: Iterable[Any]) -> "Redactor":
        """Return one that removes these values, too."""
        both = Redactor(values)
        both._texts |= self._texts
        return both

    def __bool__(self) -> bool:
        """Whether there is anything to remove."""
        return bool(self._texts)

    @cached_property
    def _patterns(self) -> Patterns:
        return Patterns(list(forms_of(self._texts)))

    def stream(self) -> RedactedStream:
        """Return a filter for one stream of bytes."""
        return RedactedStream(lambda: self._patterns)

    def redact_bytes(self, data: bytes) -> bytes:
        """Return ``data`` without secrets."""
        if not self._texts or not self._is_touched(data):
            return data
        stream = self.stream()
        return stream.feed(data) + stream.flush()

    def redact_text(self, text: str) -> str:
        """Return ``text`` without secrets."""
        if not self._texts or len(text) < MINIMUM_CHARACTERS:
            return text
        data = to_bytes(text)
        clean = self.redact_bytes(data)
        return text if clean is data else from_bytes(clean)

    def redact_json(self, value: Any) -> Any:
        """Return a JSON value without secrets in its texts, keys and numbers, at any depth; it may be shared."""
        if not self._texts:
            return value
        root: list[Any] = [value]
        waiting: list[Any] = [root]
        while waiting:
            container = waiting.pop()
            for place, inner in container.items() if isinstance(container, dict) else enumerate(container):
                copy = self._redacted(inner)
                container[place] = copy
                if isinstance(copy, (dict, list)):
                    waiting.append(copy)
        return root[0]

    def _redacted(self, value: Any) -> Any:
        """Return a text or number without secrets; of a list or an object a copy whose keys are without."""
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, dict):
            return self._with_clean_keys(value)
        if isinstance(value, (list, tuple)):
            return list(value)
        if is_number(value):
            written = repr(value)
            return value if self.redact_text(written) == written else MASK_TEXT
        return value

    def _with_clean_keys(self, value: dict[Any, Any]) -> dict[Any, Any]:
        clean: dict[Any, Any] = {}
        for key, inner in value.items():
            name = self.redact_text(key) if isinstance(key, str) else key
            count = 1
            while name in clean:  # two secrets, one mask: neither value may be lost
                count += 1
                name = f"{MASK_TEXT} ({count})"
            clean[name] = inner
        return clean

    def _is_touched(self, data: bytes) -> bool:
        if self._patterns.find(data):
            return True
        lines = unwrapped(data)
        return lines is not None and bool(self._patterns.find(lines.text))
