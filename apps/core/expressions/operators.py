"""What the operators do with their operands. Missing ones: errors in strict places, otherwise see ``_missing``."""

import math
from collections.abc import Callable
from typing import Any

from apps.core.expressions.budget import MAX_INTEGER_BITS, Run, check_item_count, check_text_size
from apps.core.expressions.errors import ExpressionError, LimitExceeded
from apps.core.expressions.values import Undefined, contains, equals, is_number, kind_of, precedes, string_form

Operator = Callable[[Run, Any, Any], Any]

_SMALL = 1 << 256  # no need to look at the size of what is below


def truth(run: Run, value: Any) -> bool:
    """Return whether a value is true. Raises UndefinedValue for a missing one in a strict place."""
    if value.__class__ is Undefined and not run.lenient:
        raise value.error()
    return bool(value)


def _missing(run: Run, *operands: Any) -> Undefined | None:
    """
    Return the operand that is missing, None when all are there. Raises UndefinedValue in a strict place.

    In a lenient place what is made of a missing value is missing too, so that a default can follow. Only where null
    means something (``==``, ``~``, truth, elements of literals) a missing value counts as null.
    """
    for operand in operands:
        if operand.__class__ is Undefined:
            if not run.lenient:
                raise operand.error()
            return operand
    return None


def _mismatch(run: Run, symbol: str, needs: str, left: Any, right: Any) -> Undefined:
    missing = _missing(run, left, right)
    if missing is not None:
        return missing
    raise ExpressionError(f"'{symbol}' needs {needs}, not {kind_of(left)} and {kind_of(right)}")


# --- Arithmetic -------------------------------------------------------------------------------------------------


def checked_number(number: Any) -> Any:
    """Return a number that arithmetic made. Raises LimitExceeded when it is too large, or not finite."""
    if number.__class__ is int:
        if not -_SMALL < number < _SMALL:
            _refuse_bits(number.bit_length())
    elif not math.isfinite(number):
        raise LimitExceeded("the number would not be finite")
    return number


def _refuse_bits(bits: int) -> None:
    if bits > MAX_INTEGER_BITS:
        raise LimitExceeded(f"would make an integer of more than {MAX_INTEGER_BITS} bits")


def add(run: Run, left: Any, right: Any) -> Any:
    kind = left.__class__
    if is_number(left) and is_number(right):
        return _calculated(lambda: left + right)
    if kind is str and right.__class__ is str:
        check_text_size(len(left) + len(right))
        run.charge_text(len(left) + len(right))
        return left + right
    if kind is list and right.__class__ is list:
        check_item_count(len(left) + len(right))
        run.charge((len(left) + len(right)) // 16)
        return left + right
    return _mismatch(run, "+", "two numbers, two strings or two arrays", left, right)


def subtract(run: Run, left: Any, right: Any) -> Any:
    if is_number(left) and is_number(right):
        return _calculated(lambda: left - right)
    return _mismatch(run, "-", "two numbers", left, right)


def multiply(run: Run, left: Any, right: Any) -> Any:
    if not (is_number(left) and is_number(right)):
        return _mismatch(run, "*", "two numbers", left, right)
    if left.__class__ is int and right.__class__ is int:
        _refuse_bits(left.bit_length() + right.bit_length() - 1)
    return _calculated(lambda: left * right)


def divide(run: Run, left: Any, right: Any) -> Any:
    if not (is_number(left) and is_number(right)):
        return _mismatch(run, "/", "two numbers", left, right)
    _refuse_zero(right)
    if left.__class__ is int and right.__class__ is int and left % right == 0:
        return _calculated(lambda: left // right)
    return _calculated(lambda: left / right)


def divide_floor(run: Run, left: Any, right: Any) -> Any:
    if not (is_number(left) and is_number(right)):
        return _mismatch(run, "//", "two numbers", left, right)
    _refuse_zero(right)
    return _calculated(lambda: left // right)


def modulo(run: Run, left: Any, right: Any) -> Any:
    if not (is_number(left) and is_number(right)):
        return _mismatch(run, "%", "two numbers", left, right)
    _refuse_zero(right)
    return _calculated(lambda: left % right)


def negate(run: Run, value: Any) -> Any:
    if is_number(value):
        return -value
    missing = _missing(run, value)
    if missing is not None:
        return missing
    raise ExpressionError(f"'-' needs a number, not {kind_of(value)}")


def _calculated(calculate: Callable[[], Any]) -> Any:
    try:
        return checked_number(calculate())
    except OverflowError:  # an integer that no float holds
        raise LimitExceeded("the number would not be finite") from None


def _refuse_zero(number: Any) -> None:
    if number == 0:
        raise ExpressionError("division by zero")


# --- Text -------------------------------------------------------------------------------------------------------


def concatenate(run: Run, left: Any, right: Any) -> str:
    if not run.lenient:
        _missing(run, left, right)
    first = "" if left.__class__ is Undefined else string_form(run, left)
    second = "" if right.__class__ is Undefined else string_form(run, right)
    check_text_size(len(first) + len(second))
    run.charge_text(len(first) + len(second))
    return first + second


# --- Comparison -------------------------------------------------------------------------------------------------


def equal(run: Run, left: Any, right: Any) -> bool:
    kind = left.__class__
    if kind is right.__class__ and (kind is str or kind is int):
        return bool(left == right)
    if _missing(run, left, right) is not None:
        left = None if left.__class__ is Undefined else left
        right = None if right.__class__ is Undefined else right
    return equals(run, left, right)


def unequal(run: Run, left: Any, right: Any) -> bool:
    return not equal(run, left, right)


def less(run: Run, left: Any, right: Any) -> Any:
    return _ordered(run, "<", left, right)


def greater(run: Run, left: Any, right: Any) -> Any:
    return _ordered(run, ">", left, right)


def at_most(run: Run, left: Any, right: Any) -> Any:
    return _ordered(run, "<=", left, right)


def at_least(run: Run, left: Any, right: Any) -> Any:
    return _ordered(run, ">=", left, right)


def _ordered(run: Run, symbol: str, left: Any, right: Any) -> Any:
    # left > right is right < left; left <= right is not right < left, for there is no NaN.
    first, second = (left, right) if symbol in ("<", ">=") else (right, left)
    before = precedes(run, first, second)
    if before is None:
        return _mismatch(run, symbol, "two numbers, two strings or two arrays of such", left, right)
    return before if symbol in ("<", ">") else not before


def is_in(run: Run, item: Any, container: Any) -> Any:
    if container.__class__ is list and item.__class__ is Undefined:
        _missing(run, item)
        item = None
    found = None if item.__class__ is Undefined else contains(run, container, item)
    if found is None:
        return _mismatch(run, "in", "an array, or a string and a string or an object", item, container)
    return found


def is_not_in(run: Run, item: Any, container: Any) -> Any:
    found = is_in(run, item, container)
    return found if found.__class__ is Undefined else not found


ARITHMETIC: dict[str, Operator] = {
    "+": add, "-": subtract, "~": concatenate, "*": multiply, "/": divide, "//": divide_floor, "%": modulo,
}  # fmt: skip
COMPARISONS: dict[str, Operator] = {
    "==": equal, "!=": unequal, "<": less, ">": greater, "<=": at_most, ">=": at_least,
    "in": is_in, "not in": is_not_in,
}  # fmt: skip
