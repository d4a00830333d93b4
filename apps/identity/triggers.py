"""
The triggers that a sensor token is to name, asked for its check. The events app lies above this one and registers the answer::

    # apps/events/apps.py, ready()
    named_triggers.register(triggers_by_ref)     # (refs) -> {ref: row}
"""

from collections.abc import Callable, Collection, Mapping

LookUp = Callable[[Collection[str]], Mapping[str, object]]


class NamedTriggers:
    """Looks triggers up by their refs; those that do not exist are left out."""

    def __init__(self) -> None:
        self._look_up: LookUp | None = None

    def register(self, look_up: LookUp) -> None:
        self._look_up = look_up

    def __call__(self, refs: Collection[str]) -> Mapping[str, object]:
        return self._look_up(refs) if self._look_up else {}


named_triggers = NamedTriggers()
