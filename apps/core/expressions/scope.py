"""What an expression may read: names with their values, functions of the place it stands in, and the time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_NOT_MADE = object()


class Lazy:
    """A root that is costly: made when an expression first reads it, and once. What ``make`` raises passes through."""

    __slots__ = ("_make", "_value")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._value: Any = _NOT_MADE

    def value(self) -> Any:
        if self._value is _NOT_MADE:
            self._value = self._make()
        return self._value


def _present() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """
    The names an expression knows.

    ``roots`` maps them to plain JSON values (dict, list, str, int, float, bool, None) or to a Lazy with one;
    ``functions`` are those of the place besides the usual ones, called without arguments; ``now`` is what ``now()``
    tells (aware). ``selves``: by ``id()`` of an object of the roots, the name under which it is its own member unless
    it has such a key; as a value it has no such key.
    """

    roots: Mapping[str, Any]
    functions: Mapping[str, Callable[[], Any]] = field(default_factory=dict)
    now: Callable[[], datetime] = _present
    selves: Mapping[int, str] = field(default_factory=dict)
