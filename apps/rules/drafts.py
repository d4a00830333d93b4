"""What is tried out: a stored rule, one with some fields replaced, or one that nobody has saved yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.actions.models import Action
from apps.core.errors import NotFound
from apps.events.models import Trigger
from apps.packs.models import Pack
from apps.rules.judging import RuleView
from apps.rules.models import Rule
from apps.rules.views import view_of_rule

REPLACED = ("conditions", "action_params", "dedupe", "aggregate", "throttle")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A rule to be tried. ``rule_id`` and ``rule_ref`` are None when it is not stored; ``trigger`` when it is gone."""

    rule_id: int | None
    rule_ref: str | None
    rule_enabled: bool
    trigger_ref: str
    trigger: Trigger | None
    conditions: Any
    view: RuleView

    @property
    def trigger_enabled(self) -> bool:
        return self.trigger is not None and self.trigger.enabled


def draft_of_rule(rule: Rule, changes: Mapping[str, Any]) -> Draft:
    """Return a stored rule (with its pack, action and trigger loaded) with some of its fields replaced."""
    tried = Rule(**{field.attname: getattr(rule, field.attname) for field in Rule._meta.concrete_fields})
    tried.pack, tried.action, tried.trigger = rule.pack, rule.action, rule.trigger
    return _draft(tried, changes, rule_id=rule.pk, rule_ref=rule.ref)


def draft_of_fields(
    *, trigger_ref: str, action_ref: str | None, pack_ref: str | None, changes: Mapping[str, Any]
) -> Draft:
    """Return a rule that is not stored. Raises NotFound for a trigger, action or pack that is named and missing."""
    trigger = Trigger.objects.filter(ref=trigger_ref).first()
    if trigger is None:
        raise NotFound(f"Trigger '{trigger_ref}' not found")
    action = Action.objects.filter(ref=action_ref).first() if action_ref is not None else None
    if action_ref is not None and action is None:
        raise NotFound(f"Action '{action_ref}' not found")
    pack = Pack.objects.filter(ref=pack_ref).first() if pack_ref is not None else Pack(ref="")
    if pack is None:
        raise NotFound(f"Pack '{pack_ref}' not found")
    tried = Rule(pk=0, ref="", pack_ref=pack.ref, trigger_ref=trigger_ref, action_ref=action_ref or "", conditions={})
    tried.pack, tried.action, tried.trigger = pack, action, trigger
    return _draft(tried, changes, rule_id=None, rule_ref=None)


def _draft(rule: Rule, changes: Mapping[str, Any], *, rule_id: int | None, rule_ref: str | None) -> Draft:
    for name in REPLACED:
        if name in changes:
            setattr(rule, name, changes[name])
    return Draft(
        rule_id=rule_id,
        rule_ref=rule_ref,
        rule_enabled=rule.enabled,
        trigger_ref=rule.trigger_ref,
        trigger=rule.trigger,
        conditions=rule.conditions,
        view=view_of_rule(rule),
    )
