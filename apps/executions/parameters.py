"""What is a parameter in an execution's ``config`` (execution.md section 2). Pure."""

from collections.abc import Mapping
from typing import Any

from apps.core.schemas import to_json_schema
from apps.workers.environment_names import check_env_vars


def declared_names(param_schema: Any) -> frozenset[str]:
    """Return the names of the parameters that a schema of either shape declares."""
    schema = to_json_schema(param_schema)
    return frozenset((schema or {}).get("properties") or {})


def parameters_of(config: Any, param_schema: Any) -> dict[str, Any]:
    """
    Return the parameter map of a ``config``.

    An object under ``parameters`` is the map; otherwise the whole object is, without ``context`` and ``env``. A name
    among these three that the schema declares is an ordinary parameter.
    """
    if not isinstance(config, Mapping):
        return {}
    declared = declared_names(param_schema)
    nested = config.get("parameters")
    if "parameters" not in declared and isinstance(nested, Mapping):
        return dict(nested)
    return {key: value for key, value in config.items() if key in declared or key not in ("context", "env")}


def special_of(config: Any, param_schema: Any, name: str) -> dict[str, Any]:
    """Return the object under ``context`` or ``env`` of a ``config``, {} when it is none or an ordinary parameter."""
    if not isinstance(config, Mapping) or name in declared_names(param_schema):
        return {}
    found = config.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def own_variables(config: Any, env_vars: Any, param_schema: Any) -> tuple[dict[str, str], list[str]]:
    """
    Return the environment variables that a request gives its program, and the names of those that are left out.

    The API refuses what no request may set; where nothing can be refused (rules, workflows, queues, plain SQL) such
    entries are left out (execution.md section 7).
    """
    given = {**special_of(config, param_schema, "env"), **(env_vars if isinstance(env_vars, Mapping) else {})}
    left_out: list[str] = []
    while given and (problems := check_env_vars(given)):
        left_out += [name for name in given if name in problems]
        given = {name: value for name, value in given.items() if name not in problems}
    return given, left_out


def left_out_text(config: Any, env_vars: Any, param_schema: Any) -> str | None:
    """Return the sentence for the history about variables that are left out, None when there are none."""
    if not env_vars and not (isinstance(config, Mapping) and "env" in config):
        return None  # nearly always; the schema need not be read
    _given, left_out = own_variables(config, env_vars, param_schema)
    return f"environment variables left out: {', '.join(left_out)}" if left_out else None
