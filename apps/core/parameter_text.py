"""Parameters as people type them, in a form field or after ``--param``, read by what the schema says. Pure."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.schemas import is_json_schema

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
KINDS = frozenset({"string", "integer", "number", "boolean", "array", "object"})
MAX_NESTING = 200  # of objects and lists in each other, as in bodies of requests
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # an even number of backslashes before it: none is escaped
NOTHING = object()  # no default; None is one


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter that a schema declares; ``kind`` is its JSON type, ``string`` where the schema names none."""

    name: str
    kind: str = "string"
    description: str = ""
    required: bool = False
    secret: bool = False
    default: Any = NOTHING
    choices: tuple[Any, ...] = ()
    spec: Mapping[str, Any]  # the property object itself

    @property
    def has_default(self) -> bool:
        return self.default is not NOTHING


def declared_parameters(schema: Any) -> list[Parameter]:
    """Return what a schema of either shape (packs.md section 1) declares, by ``position`` and then as written."""
    if not isinstance(schema, Mapping):
        return []
    properties, required = schema, frozenset[str]()
    if is_json_schema(schema):
        properties = schema["properties"]
        required = frozenset(name for name in schema.get("required") or () if isinstance(name, str))
    found = [_parameter(str(name), spec, required) for name, spec in properties.items() if isinstance(spec, Mapping)]
    return sorted(found, key=lambda parameter: _position(parameter.spec))


def _position(spec: Mapping[str, Any]) -> float:
    position = spec.get("position")
    return position if isinstance(position, int | float) else math.inf


def _parameter(name: str, spec: Mapping[str, Any], required: frozenset[str]) -> Parameter:
    kinds = spec.get("type")
    named = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind in KINDS]
    choices = spec.get("enum")
    return Parameter(
        name=name,
        kind=named[0] if named else "string",
        description=str(spec.get("description") or ""),
        required=name in required or spec.get("required") is True,
        secret=spec.get("secret") is True,
        default=spec.get("default", NOTHING),
        choices=tuple(choices) if isinstance(choices, list) else (),
        spec=spec,
    )


def text_of(value: Any) -> str:
    """Return a value as one would type it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def value_of(parameter: Parameter | None, text: str) -> Any:
    """
    Return the value that ``text`` means for a parameter; one that no schema declares (None) is text.

    Raises ValueError with the end of the sentence "<name> ...".
    """
    if parameter is None:
        return text
    if parameter.choices:
        return _choice(parameter, text)
    match parameter.kind:
        case "integer":
            return _integer(text)
        case "number":
            return _number(text)
        case "boolean":
            return _boolean(text)
        case "array":
            return _json(text, list, "a JSON list such as [1, 2]")
        case "object":
            return _json(text, dict, 'a JSON object such as {"key": "value"}')
        case _:
            return text


def _choice(parameter: Parameter, text: str) -> Any:
    for choice in parameter.choices:
        if text_of(choice) == text:
            return choice
    raise ValueError(f"must be one of {', '.join(text_of(choice) for choice in parameter.choices)}, not {text!r}")


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,4000}", text.strip()):
        raise ValueError(f"must be a whole number, not {text!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        return _integer(text)
    except ValueError:
        pass  # not whole
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"must be a finite number, not {text!r}")
    return number


def _boolean(text: str) -> bool:
    if text.strip().lower() not in WORDS:
        raise ValueError(f"must be true or false, not {text!r}")
    return WORDS[text.strip().lower()]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:40]} is too large")
    return number


def read_json(text: str) -> Any:
    """
    Return the JSON value of ``text``, as strict as bodies of requests are read.

    Raises ValueError that says where it stops, or what could not be stored.
    """
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if text.count("{") + text.count("[") > MAX_NESTING:
        _check_nesting(value)
    if "\\u" in text or not text.isascii():
        _check_storable(json.dumps(value, ensure_ascii=False))
    return value


def _check_nesting(value: Any) -> None:
    level = [value]
    for _depth in range(MAX_NESTING + 1):
        level = [inner for entry in level if isinstance(entry, dict | list) for inner in _members(entry)]
    if level:
        raise ValueError("nested too deep")


def _members(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _check_storable(whole: str) -> None:
    try:
        whole.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair cannot be stored") from None
    if _ESCAPED_NUL.search(whole):
        raise ValueError("the character U+0000 cannot be stored")


def _json(text: str, kind: type, example: str) -> Any:
    try:
        value = read_json(text)
    except ValueError as error:
        raise ValueError(f"must be {example} ({error})") from None
    if not isinstance(value, kind):
        raise ValueError(f"must be {example}")
    return value
