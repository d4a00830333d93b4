"""The environment of a program, built from nothing (execution.md section 7). Pure."""

import re
from collections.abc import Mapping
from typing import Any

from apps.workers.job_spec import Job
from apps.workers.parameters import as_text

INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
DEFAULTS = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

_NOT_IN_NAMES = re.compile(r"[^A-Z0-9]")
_TEMPLATE = re.compile(r"\{(pack_dir|env_dir|interpreter|action_file|manifest_path)\}")


def inherited(environment: Mapping[str, str], *, time_zone: str | None) -> dict[str, str]:
    """
    Return the few variables of the worker's own environment that every program gets.

    ``time_zone`` is the TZ it was started with, None without one: what ``environment`` has by now is Django's.
    """
    own = {name: environment[name] for name in INHERITED if name in environment and name != "TZ"}
    return {**DEFAULTS, **own, **({} if time_zone is None else {"TZ": time_zone})}


def render_template(template: str, values: Mapping[str, str | None]) -> str | None:
    """Fill in ``{pack_dir}`` and the like; None when a variable of it has no value here."""
    if "{" not in template:
        return template
    if any(values.get(name) is None for name in _TEMPLATE.findall(template)):
        return None
    return _TEMPLATE.sub(lambda match: values[match[1]] or "", template)


def add_runtime_variables(
    environment: dict[str, str], env_vars: Mapping[str, Any], values: Mapping[str, str | None]
) -> None:
    """Set what the runtime's ``env_vars`` say; one that names a directory which this run has not is left out."""
    for name, rule in env_vars.items():
        spec = rule if isinstance(rule, Mapping) else {"value": rule}
        value = render_template(as_text(spec.get("value")), values)
        if value is None:
            continue
        before, separator = environment.get(name), str(spec.get("separator", ":"))
        match spec.get("operation", "set"):
            case "prepend" if before:
                value = f"{value}{separator}{before}"
            case "append" if before:
                value = f"{before}{separator}{value}"
        environment[name] = value


def attune_variables(job: Job) -> dict[str, str]:
    """Return what every program is told about its run."""
    execution_id = str(job.execution_id)
    return {
        **{f"ATTUNE_CONTEXT_{_upper(key)}": _clean(as_text(value)) for key, value in job.context.items()},
        **job.attune_env,
        "ATTUNE_EXECUTION_ID": execution_id,
        "ATTUNE_EXEC_ID": execution_id,
        "ATTUNE_ACTION": job.action_ref,
        "ATTUNE_PACK_REF": job.action_ref.partition(".")[0],
        "ATTUNE_PARAMETER_DELIVERY": job.parameter_delivery,
        "ATTUNE_PARAMETER_FORMAT": job.parameter_format,
        "ATTUNE_ATTEMPT": str(job.attempt),
        "ATTUNE_TIMEOUT_SECONDS": f"{job.timeout_seconds:g}",
    }


def marks_of(job: Job) -> tuple[str, ...]:
    """Return the entries that, together, only processes of this run have in their environment."""
    directory = job.attune_env.get("ATTUNE_ARTIFACTS_DIR")
    own = f"ATTUNE_EXECUTION_ID={job.execution_id}"
    return (own, f"ATTUNE_ARTIFACTS_DIR={directory}") if directory else (own,)


def _upper(key: str) -> str:
    return _NOT_IN_NAMES.sub("_", key.upper())


def _clean(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()
