"""
Rows that change or go, whoever does it, and what that means for the timers and sensors of rules.

Deletions are heard of before they happen, and lock in the order in which everybody does: trigger, action, rule, timer,
sensor. Only a rule that changes locks the trigger of its timer after itself, and that one is never deleted.
"""

from typing import Any

from django.db.models import Q
from django.db.models.signals import pre_delete

from apps.actions.models import Action
from apps.core import consequences
from apps.events.models import Trigger
from apps.events.signals import triggers_changed
from apps.events.timers.kinds import KIND_OF_TRIGGER
from apps.packs.models import Pack
from apps.rules import effects
from apps.rules.models import Rule, RuleQuerySet


def on_rule_going(*, instance: Rule, **_signal: Any) -> None:
    effects.rule_deleted(instance)


def on_action_going(*, instance: Action, **_signal: Any) -> None:
    _keep(instance)
    effects.rules_unlinked(Rule.objects.filter(action=instance))


def on_trigger_going(*, instance: Trigger, **_signal: Any) -> None:
    _keep(instance)
    effects.rules_unlinked(Rule.objects.filter(trigger=instance))


def _keep(row: Action | Trigger) -> None:
    list(type(row)._default_manager.select_for_update(no_key=True).filter(pk=row.pk).values_list("pk"))


def on_triggers_changed(*, refs: list[str], **_signal: Any) -> None:
    """A trigger may have been enabled or disabled: its timers run or rest with it."""
    timed = [ref for ref in refs if ref in KIND_OF_TRIGGER]
    if timed:
        effects.triggers_changed(timed)


def of_action(action: Action) -> str:
    """Return what a person should know who deletes this action; empty when it is nothing."""
    return _stopping(Rule.objects.filter(action=action, trigger__isnull=False))


def of_trigger(trigger: Trigger) -> str:
    return _stopping(Rule.objects.filter(trigger=trigger, action__isnull=False))


def of_pack(pack: Pack) -> str:
    rows = Rule.objects.filter(action__isnull=False, trigger__isnull=False)
    return _stopping(rows.filter(Q(pack=pack) | Q(action__pack=pack) | Q(trigger__pack=pack)))


def _stopping(rules: RuleQuerySet) -> str:
    """Say how many of these rules, which could fire until now, no longer will."""
    match rules.enabled().count():
        case 0:
            return ""
        case 1:
            return "1 rule stops firing"
        case number:
            return f"{number} rules stop firing"


def connect() -> None:
    """Listen to what changes and goes; once, when the apps are ready."""
    pre_delete.connect(on_rule_going, sender=Rule, dispatch_uid="rules.rule_going")
    pre_delete.connect(on_action_going, sender=Action, dispatch_uid="rules.action_going")
    pre_delete.connect(on_trigger_going, sender=Trigger, dispatch_uid="rules.trigger_going")
    triggers_changed.connect(on_triggers_changed, dispatch_uid="rules.triggers_changed")
    consequences.register(Action, of_action)
    consequences.register(Trigger, of_trigger)
    consequences.register(Pack, of_pack)
