"""Functions over strings."""

import re
from typing import Any

from apps.core.expressions import patterns
from apps.core.expressions.budget import Run, check_item_count, check_text_size
from apps.core.expressions.errors import ExpressionError
from apps.core.expressions.functions.base import Function, integer, text

_WORD = re.compile(r"[^\s\-(\[{<]+")
_LINE_END = re.compile(r"\r\n|\n|\r")


def _read(run: Run, value: Any) -> str:
    """Return a string that an equally long one is made of."""
    check_text_size(len(text(value)))
    run.charge_text(len(value) * (1 if value.isascii() else 8))
    return value  # type: ignore[no-any-return]  # just looked at


def _made(value: str) -> str:
    check_text_size(len(value))  # a letter in the other case may be up to three characters
    return value


def lower(run: Run, value: Any) -> str:
    return _made(_read(run, value).lower())


def upper(run: Run, value: Any) -> str:
    return _made(_read(run, value).upper())


def trim(run: Run, value: Any) -> str:
    return _read(run, value).strip()


def title(run: Run, value: Any) -> str:
    run.charge(len(text(value)) // 8)
    return _made(_WORD.sub(lambda word: word[0][0].upper() + word[0][1:].lower(), _read(run, value)))


def capitalize(run: Run, value: Any) -> str:
    read = _read(run, value)
    return _made(read[:1].upper() + read[1:].lower())


def split(run: Run, value: Any, separator: Any) -> list[str]:
    if not text(separator):
        raise ExpressionError("cannot split at the empty string")
    count = _read(run, value).count(separator) + 1
    check_item_count(count)
    run.charge(count // 4)
    return value.split(separator)  # type: ignore[no-any-return]  # a string


def replace(run: Run, value: Any, old: Any, new: Any) -> str:
    if not text(old):
        raise ExpressionError("cannot replace the empty string")
    run.charge_text(len(text(value)))
    count = value.count(old)
    size = len(value) + count * (len(text(new)) - len(old))
    check_text_size(size)
    run.charge_text(size)
    run.charge(count // 16)
    return value.replace(old, new)  # type: ignore[no-any-return]  # a string


def starts_with(run: Run, value: Any, beginning: Any) -> bool:
    return text(value).startswith(text(beginning))


def ends_with(run: Run, value: Any, ending: Any) -> bool:
    return text(value).endswith(text(ending))


def match(run: Run, pattern: Any, value: Any) -> bool:
    return patterns.search(run, text(pattern), text(value))


def lines(run: Run, value: Any) -> list[str]:
    """Return the lines of a text; an end of line at its end begins no further one."""
    read = _read(run, value)
    check_item_count(read.count("\n") + read.count("\r") // 2)
    run.charge((read.count("\n") + read.count("\r")) // 2)
    found = _LINE_END.split(read)
    check_item_count(len(found))
    return found[:-1] if found[-1] == "" else found


def truncate(run: Run, value: Any, size: Any) -> str:
    """Return at most ``size`` characters; what was cut ends in three dots."""
    if integer(size) < 0:
        raise ExpressionError("needs a length of at least 0")
    if len(text(value)) <= size:
        return value  # type: ignore[no-any-return]  # a string
    check_text_size(size)
    run.charge_text(size)
    return f"{value[: max(0, size - 3)]}..."[:size]


STRINGS = {
    "lower": Function(lower, 1, 1),
    "upper": Function(upper, 1, 1),
    "trim": Function(trim, 1, 1),
    "split": Function(split, 2, 2),
    "replace": Function(replace, 3, 3),
    "starts_with": Function(starts_with, 2, 2),
    "ends_with": Function(ends_with, 2, 2),
    "match": Function(match, 2, 2),
}
STRING_FILTERS = {
    "lines": Function(lines, 1, 1),
    "title": Function(title, 1, 1),
    "capitalize": Function(capitalize, 1, 1),
    "truncate": Function(truncate, 2, 2),
}
