"""
Read YAML that others wrote: plain JSON values only, within limits, and with the line of what is wrong.

No tag makes an object, keys are always texts as they stand in the file, dates stay texts. Limits per document:
1 MiB, nesting 50, 100 aliases (packs.md section 2); what aliases and merge keys expand to counts as well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1024 * 1024
MAX_NESTING = 50
MAX_ALIASES = 100

# The C parser is ten times quicker; both raise the same errors with the same marks.
_BaseLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    """The text is not YAML, or holds what JSON cannot; line and column count from 1, None when no place is to blame."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a file holds, and the line of each key of its top level; ``root`` tells where every value stands."""

    value: Any
    key_lines: Mapping[str, int] = field(default_factory=dict)
    root: yaml.Node | None = field(default=None, repr=False, compare=False)


def read_yaml(path: Path) -> Document:
    """Read one file. Raises YamlError when it is not parsable or over a limit, OSError when it cannot be read."""
    with path.open("rb") as file:
        return parse_document(file.read(MAX_BYTES + 1))


def parse_yaml(text: str | bytes) -> Any:
    """Return the value of one YAML document, None for an empty one. Raises YamlError."""
    return parse_document(text).value


def parse_document(text: str | bytes) -> Document:
    """Return the value of one YAML document and the lines of its keys. Raises YamlError."""
    decoded = _decoded(text)
    try:
        _check_events(decoded)
        loader = _Loader(decoded)
        try:
            return _document(loader)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(_told(error), *(_place_in(decoded, mark.index) if mark else ())) from error
    except yaml.reader.ReaderError as error:
        raise YamlError(_unreadable(error), *_place_in(decoded, int(error.position))) from error
    except yaml.YAMLError as error:
        raise YamlError(str(error) or "not YAML") from error


def _decoded(text: str | bytes) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        raise YamlError("larger than 1 MiB")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError("not UTF-8 text", text.count(b"\n", 0, error.start) + 1) from None


def _place_in(text: str, index: int) -> tuple[int, int]:
    """Return line and column; the parser's own are those of a line below where the text ends too early."""
    before = text[:index]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _told(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong; some problems are but the end of a sentence."""
    problem = error.problem or error.context or "not YAML"
    return f"{error.context}, {problem}" if problem.startswith("but ") and error.context else problem


def _unreadable(error: Any) -> str:
    character = error.character if isinstance(error.character, int) else ord(error.character)
    return f"the character U+{character:04X} is not allowed"


def _check_events(text: str) -> None:
    """Look at nesting and aliases before anything is built from them."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_BaseLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_NESTING:
                raise _wrong(f"nested deeper than {MAX_NESTING}", event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                raise _wrong(f"more than {MAX_ALIASES} aliases", event)


def _wrong(message: str, where: yaml.Event | yaml.Node) -> YamlError:
    mark = where.start_mark
    return YamlError(message, mark.line + 1, mark.column + 1) if mark else YamlError(message)


def _document(loader: "_Loader") -> Document:
    root = loader.get_single_node()
    if root is None:
        return Document(value=None)
    if _expanded_size(root, {}) > MAX_BYTES:
        raise _wrong("larger than 1 MiB once its aliases are expanded", root)
    key_lines = {}
    if isinstance(root, yaml.MappingNode):
        key_lines = {key.value: key.start_mark.line + 1 for key, _ in root.value if isinstance(key, yaml.ScalarNode)}
    return Document(value=loader.construct_document(root), key_lines=key_lines, root=root)


def _expanded_size(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Count characters and nodes with every alias written out; ``known`` holds None for a node that is under way."""
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise _wrong("an alias stands inside what it names", node)
        return size
    known[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        size = 1 + len(node.value)
    elif isinstance(node, yaml.MappingNode):
        size = 1 + sum(_expanded_size(key, known) + _expanded_size(value, known) for key, value in node.value)
    else:
        size = 1 + sum(_expanded_size(item, known) for item in node.value)
    known[id(node)] = size
    return size


class _Loader(_BaseLoader):  # type: ignore[misc]  # the C loader has no stubs
    """Builds null, booleans, numbers, texts, lists and mappings; every other tag is an error."""

    yaml_constructors: dict[str | None, Any] = {}
    yaml_implicit_resolvers = {
        first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:timestamp"]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _construct_text(loader: Any, node: Any) -> str:
    text: str = loader.construct_scalar(node)
    for character in text:
        if character == "\x00" or "\ud800" <= character <= "\udfff":
            raise _wrong(f"the character U+{ord(character):04X} is not allowed", node)
    return text


def _plain(construct: str, kind: str) -> Any:
    """Return a constructor that uses PyYAML's own method and says so when the text is no such value."""

    def constructor(loader: Any, node: Any) -> Any:
        try:
            value = getattr(loader, construct)(node)
        except (ValueError, KeyError, IndexError):
            raise _wrong(f"not {kind}", node) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise _wrong(f"{node.value} is not a number JSON knows", node)
        return value

    return constructor


def _construct_mapping(loader: Any, node: Any) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _wrong("expected a mapping", node)
    loader.flatten_mapping(node)
    mapping = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong("a key must be a text", key)
        # The text as written: `on`, `1` and `null` are names here, whatever they mean as values.
        mapping[_construct_text(loader, key)] = loader.construct_object(value, deep=True)
    return mapping


def _construct_list(loader: Any, node: Any) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong("expected a list", node)
    return [loader.construct_object(item, deep=True) for item in node.value]


def _refuse(_loader: Any, node: Any) -> Any:
    raise _wrong(f"the tag {node.tag} is not allowed", node)


for _tag, _constructor in {
    "null": _plain("construct_yaml_null", "a null"),
    "bool": _plain("construct_yaml_bool", "a boolean"),
    "int": _plain("construct_yaml_int", "a whole number"),
    "float": _plain("construct_yaml_float", "a number"),
    "str": _construct_text,
    "value": _construct_text,  # a lone "="
    "map": _construct_mapping,
    "seq": _construct_list,
}.items():
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _constructor)
_Loader.add_constructor(None, _refuse)
