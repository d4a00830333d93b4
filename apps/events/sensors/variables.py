"""The variables a sensor gets besides those of every program (events.md section 11). Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apps.core.markers import marked
from apps.core.schemas import secret_paths
from apps.workers.parameters import as_text

LONGEST_VALUE_BYTES = 128 * 1024 - 64  # the kernel takes no variable of 128 KiB or more, its name included
_NOT_IN_NAMES = re.compile(r"[^A-Z0-9]")


class TooManyRules(Exception):
    """The rules of the sensor do not fit into an environment variable."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a sensor is told about the product."""

    api_url: str
    artifacts_dir: str
    log_level: str


def secrets_of(config: Any, param_schema: Any, *, token: str) -> list[Any]:
    """Return what a sensor is given and must not be seen in its logs: its token, and what its schema calls secret."""
    _shown, secret = marked(config, secret_paths(param_schema, config) if param_schema else ())
    return [token, *secret.values()]


def sensor_variables(
    *, sensor_id: int, sensor_ref: str, token: str, config: Any, surroundings: Surroundings
) -> dict[str, str]:
    """Return the variables that say who the sensor is and whom it reports to."""
    return {
        **config_variables(config),
        "ATTUNE_API_URL": surroundings.api_url,
        "ATTUNE_API_TOKEN": token,
        "ATTUNE_SENSOR_ID": str(sensor_id),
        "ATTUNE_SENSOR_REF": sensor_ref,
        "ATTUNE_ARTIFACTS_DIR": surroundings.artifacts_dir,
        "ATTUNE_LOG_LEVEL": surroundings.log_level,
    }


def config_variables(config: Any) -> dict[str, str]:
    """Return ``ATTUNE_SENSOR_CONFIG_<KEY>`` for each key of a sensor's configuration."""
    if not isinstance(config, Mapping):
        return {}
    return {f"ATTUNE_SENSOR_CONFIG_{_upper(str(key))}": _clean(as_text(value)) for key, value in config.items()}


def triggers_variable(rules: Sequence[Mapping[str, Any]], *, follows_changes: bool) -> str:
    """
    Return ``ATTUNE_SENSOR_TRIGGERS``: the rules as JSON.

    When they do not fit, a sensor that follows their changes begins with none, since it asks for them anyway; for
    any other TooManyRules is raised.
    """
    text = json.dumps(rules, separators=(",", ":"))  # ASCII: a variable cannot hold everything a text can
    if len(text) <= LONGEST_VALUE_BYTES:
        return text
    if follows_changes:
        return "[]"
    raise TooManyRules(
        f"Its {len(rules)} rules take {len(text) // 1024} KiB, more than an environment variable can hold (128 KiB). "
        "A sensor with `hot_reload: true` gets them over HTTP."
    )


def _upper(key: str) -> str:
    return _NOT_IN_NAMES.sub("_", key.upper())


def _clean(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()
