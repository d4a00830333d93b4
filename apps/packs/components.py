"""What a component file says, read key by key with the line of what is wrong. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from apps.core.errors import UnprocessableEntity
from apps.core.schemas import check_budget


class Warning(TypedDict):
    """One thing that was left out of a registration; ``file`` is its path in the pack."""

    file: str
    line: int | None
    message: str


class FaultyComponent(Exception):
    """
    The component cannot be used and is left out; ``key`` is the one to blame, when one is.

    ``file`` and ``line`` say where it is wrong when that is another file, or deeper in than a key of the top level.
    """

    def __init__(
        self, message: str, *, key: str | None = None, file: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.file = file
        self.line = line


@dataclass(frozen=True, kw_only=True)
class ComponentFile:
    """
    One file of a component folder; ``problem`` says why its YAML cannot be read, ``data`` is then None.

    ``root`` is the pack's folder on this disk as long as it is being registered.
    """

    path: str  # below the pack, e.g. actions/echo.yaml
    data: Any = None
    key_lines: Mapping[str, int] = field(default_factory=dict)
    problem: str | None = None
    problem_line: int | None = None
    root: Path | None = None

    @property
    def stem(self) -> str:
        return self.path.rpartition("/")[2].rsplit(".", 1)[0]


@dataclass(frozen=True, kw_only=True)
class Component:
    """One component of a pack. Its readers raise FaultyComponent for a value of the wrong type."""

    file: ComponentFile
    pack_ref: str
    warnings: list[Warning] = field(default_factory=list)

    @property
    def data(self) -> Mapping[str, Any]:
        if not isinstance(self.file.data, Mapping):
            raise FaultyComponent("the file must hold a mapping")
        return self.file.data

    @property
    def ref(self) -> str:
        """The component's full ref: its ``ref``, else ``name``, else the file's stem; with the pack's prefix."""
        data = self.file.data if isinstance(self.file.data, Mapping) else {}
        for key in ("ref", "name"):
            if isinstance(data.get(key), str) and data[key]:
                return self.full_ref(data[key]) if key == "ref" else f"{self.pack_ref}.{data[key]}"
        return f"{self.pack_ref}.{self.file.stem}"

    @property
    def label(self) -> str:
        """``label``, else ``name`` or the file's stem with capitals."""
        return self.text("label") or title(self.text("name") or self.file.stem)

    def full_ref(self, ref: str) -> str:
        """Return a reference to a component; one without a dot means a component of this pack."""
        return ref if "." in ref else f"{self.pack_ref}.{ref}"

    def warn(self, message: str, *, key: str | None = None) -> None:
        """Note something that people should know, though the component is used."""
        line = self.file.key_lines.get(key) if key else None
        self.warnings.append({"file": self.file.path, "line": line, "message": message})

    def text(self, key: str, default: str | None = None) -> str | None:
        return self._read(key, str, "a text", default)  # type: ignore[no-any-return]  # str by the check

    def flag(self, key: str, default: bool = False) -> bool:
        return self._read(key, bool, "true or false", default)  # type: ignore[no-any-return]

    def integer(self, key: str, default: int | None = None) -> int | None:
        value = self._read(key, int, "a whole number", default)
        if isinstance(value, bool):
            raise FaultyComponent(f"{key} must be a whole number", key=key)
        return value  # type: ignore[no-any-return]

    def mapping(self, key: str) -> dict[str, Any]:
        return dict(self._read(key, Mapping, "a mapping", {}))

    def listing(self, key: str) -> list[Any]:
        return list(self._read(key, list, "a list", []))

    def texts(self, key: str) -> list[str]:
        """Return a list of texts."""
        found = self.listing(key)
        if not all(isinstance(entry, str) for entry in found):
            raise FaultyComponent(f"{key} must be a list of texts", key=key)
        return found

    def schema(self, key: str) -> dict[str, Any] | None:
        """Return a parameter schema; None when there is none."""
        if self.data.get(key) is None:
            return None
        found = self.mapping(key)
        try:
            check_budget(found)
        except UnprocessableEntity as error:
            raise FaultyComponent(f"{key}: {error.message}", key=key) from error
        return found

    def _read(self, key: str, kind: type, description: str, default: Any) -> Any:
        value = self.data.get(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise FaultyComponent(f"{key} must be {description}", key=key)
        return value


def title(name: str) -> str:
    """Return a name as a label: ``check_port`` becomes ``Check Port``."""
    words = re.split(r"[\s_.-]+", name)
    return " ".join(word[:1].upper() + word[1:] for word in words if word)


def faults(component: Component, error: FaultyComponent) -> Warning:
    """Return the warning for a component that is left out."""
    line = component.file.key_lines.get(error.key) if error.key else None
    return {"file": error.file or component.file.path, "line": error.line or line, "message": error.message}


def each_text(values: Any) -> Iterator[str]:
    """Yield the entries of a list of texts; a number counts as its text, anything else is left out."""
    for value in values if isinstance(values, list) else ():
        if isinstance(value, str):
            yield value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield str(value)
