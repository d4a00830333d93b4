"""Functions that convert values, and those over numbers."""

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

from apps.core.expressions.budget import MAX_INTEGER_BITS, Run
from apps.core.expressions.errors import ExpressionError, LimitExceeded
from apps.core.expressions.functions.base import Function, integer, number, wrong
from apps.core.expressions.operators import checked_number
from apps.core.expressions.values import is_number, kind_of, string_form

_NUMBER = re.compile(r"[+-]?(?:([0-9]+)(?:\.([0-9]*))?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MAX_DIGITS = MAX_INTEGER_BITS * 3 // 10
_MAX_PLACES = 300
_DECIMALS = Context(prec=1000, Emax=9999, Emin=-9999)  # floats have 309 digits before the point and 324 zeros after it


def string(run: Run, value: Any) -> str:
    return "null" if value is None else string_form(run, value)


def to_number(run: Run, value: Any) -> Any:
    if is_number(value):
        return value
    if value.__class__ is bool:
        return int(value)
    if value.__class__ is not str:
        raise wrong("a number, a numeric string or a boolean", value)
    written = _written(value)
    if written[2] is None and written[3] is None and written[1] is not None:
        return int(written[0])
    return checked_number(float(written[0]))


def to_integer(run: Run, value: Any) -> int:
    if value.__class__ is str:
        written = _written(value)
        if written[1] is not None and written[3] is None:  # exact, however many digits
            return int(written[0].split(".")[0])
    found = to_number(run, value)
    return found if found.__class__ is int else math.trunc(_finite(found))


def _written(value: str) -> re.Match[str]:
    stripped = value.strip() if len(value) <= 2 * _MAX_DIGITS else value
    if len(stripped) > _MAX_DIGITS:
        raise LimitExceeded(f"reads numbers of at most {_MAX_DIGITS} characters")
    written = _NUMBER.fullmatch(stripped)
    if written is None:
        raise ExpressionError("the string is no number")
    return written


def boolean(run: Run, value: Any) -> bool:
    return bool(value)


def type_of(run: Run, value: Any) -> str:
    return kind_of(value)


def absolute(run: Run, value: Any) -> Any:
    return abs(number(value))


def floor(run: Run, value: Any) -> int:
    found: int = math.floor(_finite(number(value)))
    return found


def ceil(run: Run, value: Any) -> int:
    found: int = math.ceil(_finite(number(value)))
    return found


def round_(run: Run, value: Any, digits: Any = 0) -> Any:
    """Return the number rounded half away from zero; to digits after the point as it is written: 2.675 gives 2.68."""
    number(value)
    if not -_MAX_PLACES <= integer(digits) <= _MAX_PLACES:
        raise LimitExceeded(f"rounds to at most {_MAX_PLACES} digits")
    if value.__class__ is int:
        return _round_integer(value, digits)
    exact = Decimal(repr(_finite(value))) if digits > 0 else Decimal(_finite(value))
    rounded = exact.quantize(Decimal(1).scaleb(-digits, _DECIMALS), rounding=ROUND_HALF_UP, context=_DECIMALS)
    return checked_number(float(rounded)) if digits > 0 else int(rounded)


def _round_integer(value: int, digits: int) -> int:
    if digits >= 0:
        return value
    unit: int = 10**-digits
    rounded = (abs(value) + unit // 2) // unit * unit
    return rounded if value >= 0 else -rounded


def _finite(value: Any) -> Any:
    if value.__class__ is float and not math.isfinite(value):
        raise ExpressionError("the number is not finite")
    return value


NUMBERS = {
    "string": Function(string, 1, 1),
    "number": Function(to_number, 1, 1),
    "int": Function(to_integer, 1, 1),
    "bool": Function(boolean, 1, 1),
    "type_of": Function(type_of, 1, 1),
    "abs": Function(absolute, 1, 1),
    "floor": Function(floor, 1, 1),
    "ceil": Function(ceil, 1, 1),
    "round": Function(round_, 1, 2),
}
