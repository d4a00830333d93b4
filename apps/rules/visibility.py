"""Who may see which rules, enforcements and decisions (auth.md section 5)."""

from typing import TYPE_CHECKING, Any

from apps.identity.grants import Columns, Facts, any_of, condition, facts, narrowed
from apps.rules.models import Enforcement, EnforcementQuerySet, Rule, RuleDecision, RuleDecisionQuerySet, RuleQuerySet

if TYPE_CHECKING:
    from apps.identity.callers import Caller

COLUMNS = Columns(refs="ref", pack_refs="pack_ref")
# Enforcements and decisions are read with their rule.
ENFORCEMENT_COLUMNS = Columns(refs="rule_ref", pack_refs="rule__pack_ref")
RULE_COLUMNS_OF_OTHERS = Columns(ids="rule", refs="rule_ref", pack_refs="rule__pack_ref")


def visible_rules(caller: "Caller") -> RuleQuerySet:
    """Return the rules that the caller may read, by ref."""
    return narrowed(Rule.objects.order_by("ref"), condition(caller, "rules:read", COLUMNS))


def visible_enforcements(caller: "Caller") -> EnforcementQuerySet:
    """Return the enforcements that the caller may read: with a grant for enforcements, or for their rules."""
    visible = any_of(
        condition(caller, "enforcements:read", ENFORCEMENT_COLUMNS),
        condition(caller, "rules:read", RULE_COLUMNS_OF_OTHERS),
    )
    return narrowed(Enforcement.objects.newest_first(), visible)


def visible_decisions(caller: "Caller") -> RuleDecisionQuerySet:
    """Return the decisions of rules that the caller may read."""
    visible = condition(caller, "rules:read", RULE_COLUMNS_OF_OTHERS)
    return narrowed(RuleDecision.objects.newest_first(), visible)


def _facts_of_enforcement(row: Any) -> Facts:
    return Facts(id=row.pk, ref=row.rule_ref, pack_ref=row.rule.pack_ref if row.rule is not None else None)


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Rule, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="rules")
    facts.register(Enforcement, _facts_of_enforcement, resource="enforcements", lookup="pk")
