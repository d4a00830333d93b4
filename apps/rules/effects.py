"""
What a changed rule means for its timer and for sensors, in the transaction that changes it.

Every way in ends here: services (API, admin, commands), the loader of packs, and the deletions of rules, actions,
triggers and packs (``changes_below.py``).
"""

from collections.abc import Collection
from dataclasses import replace

from apps.events import notices, rule_links, timers
from apps.events.models import Trigger
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

    The rule's row is locked twice. First against changes alone: a rule comes before its timer, and a timer that fires
    holds its own row while it waits to decide the rule. Then for good: whoever decides it has written all of it, and
    nobody begins anew.
    """
    rows = Rule.objects.filter(pk=rule.pk)
    _keep(rows)
    timers.disarm(rule.pk)
    _lock(rows)
    rule_links.forget_rule(rule.pk)
    secrets.forget_rule(rule.pk)
    notices.rule_changed(DELETED, use_of(rule))


def rules_unlinked(rules: RuleQuerySet) -> None:
    """Stop the timers of rules whose action or trigger is about to be deleted, and let sensors know; locked as above."""
    _keep(rules)
    found = list(rules.order_by("pk"))
    for rule in found:
        timers.arm(replace(use_of(rule), enabled=False), trigger_enabled=False)
    _lock(rules)
    for rule in found:
        notices.rule_changed(UPDATED, use_of(rule))


def _keep(rules: RuleQuerySet) -> None:
    """Let nobody change these rules until this transaction ends; they may be decided."""
    list(rules.select_for_update(no_key=True).order_by("pk").values_list("pk"))


def _lock(rules: RuleQuerySet) -> None:
    """Wait until nobody decides these rules, and let nobody begin until this transaction ends."""
    list(rules.select_for_update().order_by("pk").values_list("pk"))


def triggers_changed(refs: Collection[str]) -> None:
    """
    Run or stop the timers of these triggers' rules as the triggers say now; sensors are told of triggers by events.

    Call it with the triggers locked. Each rule is looked at with its timer held: it may be losing its action.
    """
    for rule_id in Rule.objects.filter(trigger_ref__in=refs).order_by("pk").values_list("pk", flat=True):
        timers.hold(rule_id)
        rule = Rule.objects.filter(pk=rule_id).first()
        if rule is not None:
            _arm(rule)


def _arm(rule: Rule) -> None:
    """A rule without its action starts nothing, so its timer does not run either."""
    if rule.trigger_ref not in timers.KIND_OF_TRIGGER:
        timers.arm(use_of(rule), trigger_enabled=False)
        return
    trigger = _kept_trigger(rule.trigger_id) if rule.trigger_id is not None else None
    runs = rule.enabled and rule.action_id is not None and trigger is not None
    timers.arm(replace(use_of(rule), enabled=runs), trigger_enabled=trigger is not None and trigger.enabled)


def _kept_trigger(trigger_id: int) -> Trigger | None:
    """Return the trigger as it is until this transaction ends: whoever switches it then finds the rule as it is now."""
    return Trigger.objects.select_for_update(no_key=True, of=("self",)).filter(pk=trigger_id).first()


def _event_type(before: RuleUse | None, after: RuleUse) -> str:
    if before is None:
        return CREATED
    if before.enabled == after.enabled:
        return UPDATED
    return ENABLED if after.enabled else DISABLED
