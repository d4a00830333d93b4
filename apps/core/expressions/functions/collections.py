"""Functions over arrays and objects."""

from typing import Any

from apps.core.expressions import operators, values
from apps.core.expressions.budget import Run, check_item_count, check_text_size
from apps.core.expressions.errors import ExpressionError
from apps.core.expressions.functions.base import (
    Function,
    array,
    comparable,
    integer,
    mapping,
    number,
    text,
    text_or_array,
    wrong,
)
from apps.core.expressions.values import Undefined


def _built(run: Run, count: int) -> None:
    """Check and charge an array before it is built."""
    check_item_count(count)
    run.charge(count // 4)


def length(run: Run, value: Any) -> int:
    if value.__class__ not in (str, list, dict):
        raise wrong("a string, an array or an object", value)
    return len(value)


def keys(run: Run, value: Any) -> list[str]:
    _built(run, len(mapping(value)))
    run.charge(len(value) // 4)  # for the order
    return sorted(value)


def sorted_values(run: Run, value: Any) -> list[Any]:
    return [value[key] for key in keys(run, value)]


def items(run: Run, value: Any) -> list[list[Any]]:
    run.charge(len(mapping(value)))  # an array each
    return [[key, value[key]] for key in keys(run, value)]


def contains(run: Run, container: Any, item: Any) -> bool:
    return bool(operators.is_in(run, item, container))


def reversed_(run: Run, value: Any) -> Any:
    if text_or_array(value).__class__ is str:
        check_text_size(len(value))
        run.charge_text(len(value))
    else:
        _built(run, len(value))
    return value[::-1]


def sort(run: Run, value: Any) -> list[Any]:
    check_item_count(len(array(value)))
    run.charge(len(value))
    comparable(value)
    if value and value[0].__class__ is str:
        run.charge(sum(len(item) // 16 for item in value))  # long common beginnings are read again and again
    return sorted(value)


def unique(run: Run, value: Any) -> list[Any]:
    _built(run, len(array(value)))
    found: dict[Any, Any] = {}
    for item in value:
        found.setdefault(values.identity_of(run, item), item)
    return list(found.values())


def flat(run: Run, value: Any) -> list[Any]:
    count = sum(len(item) if item.__class__ is list else 1 for item in array(value))
    _built(run, count)
    run.charge(len(value) // 4)
    return [inner for item in value for inner in (item if item.__class__ is list else (item,))]


def zip_(run: Run, left: Any, right: Any) -> list[list[Any]]:
    count = min(len(array(left)), len(array(right)))
    _built(run, count)
    run.charge(count)  # an array each
    return [list(pair) for pair in zip(left, right, strict=False)]


def range_(run: Run, first: Any, *end: Any) -> list[int]:
    start, stop = (integer(first), integer(end[0])) if end else (0, integer(first))
    _built(run, max(0, stop - start))
    return list(range(start, stop))


def slice_(run: Run, value: Any, start: Any, *end: Any) -> Any:
    return sliced(run, text_or_array(value), integer(start), integer(end[0]) if end else None)


def sliced(run: Run, value: Any, start: int | None, end: int | None) -> Any:
    """Return part of an array or string, clamped; negative places count from the end."""
    first, last, _ = slice(start, end).indices(len(value))
    count = max(0, last - first)
    if value.__class__ is str:
        check_text_size(count)
        run.charge_text(count)
    else:
        _built(run, count)
    return value[first:last]


def index_of(run: Run, container: Any, item: Any) -> int:
    if text_or_array(container).__class__ is list:
        return values.find(run, container, item)
    run.charge_text(len(container))
    return container.find(text(item))  # type: ignore[no-any-return]  # a string


def count(run: Run, container: Any, item: Any) -> int:
    if text_or_array(container).__class__ is list:
        run.charge(len(container))
        return sum(values.equals(run, other, item) for other in container)
    if not text(item):
        raise ExpressionError("cannot count the empty string")
    run.charge_text(len(container))
    return container.count(item)  # type: ignore[no-any-return]  # a string


def merge(run: Run, left: Any, right: Any) -> dict[str, Any]:
    _built(run, len(mapping(left)) + len(mapping(right)))
    return {**left, **right}


def chunks(run: Run, value: Any, size: Any) -> list[list[Any]]:
    if integer(size) < 1:
        raise ExpressionError("needs a size of at least 1")
    _built(run, len(array(value)))
    run.charge(len(value) // size)  # an array each
    return [value[start : start + size] for start in range(0, len(value), size)]


def join(run: Run, value: Any, separator: Any = "") -> str:
    size = len(text(separator)) * max(0, len(array(value)) - 1)
    check_text_size(size)
    run.charge(len(value) // 4)
    parts = []
    for item in value:
        parts.append(values.string_form(run, item))
        size += len(parts[-1])
        check_text_size(size)
    run.charge_text(size)
    return separator.join(parts)  # type: ignore[no-any-return]  # a string


def least(run: Run, first: Any, *second: Any) -> Any:
    return min(_compared(run, first, *second))


def most(run: Run, first: Any, *second: Any) -> Any:
    return max(_compared(run, first, *second))


def _compared(run: Run, first: Any, *second: Any) -> list[Any]:
    found = [first, *second] if second else array(first)
    run.charge(len(found) // 4)
    comparable(found)
    if not found:
        raise ExpressionError("needs an array that is not empty")
    return found


def total(run: Run, value: Any) -> Any:
    run.charge(len(array(value)))
    found: Any = 0
    for item in value:
        found = operators.add(run, found, number(item))
    return found


def first_of(run: Run, value: Any) -> Any:
    return text_or_array(value)[0] if value else Undefined("the first of nothing is undefined", 0)


def last_of(run: Run, value: Any) -> Any:
    return text_or_array(value)[-1] if value else Undefined("the last of nothing is undefined", 0)


def get(run: Run, value: Any, path: Any, default: Any = None) -> Any:
    """Return what stands at a dotted path; a number indexes an array. Nothing there, or undefined: the default."""
    for part in text(path).split("."):
        value = values.member_of(value, part)
        if value is values.NOTHING:
            return default
    return value


COLLECTIONS = {
    "length": Function(length, 1, 1),
    "keys": Function(keys, 1, 1),
    "values": Function(sorted_values, 1, 1),
    "contains": Function(contains, 2, 2),
    "reversed": Function(reversed_, 1, 1),
    "sort": Function(sort, 1, 1),
    "unique": Function(unique, 1, 1),
    "flat": Function(flat, 1, 1),
    "zip": Function(zip_, 2, 2),
    "range": Function(range_, 1, 2),
    "slice": Function(slice_, 2, 3),
    "index_of": Function(index_of, 2, 2),
    "count": Function(count, 2, 2),
    "merge": Function(merge, 2, 2),
    "chunks": Function(chunks, 2, 2),
    "join": Function(join, 1, 2),
    "min": Function(least, 1, 2),
    "max": Function(most, 1, 2),
    "sum": Function(total, 1, 1),
    "get": Function(get, 2, 3, accepts_missing=True),
}
COLLECTION_FILTERS = {
    "first": Function(first_of, 1, 1),
    "last": Function(last_of, 1, 1),
    "items": Function(items, 1, 1),
}
