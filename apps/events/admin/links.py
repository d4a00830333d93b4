"""Links to pages of rules and events, which a higher app has: known here by name only."""

from typing import Any

from django.utils.safestring import SafeString

from apps.core import markup
from apps.events.rule_port import RuleUse, rule_port

RULE, EVENT = "rules_rule", "events_event"
SHOWN_RULES = 50


def rule_link(rule_id: int | None, ref: str | None) -> SafeString:
    return markup.row_link(RULE, rule_id, ref)


def event_link(event_id: int | None) -> SafeString:
    return markup.row_link(EVENT, event_id, event_id and f"#{event_id}")


def rules_panel(trigger_refs: list[str]) -> dict[str, Any]:
    """Return the rules of triggers for a page: how many are enabled, and the first of them."""
    rules: list[RuleUse] = rule_port.of_triggers(trigger_refs, enabled_only=False)
    return {
        "rules": [
            {"link": rule_link(rule.id, rule.ref), "trigger_ref": rule.trigger_ref, "enabled": rule.enabled}
            for rule in rules[:SHOWN_RULES]
        ],
        "rule_count": len(rules),
        "enabled_rules": sum(rule.enabled for rule in rules),
        "more_rules": len(rules) > SHOWN_RULES,
    }
