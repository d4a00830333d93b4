"""What may stand in a policy, whichever way it comes in: API, pack file, console. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

MOST_PARAMETERS = 20
_LONGEST_NAME = 255

NO_LIMIT = "A policy needs threshold, max_executions with window_seconds, or max_waiting"
HALF_A_RATE = "max_executions and window_seconds belong together"
SEVERAL_SCOPES = "At most one of action_ref, pack_ref, action_refs and semaphore may be given"


def names_problem(value: Any, *, most: int | None = None) -> str | None:
    """Return what is wrong with a list of names, or None."""
    if not isinstance(value, list) or not all(isinstance(name, str) and name.strip() for name in value):
        return "Must be a list of names."
    if any(len(name) > _LONGEST_NAME or "\x00" in name for name in value):
        return f"A name has at most {_LONGEST_NAME} characters."
    return f"At most {most} names." if most is not None and len(value) > most else None


def problems(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (field, problem) for the lists among these."""
    for name, most in (("parameters", MOST_PARAMETERS), ("action_refs", None), ("tags", None)):
        if name in fields and (problem := names_problem(fields[name], most=most)):
            yield name, problem


def limits_problem(fields: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the limits together, or None."""
    if (fields.get("max_executions") is None) != (fields.get("window_seconds") is None):
        return HALF_A_RATE
    return (
        None
        if any(fields.get(name) is not None for name in ("threshold", "max_executions", "max_waiting"))
        else NO_LIMIT
    )
