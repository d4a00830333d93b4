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
    How long an answer is held: so many seconds, or less.

    With a ``sensor_id`` only until its rules have another version, with an ``execution_id`` only until that has ended;
    such an answer is asked for again then, without the wait.
    """

    seconds: float
    sensor_id: int | None = None
    version: int = 0
    execution_id: int | None = None

    def text(self) -> str:
        """Return the header's value."""
        return f"{self.seconds:g} {self.sensor_id or 0} {self.version} {self.execution_id or 0}"

    @classmethod
    def read(cls, text: str) -> Self:
        seconds, sensor_id, version, execution_id = text.split()
        return cls(
            seconds=float(seconds),
            sensor_id=int(sensor_id) or None,
            version=int(version),
            execution_id=int(execution_id) or None,
        )
