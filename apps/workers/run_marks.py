"""How the processes of one run are told from all others."""

import os
import time
from dataclasses import dataclass, field, replace

SENSOR = b"ATTUNE_SENSOR_ID="
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def boot_seconds() -> float:
    """Return the time since boot, on the clock by which the kernel dates processes; suspend does not stop it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class RunMark:
    """
    One run: its process group, when it was started, and entries of its environment that no other run has.

    A process is of this run when it is in its session or group, or has all of ``marks`` in its environment.
    """

    pgid: int
    started_ticks: int
    marks: tuple[bytes, ...] = field(default=())

    @classmethod
    def now(cls, marks: tuple[str, ...]) -> "RunMark":
        """Return the mark of a run that is about to start."""
        return cls(0, int(boot_seconds() * TICKS_PER_SECOND), tuple(mark.encode(errors="replace") for mark in marks))

    @property
    def is_sensor(self) -> bool:
        """Whether it is that of a sensor, which runs for as long as it is wanted beside many others."""
        return any(mark.startswith(SENSOR) for mark in self.marks)

    def of(self, pgid: int) -> "RunMark":
        """Return this mark with the process group that has now been started."""
        return replace(self, pgid=pgid)
