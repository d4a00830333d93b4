"""What the event of a firing says (events.md section 9)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.core.clock import as_text
from apps.events.schedules.misfire import Firing
from apps.events.schedules.plan import Plan
from apps.events.timers.kinds import SENSOR_REF


@dataclass(frozen=True, kw_only=True)
class Fired:
    """A firing as it happened: when, as which one since the timer was started, and what is due after it."""

    firing: Firing
    fired_at: datetime
    execution_count: int
    next_fire_at: datetime | None


def payload_of(plan: Plan, fired: Fired) -> dict[str, Any]:
    """Return the payload of the event; all its times are in UTC."""
    payload = _of_kind(plan, fired)
    payload["sensor_ref"] = SENSOR_REF
    if fired.firing.misfire:
        payload["misfire"] = True
    if fired.firing.missed_count is not None:
        payload["missed_count"] = fired.firing.missed_count
    return payload


def _of_kind(plan: Plan, fired: Fired) -> dict[str, Any]:
    fired_at, due_at = as_text(fired.fired_at), as_text(fired.firing.due_at)
    delay_ms = round((fired.fired_at - fired.firing.due_at).total_seconds() * 1000)
    match plan.kind:
        case "interval":
            return {
                "type": "interval",
                "interval_seconds": plan.interval_seconds,
                "fired_at": fired_at,
                "execution_count": fired.execution_count,
            }
        case "cron":
            return {
                "type": "cron",
                "fired_at": fired_at,
                "scheduled_at": due_at,
                "expression": plan.expression,
                "timezone": plan.timezone,
                "next_fire_at": as_text(fired.next_fire_at),
                "execution_count": fired.execution_count,
            }
        case "datetime":
            return {
                "type": "one_shot",
                "fire_at": due_at,
                "fired_at": fired_at,
                "timezone": plan.timezone,
                "delay_ms": delay_ms,
            }
        case "rrule":
            return {
                "type": "rrule",
                "fired_at": fired_at,
                "scheduled_at": due_at,
                "delay_ms": delay_ms,
                "execution_count": fired.execution_count,
            }
        case _:
            raise AssertionError(plan.kind)
