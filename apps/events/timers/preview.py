"""What a timer is going to do (events.md 9.5)."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from apps.core.errors import Detail, UnprocessableEntity
from apps.events.models import Timer, TimerState
from apps.events.rule_port import RuleUse
from apps.events.schedules import zones
from apps.events.schedules.daylight import Due
from apps.events.schedules.errors import InvalidSchedule
from apps.events.schedules.plan import Plan, read
from apps.events.timers.kinds import KIND_OF_TRIGGER

MOST_FIRINGS = 200
_LONGEST_SECONDS = 2.0  # a rule may be written so that each of them takes a long search


@dataclass(frozen=True, kw_only=True)
class Firing:
    """A due time; ``local`` is the same moment in the timer's zone."""

    due_at: datetime
    local: datetime
    note: str | None


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The next firings of a plan. ``exhausted``: the schedule ends with them."""

    plan: Plan
    firings: tuple[Firing, ...]
    exhausted: bool


def preview_of_rule(use: RuleUse, *, after: datetime, count: int, now: datetime) -> Preview:
    """Return the next firings of a rule's timer; of one that does not run, as if it were started."""
    timer = Timer.objects.filter(rule=use.id, state=TimerState.ACTIVE).first()
    anchor = timer.anchored_at if timer is not None else after
    return _preview(use.trigger_ref, use.trigger_params, after=after, anchor=anchor, count=count, now=now)


def preview_of_settings(
    trigger_ref: str, params: Mapping[str, Any], *, after: datetime, count: int, now: datetime
) -> Preview:
    """Return the next firings of settings that are not saved yet, started at ``after``."""
    return _preview(trigger_ref, params, after=after, anchor=after, count=count, now=now)


def _preview(
    trigger_ref: str, params: Mapping[str, Any], *, after: datetime, anchor: datetime, count: int, now: datetime
) -> Preview:
    try:
        plan = read(KIND_OF_TRIGGER[trigger_ref], params)
        plan.first_after(now)
    except InvalidSchedule as error:
        details: list[Detail] = [{"field": error.field, "message": error.problem}]
        raise UnprocessableEntity(f"The schedule cannot be read: {error}", details=details) from error
    zone, firings = zones.read_zone(plan.timezone), list[Firing]()
    began = time.monotonic()
    exhausted = True
    for due in plan.dues_after(after, anchor):
        firings.append(_firing(due, zone))
        if len(firings) == count or time.monotonic() - began > _LONGEST_SECONDS:
            exhausted = False
            break
    return Preview(plan=plan, firings=tuple(firings), exhausted=exhausted)


def _firing(due: Due, zone: ZoneInfo) -> Firing:
    return Firing(due_at=due.at, local=due.at.astimezone(zone), note=due.note)
