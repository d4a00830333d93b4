"""What callers may ask of rules: create, change, switch on and off, delete; each with its effect at once."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.actions.models import Action
from apps.core.errors import ConflictError, NotFound, ValidationFailed
from apps.events.models import Trigger
from apps.identity.models import Identity
from apps.packs.models import Pack
from apps.rules import effects, secrets
from apps.rules.holding import KINDS, holding_problems, without_nulls
from apps.rules.models import Rule
from apps.rules.parameters import check_parameters, check_sizes

_RELATIONS = ["pack", "action", "trigger", "owner_identity"]


class RuleRefTaken(ConflictError):
    """A rule with this ref already exists"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Rule with ref '{ref}' already exists")


class RuleNotFound(NotFound):
    """Rule not found"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Rule '{ref}' not found")


@transaction.atomic
def create_rule(
    *, ref: str, pack_ref: str, action_ref: str, trigger_ref: str, owner: Identity | None, **fields: Any
) -> Rule:
    """
    Create an ad-hoc rule; its executions run on behalf of the owner.

    Raises RuleRefTaken, NotFound for pack, action or trigger, ValidationFailed for parameters and settings.
    """
    refuse_taken(ref)
    rule = Rule(
        ref=ref,
        pack=_pack(pack_ref),
        pack_ref=pack_ref,
        action=_action(action_ref),
        action_ref=action_ref,
        trigger=_trigger(trigger_ref),
        trigger_ref=trigger_ref,
        owner_identity=owner,
        is_adhoc=True,
        **{"conditions": {}, **_checked(fields)},
    )
    rule.clean_fields(exclude=_RELATIONS)
    check_parameters(
        trigger=rule.trigger,
        trigger_params=rule.trigger_params,
        action=rule.action,
        action_params=secrets.given_params(rule.action_params, stored=None),
    )
    put_away = _put_secrets_away(rule, stored=None)
    rule.save(force_insert=True)
    put_away.keep(rule)
    effects.rule_saved(rule, None)
    return rule


@transaction.atomic
def update_rule(rule_id: int, changes: Mapping[str, Any]) -> Rule:
    """
    Change some fields of a rule. ``action_ref`` and ``trigger_ref`` link it (again) to what they name now.

    The parameters of a side are checked when they or what they belong to is named. Raises RuleNotFound, NotFound for
    action or trigger, ValidationFailed.
    """
    rule = _locked(rule_id)
    before = effects.use_of(rule)
    values = {**_checked(changes), **_links(changes)}
    changed = [name for name, value in values.items() if getattr(rule, name) != value]
    for name in changed:
        setattr(rule, name, values[name])
    rule.clean_fields(exclude=_RELATIONS)
    is_run_otherwise = bool(changes.keys() & {"action_ref", "action_params"})
    check_parameters(
        trigger=rule.trigger if changes.keys() & {"trigger_ref", "trigger_params"} else None,
        trigger_params=rule.trigger_params,
        action=rule.action if is_run_otherwise else None,
        action_params=secrets.given_params(rule.action_params, stored=rule) if is_run_otherwise else {},
    )
    put_away = _put_secrets_away(rule, stored=rule) if is_run_otherwise else None
    if changed or (put_away is not None and put_away.changed):
        rule.save(update_fields={*changed, "updated", *(("action_params",) if put_away is not None else ())})
        if put_away is not None:
            put_away.keep(rule)
        effects.rule_saved(rule, before)
    return rule


def enable_rule(rule_id: int) -> Rule:
    """Let a rule fire; one that is enabled is left alone, its timer too."""
    return update_rule(rule_id, {"enabled": True})


def disable_rule(rule_id: int) -> Rule:
    """Keep a rule from firing. What it has started goes on."""
    return update_rule(rule_id, {"enabled": False})


@transaction.atomic
def delete_rule(rule_id: int) -> None:
    """Delete a rule and stop its timer; what it has brought about stays, with the rule's ref. Raises RuleNotFound."""
    _locked(rule_id).delete()


def refuse_taken(ref: str) -> None:
    """Raise RuleRefTaken when there is a rule with this ref."""
    if Rule.objects.filter(ref=ref).exists():
        raise RuleRefTaken(ref)


def _locked(rule_id: int) -> Rule:
    rows = Rule.objects.select_for_update(no_key=True, of=("self",)).select_related("action", "trigger")
    rule = rows.filter(pk=rule_id).first()
    if rule is None:
        raise RuleNotFound(str(rule_id))
    return rule


def _put_secrets_away(rule: Rule, *, stored: Rule | None) -> secrets.PutAway:
    put_away = secrets.put_away(rule.action_params, rule.action and rule.action.param_schema, stored=stored)
    rule.action_params = put_away.shown
    return put_away


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields when they are of a size to be kept, and dedupe, aggregate and throttle well formed."""
    check_sizes(fields)
    found = [problem for kind in KINDS for problem in holding_problems(kind, fields.get(kind))]
    if found:
        raise ValidationFailed(details=[{"field": field, "message": message} for field, message in found])
    return {name: without_nulls(value) if name in KINDS else value for name, value in fields.items()}


def _links(changes: Mapping[str, Any]) -> dict[str, Any]:
    links: dict[str, Any] = {}
    if "action_ref" in changes:
        links["action"] = _action(changes["action_ref"])
    if "trigger_ref" in changes:
        links["trigger"] = _trigger(changes["trigger_ref"])
    return links


def _pack(ref: str) -> Pack:
    pack = Pack.objects.filter(ref=ref).first()
    if pack is None:
        raise NotFound(f"Pack '{ref}' not found")
    return pack


def _action(ref: str) -> Action:
    action = Action.objects.filter(ref=ref).first()
    if action is None:
        raise NotFound(f"Action '{ref}' not found")
    return action


def _trigger(ref: str) -> Trigger:
    trigger = Trigger.objects.filter(ref=ref).first()
    if trigger is None:
        raise NotFound(f"Trigger '{ref}' not found")
    return trigger
