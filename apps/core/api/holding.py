"""
Answers that are kept back for a while, without a thread or a database connection that waits.

A view answers at once and says in a header how long its answer is to be held; the server does the waiting
(``attune/holding.py``) and takes the header off. A server that does not know the header just sends the answer.
"""

from dataclasses import dataclass
from typing import Self

HEADER = "X-Attune-Hold"


@dataclass(frozen=True, kw_only=True)
class Hold:
    """
    How long an answer is held: so many seconds; with a ``sensor_id`` only until its rules have another version.

    What was held for a sensor is asked for again then, without the wait.
    """

    seconds: float
    sensor_id: int | None = None
    version: int = 0

    def text(self) -> str:
        """Return the header's value."""
        return f"{self.seconds:g} {self.sensor_id or 0} {self.version}"

    @classmethod
    def read(cls, text: str) -> Self:
        seconds, sensor_id, version = text.split()
        return cls(seconds=float(seconds), sensor_id=int(sensor_id) or None, version=int(version))
