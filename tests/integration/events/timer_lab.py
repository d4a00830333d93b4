"""Rules with timers for tests, and a way to have it later than it is."""

import itertools
from datetime import timedelta
from typing import Any

from apps.events.models import Event, Timer
from apps.rules import services
from apps.rules.models import Rule
from tests.factories import make_action

_number = itertools.count(1)
EVERY_MINUTE = {"interval": 60, "unit": "seconds"}


def timer_rule(trigger_ref: str = "core.intervaltimer", params: dict[str, Any] | None = None, **fields: Any) -> Rule:
    """A rule of a timer trigger, made as the API makes one."""
    action = fields.pop("action", None) or make_action()
    return services.create_rule(
        ref=f"lab.timed{next(_number)}",
        label="Timed",
        pack_ref=action.pack_ref,
        action_ref=action.ref,
        trigger_ref=trigger_ref,
        trigger_params=EVERY_MINUTE if params is None else params,
        owner=None,
        **fields,
    )


def timer_of(rule: Rule) -> Timer:
    return Timer.objects.get(rule=rule.pk)


def set_back(rule: Rule, seconds: float) -> Timer:
    """Let the timer have been started so much earlier, and not looked at since."""
    timer, back = timer_of(rule), timedelta(seconds=seconds)
    next_fire_at = timer.next_fire_at - back if timer.next_fire_at is not None else None
    return timer.set(anchored_at=timer.anchored_at - back, next_fire_at=next_fire_at)


def events_of(rule: Rule) -> list[Event]:
    """The rule's events, the oldest first."""
    return list(Event.objects.filter(rule_ref=rule.ref).order_by("id"))


def payloads_of(rule: Rule) -> list[dict[str, Any]]:
    return [event.payload for event in events_of(rule)]
