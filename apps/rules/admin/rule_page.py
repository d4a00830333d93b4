"""What the page of one rule shows: what it says, what stands in its way, what it decided lately, when its timer fires."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from django.utils.safestring import SafeString

from apps.core import clock, markup
from apps.core.errors import UnprocessableEntity
from apps.events.admin.links import event_link
from apps.events.admin.timers import schedule_words
from apps.events.models import Timer, TimerState
from apps.events.schedules.daylight import Due
from apps.events.schedules.errors import InvalidSchedule
from apps.events.schedules.plan import read
from apps.identity.callers import Caller
from apps.rules.admin.decided import enforcements_of, execution_marks, executions_of
from apps.rules.admin.fields import ConditionsField
from apps.rules.admin.hiding import hide
from apps.rules.conditions import check_conditions
from apps.rules.models import Outcome, Rule, RuleDecision
from apps.rules.parameters import action_violations, trigger_violations
from apps.rules.secrets import real_params

SHOWN_DECISIONS = 20
COUNTED_DECISIONS = 500  # the newest, by outcome
SHOWN_FIRINGS = 6
HOLDING = {
    "dedupe": "Repetitions dropped",
    "aggregate": "Waits for several",
    "throttle": "Limited",
}


@dataclass(frozen=True, kw_only=True)
class Warned:
    """Something wrong with the conditions; ``excerpt`` is the line, and below it where."""

    message: str
    place: str
    excerpt: str


def rule_page(rule: Rule, caller: Caller) -> dict[str, Any]:
    """Return what the template needs, as far as the caller may see it."""
    timer = Timer.objects.filter(rule=rule.pk).first()
    trigger_schema = rule.trigger.param_schema if rule.trigger is not None else None
    action_schema = rule.action.param_schema if rule.action is not None else None
    return {
        "state": markup.badge("enabled" if rule.enabled else "disabled"),
        "trigger": markup.row_link("events_trigger", rule.trigger_id, rule.trigger_ref),
        "action": markup.row_link("actions_action", rule.action_id, rule.action_ref),
        "obstacles": list(_obstacles(rule, timer)),
        "warnings": condition_warnings(rule.conditions),
        "conditions": ConditionsField.text_of(rule.conditions),
        "trigger_params": markup.json_block(hide(trigger_schema, rule.trigger_params)),
        "action_params": markup.json_block(hide(action_schema, rule.action_params)),
        "holding": [(title, _settings(getattr(rule, kind))) for kind, title in HOLDING.items() if getattr(rule, kind)],
        "timer": _timer(timer),
        "decisions": _decisions(rule, caller),
        "shares": _shares(rule),
        "all_decisions": markup.list_of("rules_ruledecision", rule=rule.pk),
        "all_enforcements": markup.list_of("rules_enforcement", rule=rule.pk),
        "facts": _facts(rule),
    }


def condition_warnings(conditions: Any) -> list[Warned]:
    """Return what is wrong with conditions, each with its place."""
    found = []
    for warning in check_conditions(conditions):
        line, column = warning["line"], warning["column"]
        place = str(warning["path"]) if line is None else f"{warning['path']}, line {line}, column {column}"
        found.append(Warned(message=warning["message"], place=place, excerpt=_excerpt(conditions, line, column)))
    return found


def _excerpt(conditions: Any, line: int | None, column: int | None) -> str:
    expression = conditions.get("expression") if isinstance(conditions, dict) else None
    if not isinstance(expression, str) or line is None or column is None:
        return ""
    lines = expression.splitlines()
    if not 0 < line <= len(lines) or len(lines[line - 1]) > 400:
        return ""
    return f"{lines[line - 1]}\n{' ' * (column - 1)}^"


def _obstacles(rule: Rule, timer: Timer | None) -> Iterator[str]:
    """Yield what keeps the rule from starting its action, as sentences."""
    if not rule.enabled:
        yield "The rule is disabled: it does not look at events."
    if rule.trigger is None:
        yield f"Its trigger {rule.trigger_ref} was deleted. Edit the rule and name an existing one."
    elif not rule.trigger.enabled:
        yield f"Its trigger {rule.trigger_ref} is disabled: events are stored, and no rule fires on them."
    if rule.action is None:
        yield f"Its action {rule.action_ref} was deleted, so nothing is started. Edit the rule and name an existing one."
    if timer is not None and timer.state == TimerState.INVALID:
        yield f"Its timer cannot run: {timer.error}"
    if timer is not None and timer.state == TimerState.FINISHED:
        yield "Its timer has fired for the last time."
    yield from _violations(rule)


def _violations(rule: Rule) -> Iterator[str]:
    try:
        if rule.trigger is not None:
            for found in trigger_violations(rule.trigger, rule.trigger_params):
                yield f"Settings of the trigger: {found.message}."
        if rule.action is not None:
            for found in action_violations(rule.action, real_params(rule)):
                yield f"Parameters of the action: {found.message}."
    except UnprocessableEntity as error:
        yield error.message


def _settings(settings: dict[str, Any]) -> SafeString:
    return markup.lines(f"{name.replace('_', ' ')}: {value}" for name, value in settings.items())


def _timer(timer: Timer | None) -> dict[str, Any] | None:
    if timer is None:
        return None
    return {
        "state": markup.badge(timer.state),
        "schedule": schedule_words(timer),
        "count": timer.execution_count,
        "missed": timer.missed_count,
        "last": markup.when(timer.last_fired_at),
        "next": markup.when(timer.next_fire_at),
        "firings": _firings(timer),
        "page": markup.page_of("events_timer", timer.pk),
    }


def _firings(timer: Timer) -> list[dict[str, Any]]:
    """Return the next due times; of a timer that is stopped, those it would have now."""
    now = clock.now()
    try:
        dues = read(timer.kind, timer.spec).dues_after(
            now, timer.anchored_at if timer.state == TimerState.ACTIVE else now
        )
        found = list(islice(dues, SHOWN_FIRINGS))
    except InvalidSchedule:
        return []
    return [{"at": markup.when(due.at), "note": _note(due, timer)} for due in found]


def _note(due: Due, timer: Timer) -> str:
    """Return what the clock of the timer's zone shows then, and what a change of the clock did to it."""
    local = "" if timer.timezone == "UTC" else due.at.astimezone(ZoneInfo(timer.timezone)).strftime("%H:%M:%S there")
    return ", ".join(part for part in (local, (due.note or "").replace("_", " ")) if part)


