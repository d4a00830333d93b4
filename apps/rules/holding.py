"""What may stand in ``dedupe``, ``aggregate`` and ``throttle`` of a rule (events.md section 6). Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

KINDS = ("dedupe", "aggregate", "throttle")
_LONGEST_WINDOW_SECONDS = 604_800
_LONGEST_KEY = 8192  # as long as an expression may be
_LARGEST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class _Field:
    check: Callable[[Any], str | None]
    required: bool = False


def _whole_number(lowest: int, highest: int = _LARGEST) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if type(value) is int and lowest <= value <= highest:
            return None
        return f"Must be a whole number from {lowest} to {highest}."

    return check


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "Must be true or false."


def _key(value: Any) -> str | None:
    if isinstance(value, str) and 1 <= len(value) <= _LONGEST_KEY:
        return None
    return f"Must be a text of 1 to {_LONGEST_KEY} characters."


def _on_limit(value: Any) -> str | None:
    return None if value in ("drop", "delay") else "Must be 'drop' or 'delay'."


_WINDOW = _Field(check=_whole_number(1, _LONGEST_WINDOW_SECONDS), required=True)
_FIELDS: dict[str, dict[str, _Field]] = {
    "dedupe": {"key": _Field(check=_key, required=True), "window_seconds": _WINDOW, "extend": _Field(check=_flag)},
    "aggregate": {
        "count": _Field(check=_whole_number(2, 10_000), required=True),
        "window_seconds": _WINDOW,
        "key": _Field(check=_key),
    },
    "throttle": {
        "max": _Field(check=_whole_number(1), required=True),
        "window_seconds": _WINDOW,
        "key": _Field(check=_key),
        "on_limit": _Field(check=_on_limit),
        "max_delayed": _Field(check=_whole_number(0)),
    },
}


def without_nulls(settings: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the settings without keys that are null: they mean the same as no key."""
    return None if settings is None else {key: value for key, value in settings.items() if value is not None}


def holding_problems(kind: str, settings: Any) -> list[tuple[str, str]]:
    """Return (field, problem) for all that is wrong with one of the three objects; null is none of them."""
    if settings is None:
        return []
    if not isinstance(settings, Mapping):
        return [(kind, "Must be an object or null.")]
    fields = _FIELDS[kind]
    given = without_nulls(settings) or {}
    unknown = [(f"{kind}.{name}", f"Unknown; known are {', '.join(fields)}.") for name in given if name not in fields]
    missing = [
        (f"{kind}.{name}", "This field is required.")
        for name, field in fields.items()
        if field.required and name not in given
    ]
    wrong = [
        (f"{kind}.{name}", problem)
        for name, field in fields.items()
        if name in given and (problem := field.check(given[name]))
    ]
    return [*unknown, *missing, *wrong]
