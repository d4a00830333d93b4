"""Read the keys of one mapping of a definition; a value of the wrong kind is a problem and counts as missing."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from apps.workflows.definition.problems import Path, Problems

MAX_NAME = 255
MAX_INTEGER = 2_147_483_647  # what a column of the tables holds


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The mapping ``data`` that stands at ``path``."""

    data: Mapping[str, Any]
    path: Path
    problems: Problems

    def get(self, key: str) -> Any:
        return self.data.get(key)

    def wrong(self, key: str, expected: str) -> None:
        """Note that the value of a key is of the wrong kind."""
        self.problems.error("type", f"{key} must be {expected}", (*self.path, key))

    def text(self, key: str, most: int | None = None) -> str | None:
        """Return a text that is not empty; None when it is missing."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong(key, "a text")
            return None
        if not value or (most is not None and len(value) > most):
            size = f"have 1 to {most} characters" if most is not None else "not be empty"
            self.problems.error("length", f"{key} must {size}", (*self.path, key))
            return None
        return value

    def choice(self, key: str, known: Collection[str], default: str) -> str:
        """Return one of the words known for a key."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or value not in known:
            message = f"{key} must be one of {', '.join(known)}"
            self.problems.error(f"unknown_{key}", message, (*self.path, key))
            return default
        return value

    def flag(self, key: str) -> bool:
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            self.wrong(key, "true or false")
        return value is True

    def count(self, key: str, most: int = MAX_INTEGER) -> int | None:
        """Return a whole number of at least one; None when it is missing."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(key, "a whole number")
            return None
        if not 1 <= value <= most:
            limit = "at least 1" if most == MAX_INTEGER else f"from 1 to {most}"
            self.problems.error("range", f"{key} must be {limit}", (*self.path, key))
            return None
        return value

    def seconds(self, key: str) -> int | None:
        """Return a number of seconds above zero, parts of one counted as a whole one; None when it is missing."""
        value = self.get(key)
        if value is None:
            return None
        if not is_number(value):
            self.wrong(key, "a number of seconds")
            return None
        if not 0 < value <= MAX_INTEGER:
            self.problems.error("range", f"{key} must be more than 0 seconds", (*self.path, key))
            return None
        return math.ceil(value)

    def mapping(self, key: str) -> Mapping[str, Any] | None:
        value = self.get(key)
        if value is not None and not isinstance(value, Mapping):
            self.wrong(key, "a mapping")
            return None
        return value

    def condition(self, key: str) -> str | None:
        """Return the text of a condition; a bare true or false is one too."""
        value = self.get(key)
        if isinstance(value, bool):
            return "true" if value else "false"
        if value is not None and not isinstance(value, str):
            self.wrong(key, "a text")
            return None
        return value

    def names(self, key: str) -> list[tuple[str, Path]]:
        """Return the names of a list, or the single one, each with its place."""
        value = self.get(key)
        if value is None:
            return []
        if isinstance(value, str):
            return [(value, (*self.path, key))]
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.wrong(key, "a name or a list of names")
            return []
        return [(name, (*self.path, key, index)) for index, name in enumerate(value)]

    def entries(self, key: str) -> "Iterator[Fields]":
        """Yield the mappings of a list; a single mapping counts as a list of one."""
        value = self.get(key)
        if value is None:
            return
        if isinstance(value, Mapping):
            yield Fields(data=value, path=(*self.path, key), problems=self.problems)
            return
        if not isinstance(value, list):
            self.wrong(key, "a list")
            return
        for index, entry in enumerate(value):
            path = (*self.path, key, index)
            if isinstance(entry, Mapping):
                yield Fields(data=entry, path=path, problems=self.problems)
            else:
                self.problems.error("type", f"an entry of {key} must be a mapping", path)


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a JSON value is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)
