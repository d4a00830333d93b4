"""
Parameter schemas (packs.md section 1): two shapes, defaults, violations, secrets. Pure.

Flat shape: ``{"port": {"type": "integer", "required": true, "position": 0}}``. JSON Schema shape: a top level with
``type: object`` and ``properties``. Schemas are stored as they were given; everything here takes either shape.
"""

import copy
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from apps.core.errors import Detail, UnprocessableEntity

MAX_SCHEMA_BYTES = 256 * 1024
MAX_SCHEMA_NESTING = 50
# Visits of a (subschema, value) pair. References that double at every level otherwise take hours; 1,000 parameters
# with ordinary schemas take a few thousand.
MAX_STEPS = 200_000
MAX_VIOLATIONS = 1000
MAX_PATTERNS = 500  # each may take up to 1 MiB once compiled
EXTENSIONS = ("required", "secret", "position")

_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_PATTERNS = jsonschema_rs.RegexOptions(size_limit=1024 * 1024)  # the engine without backtracking


class UnusableSchema(UnprocessableEntity):
    """The schema cannot be used"""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One broken rule: the place in the parameters (``server.ports.0``), and a sentence that names it."""

    field: str
    message: str

    @property
    def detail(self) -> Detail:
        return {"field": self.field, "message": self.message}


_FORMATS: dict[str, Callable[[str], bool]] = {}
_FORMAT_WORDS: dict[str, str] = {}


def register_format(name: str, holds: Callable[[str], bool], words: str) -> None:
    """Let schemas say ``format: <name>``; ``words`` complete the sentence about a text that does not hold."""
    _FORMATS[name], _FORMAT_WORDS[name] = holds, words


def is_json_schema(schema: Any) -> bool:
    """Return whether a schema has the JSON Schema shape."""
    return (
        isinstance(schema, Mapping)
        and schema.get("type") == "object"
        and isinstance(schema.get("properties"), Mapping)
    )


def to_json_schema(schema: Any) -> dict[str, Any] | None:
    """Return a schema of either shape as JSON Schema; None for a null schema, which allows everything."""
    if not isinstance(schema, Mapping):
        return None
    if is_json_schema(schema):
        return dict(schema)
    properties = {str(name): prop for name, prop in schema.items() if isinstance(prop, Mapping)}
    return {
        "type": "object",
        "properties": {name: _without_extensions(prop) for name, prop in properties.items()},
        "required": [name for name, prop in properties.items() if prop.get("required") is True],
    }


def fill_defaults(schema: Any, parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the parameters with the schema's defaults for those that are missing or null."""
    filled = dict(parameters or {})
    for name, prop in _properties(schema).items():
        if isinstance(prop, Mapping) and "default" in prop and filled.get(name) is None:
            filled[name] = copy.deepcopy(prop["default"])
    return filled


