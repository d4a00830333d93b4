"""
What a changed rule means for its timer and for sensors, in the transaction that changes it.

Every way in ends here: services (API, admin, commands), the loader of packs, and the deletions of rules, actions,
triggers and packs (``changes_below.py``).
"""

from collections.abc import Iterable
from dataclasses import replace

from apps.events import notices, rule_links, timers
from apps.events.rule_port import RuleUse
from apps.rules import secrets
from apps.rules.models import Rule, RuleQuerySet

CREATED, UPDATED, ENABLED, DISABLED, DELETED = (
    "RuleCreated",
    "RuleUpdated",
    "RuleEnabled",
    "RuleDisabled",
    "RuleDeleted",
)


def use_of(rule: Rule) -> RuleUse:
    """Return how the rule uses its trigger."""
    return RuleUse(
        id=rule.pk,
        ref=rule.ref,
        trigger_id=rule.trigger_id,
        trigger_ref=rule.trigger_ref,
        trigger_params=rule.trigger_params if isinstance(rule.trigger_params, dict) else {},  # SQL may write anything
        enabled=rule.enabled,
    )


def rule_saved(rule: Rule, before: RuleUse | None) -> None:
    """Let a change of a rule take effect; ``before`` is how it was, None for a new one."""
    use = use_of(rule)
    _arm(rule)
    if before is not None and before.trigger_ref != use.trigger_ref:
        notices.rule_changed(DELETED, before)  # for the sensors of the old trigger it is gone
    notices.rule_changed(_event_type(before, use), use)


def rule_deleted(rule: Rule) -> None:
    """
    Stop what works for the rule, and clear the ids that no foreign key clears; before its row is deleted.

    Before, because a timer that fires holds its own row while it waits for the rule's. Then the rule's row is locked:
    whoever decides it has written all of it, and nobody begins anew.
    """
    timers.disarm(rule.pk)
    _lock(Rule.objects.filter(pk=rule.pk))
    rule_links.forget_rule(rule.pk)
    secrets.forget_rule(rule.pk)
    notices.rule_changed(DELETED, use_of(rule))


def rules_unlinked(rules: RuleQuerySet) -> None:
    """Stop the timers of rules whose action or trigger is about to be deleted, and let sensors know; locked as above."""
    found = list(rules)
    for rule in found:
        timers.arm(replace(use_of(rule), enabled=False), trigger_enabled=False)
    _lock(rules)
    for rule in found:
        notices.rule_changed(UPDATED, use_of(rule))


def _lock(rules: RuleQuerySet) -> None:
    """Wait until nobody decides these rules, and let nobody begin until this transaction ends."""
    list(rules.select_for_update().order_by("pk").values_list("pk"))


def triggers_changed(rules: Iterable[Rule]) -> None:
    """Run or stop the timers of these rules as their triggers say now; sensors are told of triggers by events."""
    for rule in rules:
        _arm(rule)


def _arm(rule: Rule) -> None:
    """A rule without its action starts nothing, so its timer does not run either."""
    trigger = rule.trigger
    runs = rule.enabled and rule.action_id is not None and trigger is not None
    timers.arm(replace(use_of(rule), enabled=runs), trigger_enabled=trigger is not None and trigger.enabled)


def _event_type(before: RuleUse | None, after: RuleUse) -> str:
    if before is None:
        return CREATED
    if before.enabled == after.enabled:
        return UPDATED
    return ENABLED if after.enabled else DISABLED
