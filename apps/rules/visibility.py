"""Who may see which rules, enforcements and decisions (auth.md section 5)."""

from typing import TYPE_CHECKING, Any

from django.db.models import Q

from apps.identity.grants import Columns, Facts, any_of, condition, facts, narrowed
from apps.rules.models import Enforcement, EnforcementQuerySet, Rule, RuleDecision, RuleDecisionQuerySet, RuleQuerySet

if TYPE_CHECKING:
    from apps.identity.callers import Caller

COLUMNS = Columns(refs="ref", pack_refs="pack_ref")
# Enforcements and decisions are read with their rule.
ENFORCEMENT_COLUMNS = Columns(refs="rule_ref", pack_refs="rule__pack_ref")
COLUMNS_OF_THEIR_RULE = Columns(ids="rule", refs="rule_ref", pack_refs="rule__pack_ref")


def visible_rules(caller: "Caller") -> RuleQuerySet:
    """Return the rules that the caller may read, by ref."""
    return narrowed(Rule.objects.order_by("ref"), readable(caller))


def readable(caller: "Caller") -> Q:
    """Return the condition of the rules that the caller may read."""
    return condition(caller, "rules:read", COLUMNS)


def visible_enforcements(caller: "Caller") -> EnforcementQuerySet:
    """Return the enforcements that the caller may read: with a grant for enforcements, or for their rules."""
    return narrowed(Enforcement.objects.newest_first(), readable_enforcements(caller))


def readable_enforcements(caller: "Caller") -> Q:
    """Return the condition of the enforcements that the caller may find in lists."""
    return any_of(condition(caller, "enforcements:read", ENFORCEMENT_COLUMNS), with_their_rule(caller))


def with_their_rule(caller: "Caller") -> Q:
    """Return the condition of what belongs to a rule that the caller may read."""
    return condition(caller, "rules:read", COLUMNS_OF_THEIR_RULE)


def visible_decisions(caller: "Caller") -> RuleDecisionQuerySet:
    """Return the decisions of rules that the caller may read."""
    return narrowed(RuleDecision.objects.newest_first(), with_their_rule(caller))


def _facts_of_enforcement(row: Any) -> Facts:
    return Facts(id=row.pk, ref=row.rule_ref, pack_ref=row.rule.pack_ref if row.rule is not None else None)


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Rule, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="rules")
    facts.register(Enforcement, _facts_of_enforcement, resource="enforcements", lookup="pk")