def _decisions(rule: Rule, caller: Caller) -> list[dict[str, Any]]:
    rows = RuleDecision.objects.filter(rule=rule).newest_first().defer("criteria", "params_warnings", "error")
    decisions = list(rows[:SHOWN_DECISIONS])
    executions = executions_of(enforcements_of(decisions), caller)
    return [
        {
            "badge": markup.link(markup.page_of("rules_ruledecision", row.pk), markup.badge(row.outcome)),
            "event": event_link(row.event),
            "reason": markup.cut(row.reason, 200),
            "executions": execution_marks(executions.get(row.enforcement_id or 0, [])) if row.matched else "",
            "created": markup.when(row.created),
        }
        for row in decisions
    ]


def _shares(rule: Rule) -> list[dict[str, Any]]:
    """Return how many of the newest decisions have each outcome."""
    newest = RuleDecision.objects.filter(rule=rule).newest_first().values_list("outcome", flat=True)
    counts = Counter(newest[:COUNTED_DECISIONS])
    total = sum(counts.values()) or 1
    return [
        {
            "outcome": str(outcome),
            "count": counts[outcome],
            "percent": 100 * counts[outcome] / total,
            "url": markup.list_of("rules_ruledecision", rule=rule.pk, outcome=str(outcome)),
        }
        for outcome in Outcome
        if counts[outcome]
    ]


def _facts(rule: Rule) -> list[tuple[str, Any]]:
    sets = rule.permission_set_refs
    return [
        ("Pack", markup.row_link("packs_pack", rule.pack_id, rule.pack_ref)),
        (
            "On behalf of",
            markup.row_link("identity_identity", rule.owner_identity_id, rule.owner_identity or "system"),
        ),
        ("Rights", "the action's" if sets is None else (", ".join(sets) or "no API token")),
        ("Priority", "the action's" if rule.priority is None else str(rule.priority)),
        ("Alert on failure", "yes" if rule.alert_on_failure else "no"),
        ("Made by hand", "yes" if rule.is_adhoc else "no"),
        ("Created", markup.when(rule.created)),
        ("Updated", markup.when(rule.updated)),
    ]
