"""Everything an expression can call: functions, filters, tests. Nothing else exists."""

from collections.abc import Callable, Mapping
from typing import Any

from apps.core.expressions.functions.base import Function
from apps.core.expressions.functions.collections import COLLECTION_FILTERS, COLLECTIONS
from apps.core.expressions.functions.encodings import ENCODING_FILTERS, ENCODINGS
from apps.core.expressions.functions.numbers import NUMBERS
from apps.core.expressions.functions.strings import STRING_FILTERS, STRINGS
from apps.core.expressions.values import is_number

# The value, what stands for it when it is missing, and true when it also stands for what is false. The parser makes
# a form of its own of it, since the second argument is evaluated only when it is needed.
DEFAULT = Function(lambda run, value, default, every_false=False: value, 2, 3, accepts_missing=True)

FUNCTIONS: Mapping[str, Function] = {**NUMBERS, **COLLECTIONS, **STRINGS, **ENCODINGS, "default": DEFAULT}

# The first argument of a filter is the value left of the bar; for `match` that would be the pattern, for `now` none.
FILTERS: Mapping[str, Function] = {
    **{name: function for name, function in FUNCTIONS.items() if name not in ("match", "now")},
    **COLLECTION_FILTERS,
    **STRING_FILTERS,
    **ENCODING_FILTERS,
    "d": DEFAULT,
}

# `defined` and `undefined` are tests too, of what these never see.
TESTS: Mapping[str, Callable[[Any], bool]] = {
    "none": lambda value: value is None,
    "true": lambda value: value is True,
    "false": lambda value: value is False,
    "boolean": lambda value: value.__class__ is bool,
    "number": is_number,
    "integer": lambda value: value.__class__ is int,
    "float": lambda value: value.__class__ is float,
    "string": lambda value: value.__class__ is str,
    "sequence": lambda value: value.__class__ is list,
    "mapping": lambda value: value.__class__ is dict,
}

__all__ = ["DEFAULT", "FILTERS", "FUNCTIONS", "TESTS", "Function"]
