"""What is a parameter in an execution's ``config`` (execution.md section 2). Pure."""

from collections.abc import Mapping
from typing import Any

from apps.core.schemas import to_json_schema


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
