"""
Whether an execution descends from others. The executions app lies above this one and registers the answer::

    # apps/executions/apps.py, ready()
    lineage.register(descends)     # (execution id, Origin) -> bool
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where descent begins: one execution, or all that run for one identity."""

    execution_id: int | None = None
    executor_id: int | None = None


class Lineage:
    """Looks up whether an execution descends from an origin."""

    def __init__(self) -> None:
        self._look_up: Callable[[int, Origin], bool] | None = None

    def register(self, look_up: Callable[[int, Origin], bool]) -> None:
        self._look_up = look_up

    def __call__(self, execution_id: int, origin: Origin) -> bool:
        return self._look_up is not None and self._look_up(execution_id, origin)


lineage = Lineage()
