"""Keep what was parsed: least recently used first out, bounded by weight."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class ParseCache(Generic[Kept]):
    """Texts and what they were parsed to. The weight is the caller's measure of the memory they hold."""

    def __init__(self, most_weight: int) -> None:
        self._most_weight = most_weight
        self._weight = 0
        self._kept: OrderedDict[str, tuple[Kept, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, text: str) -> Kept | None:
        """Return what was kept under this text, None when nothing is."""
        with self._lock:
            found = self._kept.get(text)
            if found is None:
                return None
            self._kept.move_to_end(text)
            return found[0]

    def put(self, text: str, kept: Kept, weight: int) -> None:
        """Keep it, and forget the least recently used for it where needed; what is too heavy alone is not kept."""
        if weight > self._most_weight:
            return
        with self._lock:
            if text in self._kept:
                return
            self._kept[text] = (kept, weight)
            self._weight += weight
            while self._weight > self._most_weight:
                _, (_, freed) = self._kept.popitem(last=False)
                self._weight -= freed
