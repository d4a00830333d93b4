"""The text of a definition, YAML or JSON, and where in it everything stands."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml

from apps.core.yaml_files import MAX_BYTES, MAX_NESTING, YamlError, parse_document
from apps.workflows.definition.problems import Entry, Path, Problem

_ESCAPE = re.compile(r"\\(?:u.{4}|U.{8}|x..|.)", re.DOTALL)

Position = tuple[int, int]  # line and column, from 1


class UnreadableSource(ValueError):
    """The text is neither YAML nor JSON."""

    def __init__(self, message: str, line: int | None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column

    @property
    def entry(self) -> Entry:
        return {"code": "unreadable", "message": self.message, "path": "", "line": self.line, "column": self.column}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A definition with its text."""

    text: str
    value: Any
    root: yaml.Node | None

    def position(self, path: Path, offset: int | None = None) -> Position | None:
        """Return where the value at a path begins, or a place within it; of a missing one, what should hold it."""
        node = self.root
        for key in path:
            child = _child(node, key)
            if child is None:
                offset = None
                break
            node = child
        if node is None:
            return None
        if offset is not None and isinstance(node, yaml.ScalarNode):
            return self._within(node, offset)
        return node.start_mark.line + 1, node.start_mark.column + 1

    def _within(self, node: yaml.ScalarNode, offset: int) -> Position:
        """Return where a character of a scalar's value is written; quotes, escapes and folding are passed over."""
        start, end = node.start_mark.index, node.end_mark.index
        if node.style == '"' and node.start_mark.line == node.end_mark.line:
            place = _in_quotes(self.text, start + 1, offset)
        else:
            place = _in_scalar(self.text[:end], _beginning(self.text, node), node.value, offset)
        line_start = self.text.rfind("\n", 0, place) + 1
        return self.text.count("\n", 0, place) + 1, place - line_start + 1


def read_source(text: str) -> Source:
    """Return the value of a YAML or JSON text with its places. Raises UnreadableSource."""
    if text.startswith("\ufeff"):
        text = text[1:]
    value, is_json = _json_value(text)
    # JSON is YAML but for tabs between its tokens; within its strings they are not allowed.
    plain = text.replace("\t", " ") if is_json else text
    try:
        document = parse_document(plain)
    except YamlError as error:
        if is_json and not _deeper(value, MAX_NESTING):  # such as an escape that YAML does not know
            return Source(text=plain, value=value, root=None)
        raise UnreadableSource(error.message, error.line, error.column) from error
    except RecursionError:
        raise UnreadableSource("nested too deeply", None) from None
    return Source(text=plain, value=value if is_json else document.value, root=document.root)


def _beginning(text: str, node: yaml.ScalarNode) -> int:
    """Return where the characters of a scalar begin: behind its quote, or on the line below its ``|``."""
    start: int = node.start_mark.index
    if node.style in ("|", ">"):
        return text.find("\n", start, node.end_mark.index) + 1 or start
    return start + 1 if node.style in ("'", '"') else start


def _in_quotes(text: str, place: int, offset: int) -> int:
    """Return where a character of a text in double quotes is written; an escape is one character."""
    for _ in range(offset):
        escape = _ESCAPE.match(text, place)
        place = escape.end() if escape else place + 1
    return place


def _in_scalar(text: str, place: int, value: str, offset: int) -> int:
    """Return where a character of a scalar is written: white space may differ, all else stands there in its order."""
    for number, character in enumerate(value[: offset + 1]):
        if character.isspace():
            continue
        found = text.find(character, place)
        if found < 0:
            break
        place = found + (number < offset)
    return place


def _json_value(text: str) -> tuple[Any, bool]:
    if len(text) > MAX_BYTES or not text.lstrip().startswith(("{", "[")):
        return None, False
    try:
        return json.loads(text, parse_constant=_refuse), True
    except (ValueError, RecursionError):
        return None, False


def _deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return bool(level)


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _child(node: yaml.Node | None, key: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in reversed(node.value):
            if name.value == key:
                return cast(yaml.Node, value)
        return None
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return cast(yaml.Node, node.value[key])
    return None


def entries(problems: Sequence[Problem], source: Source | None = None) -> list[Entry]:
    """Return problems as the API tells them, with their places when there is a text."""
    return [_entry(problem, source) for problem in problems]


def _entry(problem: Problem, source: Source | None) -> Entry:
    position = source.position(problem.path, problem.offset) if source is not None else None
    line, column = position or (None, None)
    return {
        "code": problem.code,
        "message": problem.message,
        "path": problem.pointer,
        "line": line,
        "column": column,
    }
