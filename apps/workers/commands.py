"""What the process runner takes and what it gives back: a Command in, an Ended out."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from apps.workers.capture import Capture, OutputFilter
from apps.workers.limits import Limits


class CannotStart(Exception):
    """The program could not be started."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run. Environment and directory are given, never inherited; ``marks`` are entries of the environment
    that no other run has, by which processes that left the group are recognised."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    directory: str
    stdin: bytes = b""
    timeout_seconds: float | None  # None: it may run for as long as it likes
    kill_grace_seconds: float = 5.0
    stdout_path: str | os.PathLike[str] | None = None  # None: only the beginning is kept, in memory
    stderr_path: str | os.PathLike[str] | None = None
    stdout_limit: int = 10 * 1024 * 1024
    stderr_limit: int = 10 * 1024 * 1024
    output_filter: Callable[[], OutputFilter] | None = None  # of each stream
    stdout_filter: OutputFilter | None = None  # in place of that
    limits: Limits = field(default_factory=Limits)
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended and what it printed."""

    returncode: int  # negative: the number of the signal that ended it
    seconds: float
    reason: str | None  # why it was stopped, see RunControl.reason
    cpu_seconds: float
    stdout: Capture
    stderr: Capture
    wait_error: str = ""
    stdin_error: str = ""
    limit_hit: str = ""  # the limit it was stopped for


class Started(Protocol):
    """A process that runs, as a child of ours or of a template."""

    @property
    def pid(self) -> int: ...

    def reap(self) -> tuple[int, float]:
        """Return exit code and CPU seconds of the ended process and release its number. Raises OSError."""
        ...


class Starter(Protocol):
    """Starts a command with three descriptors as its standard streams. Raises CannotStart."""

    def __call__(self, command: Command, descriptors: tuple[int, int, int]) -> Started: ...
