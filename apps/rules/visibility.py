"""Who may see which rules, enforcements and decisions (auth.md section 5)."""

from typing import TYPE_CHECKING

from apps.rules.models import Enforcement, EnforcementQuerySet, Rule, RuleDecision, RuleDecisionQuerySet, RuleQuerySet

if TYPE_CHECKING:
    from apps.identity.callers import Caller


def visible_rules(caller: "Caller") -> RuleQuerySet:
    """Return the rules that the caller may read, by ref."""
    rules = Rule.objects.order_by("ref")
    return rules if caller.allows("rules:read") else rules.none()


def visible_enforcements(caller: "Caller") -> EnforcementQuerySet:
    """Return the enforcements that the caller may read: with a grant for enforcements, or for their rules."""
    enforcements = Enforcement.objects.newest_first()
    may_read = caller.allows("enforcements:read") or caller.allows("rules:read")
    return enforcements if may_read else enforcements.none()


def visible_decisions(caller: "Caller") -> RuleDecisionQuerySet:
    """Return the decisions of rules that the caller may read."""
    decisions = RuleDecision.objects.newest_first()
    return decisions if caller.allows("rules:read") else decisions.none()
