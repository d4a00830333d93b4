"""What a run needs and what it reports: plain values that travel between the engine and the process runner."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from apps.core.redaction import Redactor


class JobError(Exception):
    """A job cannot be run; the message is the ``error`` of its result."""


@dataclass(frozen=True, kw_only=True)
class RuntimeSpec:
    """A runtime as the action names it; ``execution_config`` is that of the chosen version laid over the base."""

    name: str
    aliases: tuple[str, ...] = ()
    execution_config: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None  # None: no version was chosen

    @property
    def names(self) -> frozenset[str]:
        """Every name a worker may offer it by, in lower case."""
        return frozenset({self.name.lower(), *(alias.lower() for alias in self.aliases)})


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything one run needs."""

    execution_id: int
    epoch: int = 1
    attempt: int = 1
    action_ref: str
    pack_ref: str
    is_adhoc: bool
    entrypoint: str
    runtime: RuntimeSpec | None  # None: the action names none, its entry point decides
    available_runtimes: tuple[str, ...]  # what this worker offers
    pack_dir: Path | None  # may not exist
    env_dir: Path | None  # the pack's environment for this runtime, resolved; may not exist
    parameters: Mapping[str, Any]  # given ones and defaults
    ambient: Mapping[str, Any] = field(default_factory=dict)
    secret_names: frozenset[str] = frozenset()  # parameters that are never exported
    parameter_delivery: str = "stdin"
    parameter_format: str = "json"
    output_format: str = "text"
    timeout_seconds: float = 300
    limits: Mapping[str, Any] = field(default_factory=dict)
    kill_grace_seconds: float = 5.0
    env: Mapping[str, str] = field(default_factory=dict)  # of the request, already checked
    context: Mapping[str, Any] = field(default_factory=dict)
    attune_env: Mapping[str, str] = field(default_factory=dict)  # ATTUNE_* variables that only the caller knows
    preload: tuple[str, ...] = ()
    log_dir: Path
    stdout_limit: int = 10 * 1024 * 1024
    stderr_limit: int = 10 * 1024 * 1024
    redactor: Redactor | None = None  # of the secrets this run is given; None: there are none
    out_schema: Any = None  # of a result that may hold secrets; None: it holds none


@dataclass(frozen=True, kw_only=True)
class JobReport:
    """How a run ended. ``result`` has exactly the keys of execution.md section 11."""

    outcome: Literal["completed", "failed", "timeout", "stopped"]
    result: dict[str, Any]
    stop_reason: str | None = None  # "cancel", "lost", "superseded"; None unless stopped
    stdout_bytes: int = 0  # size of the log file; 0: there is none
    stderr_bytes: int = 0
