"""JSON values: their kinds, equality, order and text. Whatever depends on the data charges for it, and none recurses."""

import json
import math
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any

from apps.core.expressions.budget import MAX_TEXT, Run, check_text_size
from apps.core.expressions.errors import ExpressionError, LimitExceeded, UndefinedValue

KINDS = {
    type(None): "null", bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object",
}  # fmt: skip
_SCALARS = frozenset({type(None), bool, int, float, str})
NOTHING = object()  # no member; None is one
_DEEP = 100  # json.dumps recurses, and how deep the caller stands already is unknown


class Undefined:
    """What is not there. The message says which name, key or index; it is false, and False only in lenient places."""

    __slots__ = ("message", "offset")

    def __init__(self, message: str, offset: int) -> None:
        self.message = message
        self.offset = offset

    def __bool__(self) -> bool:
        return False

    def error(self) -> UndefinedValue:
        return UndefinedValue(self.message, self.offset)


def kind_of(value: Any) -> str:
    """Return the JSON type of a value, as ``type_of`` tells it."""
    return KINDS.get(value.__class__, "undefined" if value.__class__ is Undefined else "unknown")


def is_number(value: Any) -> bool:
    return value.__class__ is int or value.__class__ is float


def member_of(value: Any, name: str) -> Any:
    """Return the member of an object, or of an array when the name is a number; NOTHING when there is none."""
    if value.__class__ is dict:
        return value.get(name, NOTHING)
    if value.__class__ is list and name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(value):
        return value[int(name)]
    return NOTHING


# --- Equality and order -----------------------------------------------------------------------------------------


def equals(run: Run, left: Any, right: Any) -> bool:
    """Return whether two values are deeply equal: 1 equals 1.0, and nothing else equals what has another type."""
    pending = [(left, right)]
    while pending:
        left, right = pending.pop()
        kind = left.__class__
        if kind is not right.__class__:
            if not (is_number(left) and is_number(right) and left == right):
                return False
        elif kind in _SCALARS:
            if left != right:
                return False
        elif left is not right:
            if len(left) != len(right):
                return False
            run.charge(len(left) + 1)
            if kind is list:
                pending.extend(zip(left, right, strict=True))
            elif left.keys() == right.keys():
                pending.extend((value, right[key]) for key, value in left.items())
            else:
                return False
    return True


def precedes(run: Run, left: Any, right: Any) -> bool | None:
    """Return whether ``left < right``; None for values that have no order."""
    while True:
        kind = left.__class__
        if kind is str and right.__class__ is str:
            return bool(left < right)
        if is_number(left) and is_number(right):
            return bool(left < right)
        if kind is not list or right.__class__ is not list:
            return None
        run.charge(1)
        for first, second in zip(left, right, strict=False):
            run.charge(1)
            if not equals(run, first, second):
                left, right = first, second
                break
        else:
            return len(left) < len(right)


def contains(run: Run, container: Any, item: Any) -> bool | None:
    """Return what ``item in container`` says; None for types that cannot be asked."""
    kind = container.__class__
    if kind is list:
        return find(run, container, item) >= 0
    if item.__class__ is not str:
        return None
    if kind is str:
        run.charge_text(len(container))
        return item in container
    return item in container if kind is dict else None


