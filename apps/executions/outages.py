"""
How long this process has seen, without a break, that no worker is there for a demand (execution.md section 3).

Only with ATTUNE_UNSCHEDULABLE_GRACE_SECONDS does anything follow from it: without, an outage of workers fails nothing.
The time is counted here and not from rows, so that neither a restart nor an outage of the database fails a backlog.
"""

import time
from dataclasses import dataclass

from django.conf import settings

_LONGEST_GAP_SWEEPS = 3  # looks that lie further apart say nothing about the time between them
_MOST_REMEMBERED = 10_000


@dataclass(kw_only=True)
class _Absence:
    """Nobody is there for a demand: since when, and when that was last seen; on the monotonic clock."""

    since: float
    seen: float


_absences: dict[int, _Absence] = {}


def outlasts_grace(demand_id: int) -> bool:
    """Note that no worker is there for this demand now; return True when that has been so for the whole grace."""
    grace = settings.UNSCHEDULABLE_GRACE_SECONDS
    if grace is None:
        return False
    now = time.monotonic()
    absence = _absences.get(demand_id)
    if absence is None or now - absence.seen > _LONGEST_GAP_SWEEPS * settings.SWEEP_SECONDS:
        if len(_absences) >= _MOST_REMEMBERED:
            _absences.clear()
        absence = _absences[demand_id] = _Absence(since=now, seen=now)
    absence.seen = now
    return now - absence.since >= grace


def end_absence(demand_id: int) -> None:
    """Somebody is there for this demand: what was seen before counts no more."""
    _absences.pop(demand_id, None)


def forget_absences() -> None:
    """Forget what is known in this process (the tables were emptied)."""
    _absences.clear()
