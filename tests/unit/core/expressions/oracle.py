"""
A second evaluator of expressions, written to be obviously right rather than quick: a tree of tuples, walked.

Shares no code with the product. ``show`` writes a tree as text with no more brackets than the grammar asks for.
"""

import json
import math
from typing import Any


class Refused(Exception):
    """The expression has no value."""


class Nothing:
    """What is not there."""


NOTHING = Nothing()

LEVELS = {
    "if": 0, "or": 1, "and": 2, "not": 3,
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "in", "not in", "is"), 4),
    **dict.fromkeys(("+", "-", "~"), 5), **dict.fromkeys(("*", "/", "//", "%"), 6), "neg": 7,
}  # fmt: skip
PRIMARY = 8


def level(tree: tuple) -> int:
    return LEVELS.get(tree[0], PRIMARY)


def show(tree: tuple, least: int = 0) -> str:
    text = _show(tree)
    return f"({text})" if level(tree) < least else text


def _show(tree: tuple) -> str:
    match tree:
        case ("value", value):
            return literal(value)
        case ("name", name):
            return name
        case ("list", items):
            return f"[{', '.join(show(item) for item in items)}]"
        case ("dict", entries):
            return "{" + ", ".join(f"{literal(key)}: {show(value)}" for key, value in entries) + "}"
        case ("member", base, key):
            return f"{show(base, PRIMARY)}.{key}"
        case ("index", base, key):
            return f"{show(base, PRIMARY)}[{show(key)}]"
        case ("filter", base, name, arguments):
            given = f"({', '.join(show(argument) for argument in arguments)})" if arguments else ""
            return f"{show(base, PRIMARY)} | {name}{given}"
        case ("neg", operand):
            return f"-{show(operand, LEVELS['neg'])}"
        case ("not", operand):
            return f"not {show(operand, LEVELS['not'])}"
        case ("if", value, condition, other):
            return f"{show(value, 1)} if {show(condition, 1)} else {show(other, 0)}"
        case ("is", operand, name):
            return f"{show(operand, 4)} is {name}"
        case (symbol, left, right):  # from left to right: only the right side needs brackets at the same level
            return f"{show(left, LEVELS[symbol])} {symbol} {show(right, LEVELS[symbol] + 1)}"
    raise AssertionError(tree)


def literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
    return json.dumps(value)


def kind(value: Any) -> str:
    for name, types in (
        ("null", type(None)),
        ("bool", bool),
        ("number", (int, float)),
        ("string", str),
        ("array", list),
    ):
        if isinstance(value, types):
            return name
    return "object"


def there(value: Any) -> Any:
    if value is NOTHING:
        raise Refused("undefined")
    return value


def evaluate(tree: tuple, roots: dict) -> Any:
    """Return the value of a whole expression. Raises Refused."""
    return there(walk(tree, roots))


def walk(tree: tuple, roots: dict) -> Any:
    match tree:
        case ("value", value):
            return value
        case ("name", name):
            return roots.get(name, NOTHING)
        case ("list", items):
            return [there(walk(item, roots)) for item in items]
        case ("dict", entries):
            return {key: there(walk(value, roots)) for key, value in entries}
        case ("member", base, key):
            return member(there(walk(base, roots)), key)
        case ("index", base, key):
            return index(walk(base, roots), walk(key, roots))
        case ("filter", base, "default", arguments):
            found = walk(base, roots)
            return walk(arguments[0], roots) if found is NOTHING else found
        case ("filter", base, "length", _):
            return length(there(walk(base, roots)))
        case ("neg", operand):
            return -number(there(walk(operand, roots)))
        case ("not", operand):
            return not there(walk(operand, roots))
        case ("and", left, right):
            found = there(walk(left, roots))
            return walk(right, roots) if found else found
        case ("or", left, right):
            found = there(walk(left, roots))
            return found if found else walk(right, roots)
        case ("if", value, condition, other):
            return walk(value if there(walk(condition, roots)) else other, roots)
        case ("is", operand, "defined"):
            return walk(operand, roots) is not NOTHING
        case ("is", operand, name):
            return TESTS[name](there(walk(operand, roots)))
        case (symbol, left, right):
            return binary(symbol, walk(left, roots), walk(right, roots))
    raise AssertionError(tree)


TESTS = {
    "none": lambda value: value is None,
    "string": lambda value: kind(value) == "string",
    "number": lambda value: kind(value) == "number",
    "sequence": lambda value: kind(value) == "array",
    "mapping": lambda value: kind(value) == "object",
}


def member(base: Any, key: str) -> Any:
    if isinstance(base, dict):
        return base.get(key, NOTHING)
    return NOTHING


def index(base: Any, key: Any) -> Any:
    there(key), there(base)
    if kind(key) not in ("string", "number") or isinstance(key, float):
        raise Refused("index")
    if isinstance(key, str):
        return member(base, key)
    if isinstance(base, list | str) and -len(base) <= key < len(base):
        return base[key]
    return NOTHING


def length(value: Any) -> int:
    if kind(value) not in ("string", "array", "object"):
        raise Refused("length")
    return len(value)


def number(value: Any) -> Any:
    if kind(value) != "number":
        raise Refused("no number")
    return value


def binary(symbol: str, left: Any, right: Any) -> Any:
    left, right = there(left), there(right)
    match symbol:
        case "==":
            return same(left, right)
        case "!=":
            return not same(left, right)
        case "<":
            return less(left, right)
        case ">":
            return less(right, left)
        case "<=":
            return not less(right, left)
        case ">=":
            return not less(left, right)
        case "in":
            return inside(left, right)
        case "not in":
            return not inside(left, right)
        case "~":
            return form(left) + form(right)
        case "+" if kind(left) == kind(right) and kind(left) in ("string", "array"):
            return left + right
    return arithmetic(symbol, number(left), number(right))


def same(left: Any, right: Any) -> bool:
    if kind(left) != kind(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(same(*pair) for pair in zip(left, right, strict=True))
    if isinstance(left, dict):
        return set(left) == set(right) and all(same(left[key], right[key]) for key in left)
    return left == right


def less(left: Any, right: Any) -> bool:
    if kind(left) != kind(right) or kind(left) not in ("number", "string", "array"):
        raise Refused("no order")
    if isinstance(left, list):
        for first, second in zip(left, right, strict=False):
            if not same(first, second):
                return less(first, second)
        return len(left) < len(right)
    return left < right


def inside(item: Any, container: Any) -> bool:
    match kind(container), kind(item):
        case "array", _:
            return any(same(item, other) for other in container)
        case (("object" | "string"), "string"):
            return item in container
    raise Refused("in")


def form(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def arithmetic(symbol: str, left: Any, right: Any) -> Any:
    try:
        match symbol:
            case "+":
                found = left + right
            case "-":
                found = left - right
            case "*":
                found = left * right
            case "%":
                found = left % right
            case "//":
                found = left // right
            case _:
                exact = isinstance(left, int) and isinstance(right, int) and left % right == 0
                found = left // right if exact else left / right
    except (ZeroDivisionError, OverflowError) as error:
        raise Refused("arithmetic") from error
    if not math.isfinite(found) if isinstance(found, float) else abs(found) >= 2**4096:
        raise Refused("size")
    return found
