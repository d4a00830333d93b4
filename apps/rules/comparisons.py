"""The operators of list entries: what a field of the payload is compared with, and how (events.md section 4)."""

from collections.abc import Callable, Mapping
from typing import Any

from apps.core.expressions import NOTHING
from apps.core.expressions.budget import Run
from apps.core.expressions.patterns import search
from apps.core.expressions.values import contains, equals, find, precedes
from apps.rules.criteria import Entry


def entry_holds(run: Run, entry: Entry, actual: Any) -> bool:
    """Return whether a field that holds this, or NOTHING, passes. An unknown operator never does."""
    if actual is NOTHING:
        return entry.operator == "not_exists"
    operate = _OPERATIONS.get(entry.operator)
    return operate is not None and operate(run, actual, entry.value)


def _contains(run: Run, actual: Any, value: Any) -> bool:
    return not isinstance(actual, dict) and contains(run, actual, value) is True


def _is_in(run: Run, actual: Any, value: Any) -> bool:
    return isinstance(value, list) and find(run, value, actual) >= 0


def _is_not_in(run: Run, actual: Any, value: Any) -> bool:
    return isinstance(value, list) and find(run, value, actual) < 0


def _precedes(run: Run, first: Any, second: Any) -> bool | None:
    """Return whether the first is less; None unless both are numbers or both are strings."""
    return None if isinstance(first, list) else precedes(run, first, second)


def _both_strings(check: Callable[[Run, str, str], bool]) -> Callable[[Run, Any, Any], bool]:
    return lambda run, actual, value: isinstance(actual, str) and isinstance(value, str) and check(run, actual, value)


_OPERATIONS: Mapping[str, Callable[[Run, Any, Any], bool]] = {
    "equals": equals,
    "not_equals": lambda run, actual, value: not equals(run, actual, value),
    "contains": _contains,
    "gt": lambda run, actual, value: _precedes(run, value, actual) is True,
    "gte": lambda run, actual, value: _precedes(run, actual, value) is False,
    "lt": lambda run, actual, value: _precedes(run, actual, value) is True,
    "lte": lambda run, actual, value: _precedes(run, value, actual) is False,
    "in": _is_in,
    "not_in": _is_not_in,
    "starts_with": _both_strings(lambda run, actual, value: actual.startswith(value)),
    "ends_with": _both_strings(lambda run, actual, value: actual.endswith(value)),
    "matches": _both_strings(lambda run, actual, value: search(run, value, actual)),
    "exists": lambda run, actual, value: True,
    "not_exists": lambda run, actual, value: False,
}
