"""Links to pages of rules and events, which a higher app has: known here by name only."""

from typing import Any

from django.utils.safestring import SafeString

from apps.core import markup
from apps.events.rule_port import RuleUse, rule_port
from apps.events.visibility import facts_of_rule
from apps.identity.callers import Caller

RULE, EVENT = "rules_rule", "events_event"
SHOWN_RULES = 50


def rule_link(rule_id: int | None, ref: str | None) -> SafeString:
    return markup.row_link(RULE, rule_id, ref)


def event_link(event_id: int | None) -> SafeString:
    return markup.row_link(EVENT, event_id, event_id and f"#{event_id}")


def rules_panel(trigger_refs: list[str], caller: Caller) -> dict[str, Any]:
    """Return the rules of triggers for a page, as far as the caller may see them: how many are enabled, and the first."""
    used: list[RuleUse] = rule_port.of_triggers(trigger_refs, enabled_only=False)
    rules = [rule for rule in used if caller.allows("rules:read", facts_of_rule(rule.id, rule.ref))]
    return {
        "rules": [
            {"link": rule_link(rule.id, rule.ref), "trigger_ref": rule.trigger_ref, "enabled": rule.enabled}
            for rule in rules[:SHOWN_RULES]
        ],
        "rule_count": len(rules),
        "enabled_rules": sum(rule.enabled for rule in rules),
        "more_rules": len(rules) > SHOWN_RULES,
    }
