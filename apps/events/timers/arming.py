"""Make, start, stop and remove the timer of a rule, in the transaction that changes the rule (events.md 9.1)."""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from apps.core import clock
from apps.events.alerts import Alert, raise_alert
from apps.events.models import Timer, TimerState
from apps.events.rule_port import RuleUse
from apps.events.schedules.errors import InvalidSchedule
from apps.events.schedules.plan import read
from apps.events.timers.bell import ring_on_commit
from apps.events.timers.kinds import KIND_OF_TRIGGER

logger = logging.getLogger(__name__)

_BLANK: dict[str, Any] = {
    "error": None,
    "next_fire_at": None,
    "last_due_at": None,
    "last_fired_at": None,
    "last_missed_at": None,
    "execution_count": 0,
    "missed_count": 0,
}
# What a timer whose settings cannot be read has in their place.
_UNREAD: dict[str, Any] = {
    "timezone": "UTC",
    "start_at": None,
    "end_at": None,
    "misfire": "skip",
    "misfire_grace_seconds": 30,
    "misfire_limit": 100,
    "dst_policy": "shift",
}


@transaction.atomic
def arm(use: RuleUse, *, trigger_enabled: bool) -> None:
    """
    Let the timer of a rule follow the rule as it is now.

    It starts anew, from now, when the rule is enabled again or its settings or trigger have changed; other changes
    leave it alone. While the rule or its trigger is disabled or the trigger is gone, it is stopped.
    """
    kind = KIND_OF_TRIGGER.get(use.trigger_ref)
    timer = Timer.objects.select_for_update(no_key=True).filter(rule=use.id).first()
    if kind is None:
        if timer is not None:
            timer.delete()
        return
    runs = use.enabled and trigger_enabled and use.trigger_id is not None
    if timer is not None and runs == (timer.state != TimerState.STOPPED) and not _has_changed(timer, use):
        return
    settings = _settings(use, kind)
    row = {**settings, **(_started(settings, use, kind) if runs else {"state": TimerState.STOPPED})}
    Timer.objects.update_or_create(rule=use.id, defaults=row)
    ring_on_commit()
    if row["state"] == TimerState.INVALID:
        _report(use, row["error"], row["anchored_at"])


def hold(rule_id: int) -> None:
    """Keep the timer of a rule as it is until this transaction ends."""
    list(Timer.objects.select_for_update(no_key=True).filter(rule=rule_id).values_list("pk"))


def disarm(rule_id: int) -> None:
    """Remove the timer of a rule that is deleted."""
    Timer.objects.filter(rule=rule_id).delete()


def _has_changed(timer: Timer, use: RuleUse) -> bool:
    return timer.trigger_ref != use.trigger_ref or timer.spec != dict(use.trigger_params)


def _settings(use: RuleUse, kind: str) -> dict[str, Any]:
    """Return the columns that say what the timer is, whether it runs or not; those it counts in are blank."""
    row = {
        **_BLANK,
        "rule_ref": use.ref,
        "trigger_ref": use.trigger_ref,
        "kind": kind,
        "spec": dict(use.trigger_params),
        "anchored_at": _start(),
    }
    try:
        plan = read(kind, use.trigger_params)
    except InvalidSchedule:
        return row | _UNREAD
    return row | {name: getattr(plan, name) for name in _UNREAD}


def _start() -> datetime:
    """Return the present moment, at the next whole millisecond: the times of SQLite's own clock have no more."""
    now = clock.now()
    return now + timedelta(microseconds=-now.microsecond % 1000)


def _started(settings: dict[str, Any], use: RuleUse, kind: str) -> dict[str, Any]:
    """Return what starting it makes of the timer."""
    try:
        next_fire_at = read(kind, use.trigger_params).first_after(settings["anchored_at"])
    except InvalidSchedule as error:
        return {"state": TimerState.INVALID, "error": str(error)}
    if next_fire_at is None:
        return {"state": TimerState.FINISHED}
    return {"state": TimerState.ACTIVE, "next_fire_at": next_fire_at}


def _report(use: RuleUse, error: str, started_at: datetime) -> None:
    logger.warning("The timer of rule %s cannot run: %s", use.ref, error)
    raise_alert(
        Alert(
            severity="warning",
            category="timer",
            failure_type="timer_invalid",
            component_type="rule",
            component_id=use.id,
            component_ref=use.ref,
            summary=f"The timer of rule '{use.ref}' cannot run: {error}",
            details={"error": error},
            correlation_id=f"timer:{use.id}:invalid:{started_at.isoformat()}",
        )
    )
