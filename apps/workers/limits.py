"""Limits of an action on what its processes may use (packs.md section 4, ``limits``)."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIM = Path(__file__).parent / "runtimes" / "interpreter" / "limited.py"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """None: no limit. ``output_bytes`` is per stream, the others per process, ``processes`` for the whole run."""

    memory_mb: int | None = None
    cpu_seconds: int | None = None
    processes: int | None = None
    open_files: int | None = None
    nice: int | None = None
    output_bytes: int | None = None

    @classmethod
    def of(cls, limits: Mapping[str, Any]) -> "Limits":
        """Read the ``limits`` of an action; entries that are no whole numbers above 0 (nice: not 0) are no limits."""
        known = {name: _whole(limits.get(name)) for name in cls.__dataclass_fields__}
        return cls(**{name: value for name, value in known.items() if value and (value > 0 or name == "nice")})

    @property
    def before_start(self) -> bool:
        """Whether the kernel has to be told something before the program starts."""
        return bool(self.memory_mb or self.cpu_seconds or self.processes or self.open_files or self.nice)


NO_LIMITS = Limits()


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0


def limited_argv(limits: Limits, argv: tuple[str, ...]) -> tuple[str, ...]:
    """
    Return a command that takes the limits upon itself and then becomes ``argv``.

    ``preexec_fn`` would do the same, but takes ``subprocess`` off its vfork path and is unsafe with threads.
    """
    if not limits.before_start:
        return argv
    return (sys.executable, "-I", "-S", os.fspath(SHIM), *limit_words(limits), "--", *argv)


def limit_words(limits: Limits) -> tuple[str, ...]:
    """Return the limits as ``name=value``."""
    names = ("memory_mb", "cpu_seconds", "processes", "open_files", "nice")
    return tuple(f"{name}={value}" for name in names if (value := getattr(limits, name)) is not None)
