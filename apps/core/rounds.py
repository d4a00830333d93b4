"""
What every scheduler does again and again. Apps register their part in ``ready()``::

    rounds.register(Round(name="inquiries", work=deadlines.settle_due, next_due=deadlines.next_due, every_seconds=1.0))

``work`` does what is due and may be called by any number of schedulers at once. It comes every ``every_seconds`` (None:
with the sweep, ATTUNE_SWEEP_SECONDS) and earlier when ``next_due`` says so: the seconds until the next thing is due,
None when nothing is. Both are asked often: an index must answer them.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Round:
    name: str
    work: Callable[[], object]
    next_due: Callable[[], float | None] | None = None
    every_seconds: float | None = None


_rounds: dict[str, Round] = {}


def register(part: Round) -> None:
    """Have this done by every scheduler; one of the same name is replaced."""
    _rounds[part.name] = part


def registered() -> list[Round]:
    """Return the parts in the order in which they were registered."""
    return list(_rounds.values())
