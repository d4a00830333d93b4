"""Which of a timer's due times fire now, and which were missed (events.md 9.3)."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.events.schedules.plan import Plan

# So many missed times are counted one by one. Beyond, the count stands still at this number: a timer by the second
# that stood for a month must not keep the others waiting.
MOST_COUNTED = 5_000
_FIRST_LOOK_BACK = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Firing:
    """One event to make. ``missed_count`` is set with misfire ``once``: how many due times it stands for."""

    due_at: datetime
    misfire: bool = False
    missed_count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to be done about the due times up to a moment."""

    firings: tuple[Firing, ...]
    next_fire_at: datetime | None  # None: nothing is left to fire, ever
    dropped: int = 0  # missed due times that get no event
    last_missed_at: datetime | None = None  # the newest that was missed
    skipped_at: datetime | None = None  # the same, when it gets no event, now or later


def decide(plan: Plan, *, anchor: datetime, next_fire_at: datetime, now: datetime, at_most: int) -> Decision:
    """
    Return what a timer whose next due time has come does now; at most so many firings.

    The rest, if any, is found again from the ``next_fire_at`` of the answer.
    """
    number, newest = _backlog(plan, anchor, next_fire_at, now)
    missed = list(newest)
    on_time = missed.pop() if now - newest[-1] <= timedelta(seconds=plan.misfire_grace_seconds) else None
    number -= on_time is not None
    made_up = _made_up(plan, missed, number)
    firings = [*made_up, *([Firing(due_at=on_time)] if on_time is not None else [])]
    left = firings[at_most:]
    return Decision(
        firings=tuple(firings[:at_most]),
        next_fire_at=left[0].due_at if left else plan.next_after(newest[-1], anchor),
        dropped=number - len(made_up),
        last_missed_at=missed[-1] if missed else None,
        skipped_at=missed[-1] if missed and not made_up else None,
    )


def _made_up(plan: Plan, missed: list[datetime], number: int) -> list[Firing]:
    if not missed or plan.misfire == "skip":
        return []
    if plan.misfire == "once":
        return [Firing(due_at=missed[-1], misfire=True, missed_count=number)]
    return [Firing(due_at=due_at, misfire=True) for due_at in missed[-plan.misfire_limit :]]


def _backlog(plan: Plan, anchor: datetime, first: datetime, now: datetime) -> tuple[int, list[datetime]]:
    """Return how many due times there are from first to now, and the newest: one more than could be made up."""
    keep = plan.misfire_limit + 1 if plan.misfire == "all" else 2
    if plan.kind == "interval":
        return _intervals(plan, anchor, first, now, keep)
    newest: deque[datetime] = deque([first], maxlen=keep)
    number = 1
    for due_at in _firing(plan, first, anchor, now):
        newest.append(due_at)
        number += 1
        if number >= MOST_COUNTED:
            return number, _newest(plan, anchor, now, keep)
    return number, list(newest)


def _intervals(plan: Plan, anchor: datetime, first: datetime, now: datetime, keep: int) -> tuple[int, list[datetime]]:
    step = timedelta(seconds=plan.interval_seconds)
    last = now if plan.end_at is None else min(now, plan.end_at)
    number = max(1, (last - first) // step + 1)
    return number, [first + place * step for place in range(max(0, number - keep), number)]


def _newest(plan: Plan, anchor: datetime, now: datetime, keep: int) -> list[datetime]:
    """Return the newest due times up to now, looking back further and further."""
    back = _FIRST_LOOK_BACK
    while True:
        found = deque(_firing(plan, now - back, anchor, now), maxlen=keep)
        if len(found) == keep:
            return list(found)
        back *= 4


def _firing(plan: Plan, after: datetime, anchor: datetime, now: datetime) -> Iterator[datetime]:
    for due in plan.dues_after(after, anchor):
        if due.at > now:
            return
        if due.fires:
            yield due.at
