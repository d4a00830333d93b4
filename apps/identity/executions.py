"""
How an execution stands, asked for its token. The executions app lies above this one and registers the answer::

    # apps/executions/apps.py, ready()
    execution_standing.register(standing_of)     # (execution id) -> Standing | None
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The fencing number of an execution, and when it ended (None while it has not)."""

    epoch: int
    finished_at: datetime | None


class ExecutionStanding:
    """Looks up how an execution stands."""

    def __init__(self) -> None:
        self._look_up: Callable[[int], Standing | None] | None = None

    def register(self, look_up: Callable[[int], Standing | None]) -> None:
        self._look_up = look_up

    def __call__(self, execution_id: int) -> Standing | None:
        return self._look_up(execution_id) if self._look_up else None


execution_standing = ExecutionStanding()
