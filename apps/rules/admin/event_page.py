"""What the page of one event shows: what rules made of it, and why others did not look at it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from apps.core import markup
from apps.events.admin.links import event_link
from apps.events.models import Event
from apps.events.visibility import visible_events
from apps.identity.callers import Caller
from apps.rules.admin.decided import (
    Shown,
    enforcements_of,
    executions_of,
    shown_decision,
)
from apps.rules.models import Enforcement, Rule, RuleDecision
from apps.rules.visibility import visible_decisions, visible_rules

SHOWN_DECISIONS = 100
SHOWN_OTHERS = 50
SHOWN_REPLAYS = 20


@dataclass(frozen=True, kw_only=True)
class Decided:
    """One decision with what came of it."""

    rule_ref: str
    link: SafeString
    shown: Shown
    enforcement: Enforcement | None
    executions: list[Any]


@dataclass(frozen=True, kw_only=True)
class NotAsked:
    """A rule of the trigger that did not look at the event, and why."""

    link: SafeString
    why: str


def event_page(event: Event, caller: Caller) -> dict[str, Any]:
    """Return what the template needs, as far as the caller may see it."""
    decisions = list(
        visible_decisions(caller).filter(event=event.pk).order_by("rule_ref", "pk")[: SHOWN_DECISIONS + 1]
    )
    rules = [decision.rule_id for decision in decisions if decision.rule_id is not None]
    out_schema = event.trigger.out_schema if event.trigger is not None else None
    return {
        "decided": _decided(decisions[:SHOWN_DECISIONS], caller),
        "all_decisions": markup.list_of("rules_ruledecision", event=event.pk),
        "more_decisions": len(decisions) > SHOWN_DECISIONS,
        "undecided": event.processed_at is None,
        "not_asked": _not_asked(event, rules, caller),
        "trigger_gone": event.trigger is None,
        "trigger_off": event.trigger is not None and not event.trigger.enabled,
        "payload": markup.json_block(markup.without_secrets(out_schema, event.payload)),
        "config": markup.json_block(event.config),
        "facts": _facts(event),
        "replays": [event_link(pk) for pk in _replays(event, caller)],
    }


def _decided(decisions: list[RuleDecision], caller: Caller) -> list[Decided]:
    enforcements = enforcements_of(decisions)
    executions = executions_of(enforcements, caller)
    return [
        Decided(
            rule_ref=decision.rule_ref,
            link=markup.row_link("rules_rule", decision.rule_id, decision.rule_ref),
            shown=shown_decision(decision),
            enforcement=enforcements.get(decision.enforcement_id or 0),
            executions=executions.get(decision.enforcement_id or 0, []),
        )
        for decision in decisions
    ]


def _not_asked(event: Event, decided: Collection[int], caller: Caller) -> list[NotAsked]:
    """Return the rules of the event's trigger that have no decision on it."""
    rows = visible_rules(caller).filter(trigger_ref=event.trigger_ref).exclude(pk__in=decided).order_by("ref")
    rules = rows.only("id", "ref", "enabled", "created", "updated")[:SHOWN_OTHERS]
    return [
        NotAsked(link=markup.row_link("rules_rule", rule.pk, rule.ref), why=_why_not_asked(event, rule))
        for rule in rules
    ]


def _why_not_asked(event: Event, rule: Rule) -> str:
    if event.processed_at is None:
        return "the event is not decided yet"
    if event.rule_ref is not None and rule.ref != event.rule_ref:
        return f"the event was for {event.rule_ref} alone"
    if rule.created > event.created:
        return f"it was made only after the event, {markup.relative(rule.created)}"
    if not rule.enabled:
        return "it is disabled; only enabled rules look at events"
    if rule.updated > event.created:
        return (
            "it was disabled, or belonged to another trigger, when the event came; "
            f"it was last changed {markup.relative(rule.updated)}"
        )
    return "its decision is no longer kept"


def _replays(event: Event, caller: Caller) -> list[int]:
    return list(
        visible_events(caller).filter(replay_of=event.pk).order_by("-pk").values_list("pk", flat=True)[:SHOWN_REPLAYS]
    )


def _facts(event: Event) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any, Any]] = [
        ("Trigger", True, markup.row_link("events_trigger", event.trigger_id, event.trigger_ref)),
        ("From", True, markup.row_link("events_sensor", event.source_id, event.source_ref)),
        ("Only for rule", event.rule_ref, markup.row_link("rules_rule", event.rule, event.rule_ref)),
        ("Replay of", event.replay_of_id, event_link(event.replay_of_id)),
        ("Created", True, markup.when(event.created)),
        ("Idempotency key", event.idempotency_key, event.idempotency_key),
        (
            "Correlation",
            True,
            markup.link(
                markup.list_of("executions_execution", correlation_id=event.correlation_id),
                str(event.correlation_id)[:8],
                title=str(event.correlation_id),
            ),
        ),
    ]
    return [(label, value) for label, shown, value in rows if shown]
