"""Which configuration of a runtime a run gets: that of the version chosen for it (packs.md section 7)."""

import time
from collections.abc import Mapping
from typing import Any

from apps.workers.fitness import read_capabilities
from apps.workers.job_spec import RuntimeSpec
from apps.workers.models import Runtime, RuntimeVersion
from apps.workers.versions import highest, satisfies

_REMEMBER_SECONDS = 10.0  # a version that a pack brings is used after so long at the latest

_known: dict[tuple[Any, ...], tuple[float, RuntimeSpec]] = {}


def runtime_spec(runtime: Runtime, constraint: str | None, capabilities: Mapping[str, Any]) -> RuntimeSpec:
    """
    Return the runtime as this worker runs it.

    With a constraint: the highest version that satisfies it and that the worker has. Without: the default version, or
    the highest the worker has when it lacks the default. None of the known versions: the runtime's base configuration.
    """
    offered = tuple(sorted(_offered(runtime, capabilities)))
    key = (runtime.pk, runtime.updated, constraint, offered)
    known = _known.get(key)
    if known is not None and time.monotonic() - known[0] < _REMEMBER_SECONDS:
        return known[1]
    version = _choose(list(runtime.versions.all()), constraint, offered)
    config = dict(runtime.execution_config)
    if version is not None:
        config = laid_over(config, version.execution_config)
    spec = RuntimeSpec(
        name=runtime.name,
        aliases=tuple(runtime.aliases),
        execution_config=config,
        version=version.version if version is not None else None,
    )
    if len(_known) > 1000:
        _known.clear()
    _known[key] = (time.monotonic(), spec)
    return spec


def _offered(runtime: Runtime, capabilities: Mapping[str, Any]) -> set[str]:
    runtimes, _labels, _taints = read_capabilities(capabilities)
    return {version for name in runtime.names for version in runtimes.get(name, ())}


def _choose(versions: list[RuntimeVersion], constraint: str | None, offered: tuple[str, ...]) -> RuntimeVersion | None:
    """A row stands for all versions that begin like it: 3.12 for 3.12.7."""
    wanted = constraint or "*"
    fitting = {
        row.version: row
        for row in versions
        if any(satisfies(version, row.version) and satisfies(version, wanted) for version in offered)
    }
    if not constraint:
        default = next((row for row in fitting.values() if row.is_default), None)
        if default is not None:
            return default
    best = highest(fitting)
    return fitting[best] if best is not None else None


def laid_over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with another laid over it, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        mine = merged.get(key)
        merged[key] = laid_over(mine, value) if isinstance(mine, Mapping) and isinstance(value, Mapping) else value
    return merged
