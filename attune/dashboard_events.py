"""What the console's first page says of events: how many, what rules decided, what is held back, what does not work."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from apps.core import clock, markup
from apps.core.admin import COUNT_LIMIT
from apps.events.models import Sensor, SensorProcess, SensorProcessStatus, Timer, TimerState
from apps.events.visibility import readable, visible_events, with_rules
from apps.identity.callers import Caller
from apps.identity.grants import narrowed, under
from apps.rules.models import Enforcement, EnforcementStatus, Outcome
from apps.rules.visibility import visible_decisions, visible_enforcements

LATELY = timedelta(hours=24)
NEWEST_DECISIONS = 1000  # of the last 24 hours, what the bar shows
SHOWN = 6
HELD_BACK = (Outcome.THROTTLED, Outcome.DEDUPLICATED, Outcome.AGGREGATING, Outcome.DELAYED)


def events_overview(caller: Caller) -> dict[str, Any]:
    """Return this part of the first page, as this reader may see it; every query is bounded, whatever the tables hold."""
    since = clock.now() - LATELY
    newest = visible_decisions(caller).filter(created__gte=since)
    events, timers = visible_events(caller), narrowed(Timer.objects.all(), with_rules(caller))
    decisions = list(newest.values_list("rule_ref", "outcome")[:NEWEST_DECISIONS])
    outcomes = Counter(outcome for _rule, outcome in decisions)
    undecided = _count(events.undecided())
    return {
        "events": counted(_count(events.filter(created__gte=since))),
        "undecided": counted(undecided) if undecided else None,
        "decisions": len(decisions),
        "outcomes": [_share(outcome, outcomes[outcome], len(decisions)) for outcome in Outcome if outcomes[outcome]],
        "held_back": sum(outcomes[outcome] for outcome in HELD_BACK),
        "holding": _holding(decisions),
        "nothing_started": _nothing_started(caller, since),
        "failing_sensors": _failing_sensors(caller),
        "invalid_timers": list(timers.filter(state=TimerState.INVALID).order_by("rule_ref")[:SHOWN]),
        "late_timers": list(timers.filter(last_missed_at__gte=since).order_by("-last_missed_at")[:SHOWN]),
    }


def counted(count: int) -> str:
    return f"{COUNT_LIMIT:,}+" if count > COUNT_LIMIT else f"{count:,}"


def _count(rows: Any) -> int:
    return int(rows.order_by().values("pk")[: COUNT_LIMIT + 1].count())


def _share(outcome: Outcome, count: int, total: int) -> dict[str, Any]:
    return {"outcome": str(outcome), "count": count, "percent": 100 * count / total}


def _holding(decisions: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Return the rules that held the most back, with how much of what."""
    counts = Counter((rule, outcome) for rule, outcome in decisions if outcome in HELD_BACK)
    return [
        {
            "rule_ref": rule,
            "outcome": outcome,
            "count": count,
            "url": markup.list_of("rules_ruledecision", rule_ref=rule, outcome=outcome),
        }
        for (rule, outcome), count in counts.most_common(SHOWN)
    ]


def _nothing_started(caller: Caller, since: datetime) -> list[Enforcement]:
    """Return the newest matches that started nothing, because the action or the link to the trigger is missing."""
    rows = visible_enforcements(caller).filter(status=EnforcementStatus.DISABLED, created__gte=since)
    return list(rows.only("id", "rule_ref", "created", "event")[:SHOWN])


def _failing_sensors(caller: Caller) -> list[SensorProcess]:
    seen = under("sensor", Sensor.objects.all(), readable(caller))
    failing = narrowed(SensorProcess.objects.all(), seen).filter(
        status__in=[SensorProcessStatus.BACKOFF, SensorProcessStatus.FAILED]
    )
    columns = ("id", "sensor", "sensor_ref", "status", "consecutive_failures", "next_restart_at")
    return list(failing.only(*columns).order_by("-consecutive_failures", "sensor_ref")[:SHOWN])