def check_budget(schema: Any) -> None:
    """Raise UnusableSchema when the schema is larger than 256 KiB or nested deeper than 50."""
    if _depth_exceeds(schema, MAX_SCHEMA_NESTING):
        raise UnusableSchema(f"The schema is nested deeper than {MAX_SCHEMA_NESTING}")
    if len(json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")) > MAX_SCHEMA_BYTES:
        raise UnusableSchema(f"The schema is larger than {MAX_SCHEMA_BYTES // 1024} KiB")
    if _count_patterns(schema) > MAX_PATTERNS:
        raise UnusableSchema(f"The schema has more than {MAX_PATTERNS} patterns")


def violations(
    schema: Any, parameters: Mapping[str, Any] | None, *, templates: bool = False, subject: str = "parameter"
) -> list[Violation]:
    """
    Return what is wrong with the parameters, nothing for a null schema; defaults are filled in first.

    With ``templates`` a text that holds ``{{`` and ``}}`` passes for any type. Values never appear in a message.
    Raises UnusableSchema when the schema is over its budget or no valid schema.
    """
    converted = to_json_schema(schema)
    if converted is None:
        return []
    check_budget(converted)
    filled = fill_defaults(schema, parameters)
    return _violations(converted, filled, templates=templates, subject=subject)


def value_violations(schema: Any, value: Any, *, subject: str = "value") -> list[Violation]:
    """Return what is wrong with any JSON value under a schema; like ``violations`` when it is an object."""
    if isinstance(value, Mapping):
        return violations(schema, value, subject=subject)
    converted = to_json_schema(schema)
    if converted is None:
        return []
    check_budget(converted)
    return _violations(converted, value, templates=False, subject=subject)


def secret_names(schema: Any) -> frozenset[str]:
    """Return the parameters that are secret, or hold something secret at any depth: never to be exported."""
    return frozenset(name for name, prop in _properties(schema).items() if holds_secret(prop))


def secret_paths(schema: Any, value: Any) -> list[tuple[str | int, ...]]:
    """Return where in a value of this schema secrets stand, e.g. ``("users", 0, "password")``; outermost only."""
    converted = dict(schema) if is_json_schema(schema) else {"properties": _properties(schema)}
    return list(dict.fromkeys(_secret_paths(converted, value, ())))


# --- Conversion -------------------------------------------------------------------------------------------------


def _properties(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        return {}
    found = schema["properties"] if is_json_schema(schema) else schema
    return {str(name): prop for name, prop in found.items() if isinstance(prop, Mapping)}


def _without_extensions(prop: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flat property as JSON Schema; nested properties may carry the extensions too."""
    stripped = {
        key: value
        for key, value in prop.items()
        # A list is JSON Schema's own keyword `required`: the names that an object must have.
        if key not in EXTENSIONS or (key == "required" and isinstance(value, list))
    }
    nested = stripped.get("properties")
    if isinstance(nested, Mapping):
        stripped["properties"] = {
            name: _without_extensions(sub) if isinstance(sub, Mapping) else sub for name, sub in nested.items()
        }
        needed = [name for name, sub in nested.items() if isinstance(sub, Mapping) and sub.get("required") is True]
        if needed:
            stripped["required"] = [*dict.fromkeys([*stripped.get("required", []), *needed])]
    if isinstance(stripped.get("items"), Mapping):
        stripped["items"] = _without_extensions(stripped["items"])
    return stripped


def _count_patterns(schema: Any) -> int:
    count, pending = 0, [schema]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping):
            count += isinstance(current.get("pattern"), str) + len(_mapping(current.get("patternProperties")))
        pending.extend(_children(current))
    return count


def _depth_exceeds(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [child for parent in level for child in _children(parent)]
        if not any(isinstance(child, Mapping | list) for child in level):
            return False
    return True


def _children(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


# --- Validation -------------------------------------------------------------------------------------------------


def _violations(schema: dict[str, Any], value: Any, *, templates: bool, subject: str) -> list[Violation]:
    _check_steps(schema, value)
    try:
        # Offline: a $ref never fetches anything. The mask keeps values, which may be secrets, out of the messages.
        validator = jsonschema_rs.Draft202012Validator(
            {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"},
            pattern_options=_PATTERNS, formats=_FORMATS, validate_formats=True, offline=True, mask="the value",
        )  # fmt: skip
        if validator.is_valid(value):
            return []
        errors = list(itertools.islice(validator.iter_errors(value), MAX_VIOLATIONS))
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise UnusableSchema(f"The schema cannot be used: {_reason(error)}") from error
    except ValueError as error:  # the library's limit for nested values
        raise UnusableSchema("The values are nested too deeply to be checked") from error
    if templates:
        errors = [error for error in errors if not _is_template(value, error)]
    return [_violation(error, subject) for error in errors]


def _reason(error: Any) -> str:
    place = ".".join(str(part) for part in getattr(error, "instance_path", ()))
    text = str(error).split("\n", 1)[0]
    return f"{place}: {text.removeprefix('the value ')}" if place else text


def _violation(error: Any, subject: str) -> Violation:
    path = [str(part) for part in error.instance_path]
    missing = getattr(error.kind, "property", None) if error.kind.name == "required" else None
    if isinstance(missing, str):
        field = ".".join([*path, missing])
        return Violation(field=field, message=f"{subject} '{field}' is required")
    field = ".".join(path)
    if error.kind.name == "falseSchema":
        text = "is not allowed"
    elif error.kind.name == "format" and error.kind.format in _FORMAT_WORDS:
        text = _FORMAT_WORDS[error.kind.format]
    else:
        text = str(error.message).removeprefix("the value ")
    named = f"{subject} '{field}'" if field else f"the {subject}s" if subject == "parameter" else f"the {subject}"
    return Violation(field=field, message=f"{named} {text}" if text != error.message else f"{named}: {text}")


def _is_template(value: Any, error: Any) -> bool:
    """Whether the error is about a template, or about something that holds one and is judged as a whole."""
    for part in error.instance_path:
        value = value[part]
    if error.kind.name in (
        *_IN_PLACE_LISTS,
        "oneOfNotValid",
        "oneOfMultipleValid",
        "not",
        "contains",
        "enum",
        "const",
    ):
        return any(_reads_as_template(leaf) for leaf in _leaves(value))
    return _reads_as_template(value)


def _reads_as_template(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value and "}}" in value


def _leaves(value: Any) -> Iterator[Any]:
    pending = [value]
    while pending:
        current = pending.pop()
        children = _children(current)
        if children:
            pending.extend(children)
        else:
            yield current


# --- The budget of a validation ---------------------------------------------------------------------------------


def _check_steps(schema: Mapping[str, Any], value: Any) -> None:
    """Raise UnusableSchema when validating this value would visit more than MAX_STEPS pairs of schema and value."""
    pending: list[tuple[Any, Any]] = [(schema, value)]
    steps = 0
    while pending:
        sub, part = pending.pop()
        for visit in _visits(schema, sub, part) if isinstance(sub, Mapping) else ():
            pending.append(visit)
            steps += 1
            if steps > MAX_STEPS:
                raise UnusableSchema("The schema takes too many steps to check these values")


def _visits(root: Mapping[str, Any], sub: Mapping[str, Any], part: Any) -> Iterator[tuple[Any, Any]]:
    for keyword in ("$ref", "$dynamicRef"):
        if isinstance(sub.get(keyword), str):
            yield _target(root, sub[keyword]), part
    for keyword in _IN_PLACE_LISTS:
        for branch in _list(sub.get(keyword)):
            yield branch, part
    for keyword in _IN_PLACE:
        if keyword in sub:
            yield sub[keyword], part
    if isinstance(part, Mapping):
        yield from _object_visits(sub, part)
    elif isinstance(part, list):
        yield from _list_visits(sub, part)


def _object_visits(sub: Mapping[str, Any], part: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    for name, branch in _mapping(sub.get("properties")).items():
        if name in part:
            yield branch, part[name]
    for branch in _mapping(sub.get("dependentSchemas")).values():
        yield branch, part
    everywhere = [
        *_mapping(sub.get("patternProperties")).values(),
        *_present(sub, "additionalProperties", "unevaluatedProperties"),
    ]
    for branch in everywhere:
        for child in part.values():
            yield branch, child


def _list_visits(sub: Mapping[str, Any], part: list[Any]) -> Iterator[tuple[Any, Any]]:
    yield from zip(_list(sub.get("prefixItems")), part, strict=False)
    for branch in _present(sub, "items", "contains", "unevaluatedItems"):
        for child in part:
            yield branch, child


def _present(sub: Mapping[str, Any], *keywords: str) -> list[Mapping[str, Any]]:
    return [sub[keyword] for keyword in keywords if isinstance(sub.get(keyword), Mapping)]


def _target(root: Mapping[str, Any], reference: str) -> Any:
    """Return what a local reference names; anything else is the root, the dearest guess."""
    if not reference.startswith("#/"):
        return root
    found: Any = root
    for token in unquote(reference[2:]).split("/"):
        token = token.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and token in found:
            found = found[token]
        elif isinstance(found, list) and token.isdigit() and int(token) < len(found):
            found = found[int(token)]
        else:
            return None
    return found


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# --- Secrets ----------------------------------------------------------------------------------------------------


def holds_secret(prop: Any) -> bool:
    """Whether a schema, or a part of one, marks anything as secret."""
    pending = [prop]
    while pending:
        current = pending.pop()
        if isinstance(current, Mapping) and current.get("secret") is True:
            return True
        pending.extend(_children(current))
    return False


def _secret_paths(schema: Any, value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if not isinstance(schema, Mapping) or value is None:
        return
    if schema.get("secret") is True:
        yield path
        return
    for keyword in _IN_PLACE_LISTS:
        for branch in _list(schema.get(keyword)):
            yield from _secret_paths(branch, value, path)
    if isinstance(value, Mapping):
        named = _mapping(schema.get("properties"))
        for name, child in value.items():
            yield from _secret_paths(named.get(name, schema.get("additionalProperties")), child, (*path, name))
    elif isinstance(value, list):
        prefix = _list(schema.get("prefixItems"))
        for index, child in enumerate(value):
            branch = prefix[index] if index < len(prefix) else schema.get("items")
            yield from _secret_paths(branch, child, (*path, index))