def find(run: Run, items: list[Any], wanted: Any) -> int:
    """Return the index of the first element equal to a value, -1 when there is none."""
    if wanted.__class__ is str:  # equals nothing but the same text, also for Python, which is quicker
        run.charge(len(items) // 16)
        return items.index(wanted) if wanted in items else -1
    run.charge(len(items))
    for index, item in enumerate(items):
        if equals(run, item, wanted):
            return index
    return -1


# --- Text -------------------------------------------------------------------------------------------------------


def string_form(run: Run, value: Any) -> str:
    """Return how a value reads inside text (workflows.md 6.2). Raises LimitExceeded before building what is too long."""
    kind = value.__class__
    if kind is str:
        return str(value)
    if value is None:
        return ""
    return json_form(run, value)


def json_form(run: Run, value: Any) -> str:
    """Return a value as compact JSON text."""
    kind = value.__class__
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return _integer_text(value)
    run.charge(2)
    size, depth = measure(value, MAX_TEXT, run=run)
    check_text_size(size)
    if depth > _DEEP:
        return "".join(write_json(value))
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _integer_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python writes no more than 4300 digits
        raise LimitExceeded("the integer is too large to be written") from None


def measure(value: Any, most: int, *, run: Run | None = None, in_bytes: bool = False) -> tuple[int, int]:
    """
    Return the size of a value's compact JSON text, and how deep it is nested.

    Stops as soon as the size is above ``most``, and charges the run on the way. In bytes (UTF-8) or in characters.
    Raises ExpressionError for a number that is not finite, and for what is no JSON.
    """
    size = depth = 0
    level = [value]
    while level and size <= most:
        if run is not None:
            run.charge(1 + len(level) // 2)
        below: list[Any] = []
        for current in level:
            kind = current.__class__
            if kind is str:
                size += _text_size(current, most, in_bytes=in_bytes)
            elif kind is dict:
                size += 2 + 2 * len(current) - bool(current)
                if size > most:
                    break
                size += sum(_text_size(key, most, in_bytes=in_bytes) for key in current)
                below.extend(current.values())
            elif kind is list:
                size += 2 + len(current) - bool(current)
                if size > most:
                    break
                below.extend(current)
            else:
                size += _scalar_size(current)
        depth += bool(below)
        level = below
    if run is not None:
        run.charge_text(size)
    return size, depth


def _text_size(text: str, most: int, *, in_bytes: bool) -> int:
    if len(text) > most:
        return len(text)
    written = encode_basestring(text)
    if in_bytes and not written.isascii():
        return len(written.encode(errors="surrogatepass"))
    return len(written)


def _scalar_size(value: Any) -> int:
    if value is None or value is True:
        return 4
    if value is False:
        return 5
    if value.__class__ is int:
        return len(_integer_text(value))
    if value.__class__ is float:
        if not math.isfinite(value):
            raise ExpressionError("a number that is not finite has no JSON")
        return len(repr(value))
    raise ExpressionError(f"a value of the type {type(value).__name__} is no JSON")


def write_json(value: Any, *, normal: bool = False) -> Iterator[str]:
    """
    Yield the pieces of a value's compact JSON text, without recursion.

    With ``normal`` equal values give equal texts: keys in order, whole floats like integers.
    """
    pending = [iter([("", value)])]
    closing = [""]
    while pending:
        for lead, current in pending[-1]:
            kind = current.__class__
            if kind is list or kind is dict:
                yield f"{lead}{'[' if kind is list else '{'}"
                pending.append(_items(current) if kind is list else _entries(current, normal=normal))
                closing.append("]" if kind is list else "}")
                break
            yield lead + (encode_basestring(current) if kind is str else _scalar_text(current, normal=normal))
        else:
            pending.pop()
            yield closing.pop()


def _items(array: list[Any]) -> Iterator[tuple[str, Any]]:
    lead = ""
    for item in array:
        yield lead, item
        lead = ","


def _entries(mapping: dict[str, Any], *, normal: bool) -> Iterator[tuple[str, Any]]:
    lead = ""
    for key in sorted(mapping) if normal else mapping:
        yield f"{lead}{encode_basestring(key)}:", mapping[key]
        lead = ","


def _scalar_text(value: Any, *, normal: bool) -> str:
    if normal and value.__class__ is float and value.is_integer():
        value = int(value)
    if value.__class__ is int:
        return _integer_text(value)
    return json.dumps(value, allow_nan=False)


def identity_of(run: Run, value: Any) -> Any:
    """Return something hashable that is the same for equal values and for no others."""
    kind = value.__class__
    if kind is list or kind is dict:
        size, _ = measure(value, MAX_TEXT, run=run)
        run.charge(3 + size // 4)  # writing piece by piece is slow
        check_text_size(size)
        return (list, "".join(write_json(value, normal=True)))
    return (bool if kind is bool else None, value)
