"""Regular expressions in linear time (RE2 syntax: no look-around, no back-references)."""

from functools import lru_cache
from typing import Any

import re2

from apps.core.expressions.budget import Run
from apps.core.expressions.errors import ExpressionError, LimitExceeded

MAX_PATTERN = 1000  # characters
_MAX_MEMORY = 1024 * 1024  # of one compiled pattern and its automaton; refuses a few thousand nested repetitions
_INSTRUCTIONS_PER_STEP = 512  # instruction times byte, the worst case: some 3 microseconds


def _options() -> Any:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    options.never_capture = True
    return options


@lru_cache(maxsize=128)
def _compiled(pattern: str) -> Any:
    return re2.compile(pattern, _options())


def search(run: Run, pattern: str, text: str) -> bool:
    """Return whether the pattern is found anywhere in the text. Raises ExpressionError for what is no pattern."""
    if len(pattern) > MAX_PATTERN:
        raise LimitExceeded(f"a pattern has at most {MAX_PATTERN:,} characters")
    run.charge(100 + len(pattern))
    try:
        compiled = _compiled(pattern)
    except (re2.error, UnicodeEncodeError) as error:
        raise ExpressionError(f"the pattern cannot be used: {_reason(error)}") from None
    run.charge(compiled.programsize * (len(text) + 1) // _INSTRUCTIONS_PER_STEP)
    try:
        return compiled.search(text) is not None
    except UnicodeEncodeError:
        raise ExpressionError("the text holds half a surrogate pair") from None


def _reason(error: Exception) -> str:
    """Return what is wrong, without the part of the pattern that follows it: a pattern may be a secret."""
    told = error.args[0] if error.args else ""
    text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    return text.partition(": ")[0]
