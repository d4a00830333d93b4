"""What may stand in an action's JSON fields, whichever way they come in: API, pack file, console. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from apps.core.errors import UnprocessableEntity
from apps.core.schemas import check_budget
from apps.workers.versions import InvalidConstraint, check_constraint

LIMITS = ("memory_mb", "cpu_seconds", "processes", "open_files", "nice", "output_bytes")
_NICE = range(-20, 20)
_LARGEST = 2**53  # what every JSON reader keeps exactly


def limits_problem(limits: Any) -> str | None:
    """Return what is wrong with ``limits``, or None."""
    if not isinstance(limits, Mapping):
        return "Must be an object."
    for name, value in limits.items():
        if name not in LIMITS:
            return f"Unknown limit '{name}'; known are {', '.join(LIMITS)}."
        if not isinstance(value, int) or isinstance(value, bool):
            return f"{name} must be a whole number."
        if name == "nice" and value not in _NICE:
            return "nice must be from -20 to 19."
        if name != "nice" and not 1 <= value <= _LARGEST:
            return f"{name} must be at least 1."
    return None


def ambient_keys_problem(value: Any) -> str | None:
    """Return what is wrong with ``ambient_keys``, or None."""
    if value in ("all", "none") or (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        return None
    return "Must be 'all', 'none' or a list of key names."


def texts_problem(value: Any) -> str | None:
    """Return what is wrong with a list of texts, or None."""
    if isinstance(value, list) and all(isinstance(entry, str) and entry for entry in value):
        return None
    return "Must be a list of texts."


def constraint_problem(constraint: Any) -> str | None:
    """Return what is wrong with a version range, or None."""
    if not isinstance(constraint, str):
        return "Must be a version range such as '>=3.12,<4.0'."
    try:
        check_constraint(constraint)
    except InvalidConstraint as error:
        return str(error)
    return None


def required_runtimes_problem(value: Any) -> str | None:
    """Return what is wrong with ``required_worker_runtimes``, or None."""
    if not isinstance(value, Mapping):
        return "Must be an object of version ranges."
    for name, constraint in value.items():
        problem = None if constraint == "*" else constraint_problem(constraint)
        if problem:
            return f"{name}: {problem}"
    return None


def schema_problem(schema: Any) -> str | None:
    """Return what is wrong with a parameter schema, or None; its content is taken as it is."""
    if schema is None:
        return None
    if not isinstance(schema, Mapping):
        return "Must be an object."
    try:
        check_budget(schema)
    except UnprocessableEntity as error:
        return error.message
    return None


def problems(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (field, problem) for the JSON fields among these."""
    checks = {
        "limits": limits_problem,
        "ambient_keys": ambient_keys_problem,
        "semaphores": texts_problem,
        "default_execution_permission_set_refs": texts_problem,
        "required_worker_runtimes": required_runtimes_problem,
        "param_schema": schema_problem,
        "out_schema": schema_problem,
    }
    for name, check in checks.items():
        if name in fields and (problem := check(fields[name])):
            yield name, problem
    constraint = fields.get("runtime_version_constraint")
    if constraint is not None and (problem := constraint_problem(constraint)):
        yield "runtime_version_constraint", problem
