"""Loads rule files of packs (packs.md section 5)."""

from collections.abc import Collection
from typing import Any

from apps.actions.models import Action
from apps.core.errors import AttuneError, UnprocessableEntity
from apps.core.schemas import Violation
from apps.events.models import Trigger
from apps.identity.grants import STANDARD
from apps.identity.models import PermissionSet
from apps.packs.components import Component, FaultyComponent
from apps.packs.models import Pack
from apps.packs.rows import delete_stale, locked, store
from apps.rules import effects, secrets
from apps.rules.conditions import check_conditions
from apps.rules.holding import KINDS, holding_problems, without_nulls
from apps.rules.models import Rule
from apps.rules.parameters import action_violations, trigger_violations, violation_text


class RuleLoader:
    """Stores what ``rules/*.yaml`` describe; rules made through the API are left alone."""

    folder = "rules"

    def load(self, pack: Pack, component: Component) -> None:
        fields = rule_fields(component)
        _warn(component, fields)
        known = locked(Rule, component.ref)
        before = None if known is None else effects.use_of(known)
        put_away = _put_secrets_away(fields, known)
        changed = known is None or any(getattr(known, name) != value for name, value in fields.items())
        rule = store(Rule, pack, component.ref, fields)
        if put_away.changed:
            put_away.keep(rule)
            rule.save(update_fields=["updated"])  # who keeps the rule in memory has to read it again
        if changed or put_away.changed:
            effects.rule_saved(rule, before)

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        return delete_stale(Rule.objects.filter(pack_ref=pack.ref, is_adhoc=False), kept_refs)


def rule_fields(component: Component) -> dict[str, Any]:
    """Return the row's fields as the file gives them. Raises FaultyComponent for an unknown trigger or action."""
    trigger = _found(Trigger, component, "trigger_ref", "trigger")
    action = _found(Action, component, "action_ref", "action")
    return {
        "label": component.label,
        "description": component.text("description"),
        "trigger": trigger,
        "trigger_ref": trigger.ref,
        "action": action,
        "action_ref": action.ref,
        "enabled": component.flag("enabled", True),
        "conditions": _conditions(component),
        "action_params": component.mapping("action_params"),
        "trigger_params": component.mapping("trigger_params"),
        "permission_set_refs": _permission_sets(component),
        "priority": component.integer("priority"),
        "alert_on_failure": component.flag("alert_on_failure"),
        **{kind: _holding(component, kind) for kind in KINDS},
    }


def _put_secrets_away(fields: dict[str, Any], known: Rule | None) -> secrets.PutAway:
    try:
        put_away = secrets.put_away(fields["action_params"], fields["action"].param_schema, stored=known)
    except AttuneError as error:
        raise FaultyComponent(f"action_params: {error.message}", key="action_params") from error
    fields["action_params"] = put_away.shown
    return put_away


def _found(model: Any, component: Component, key: str, noun: str) -> Any:
    named = component.text(key)
    if not named:
        raise FaultyComponent(f"{key} is required", key=key)
    ref = component.full_ref(named)
    row = model.objects.filter(ref=ref).first()
    if row is None:
        raise FaultyComponent(f"there is no {noun} '{ref}'", key=key)
    return row


def _conditions(component: Component) -> Any:
    conditions = component.data.get("conditions")
    if conditions is None:
        return {}
    if not isinstance(conditions, dict | list):
        raise FaultyComponent("conditions must be a mapping or a list", key="conditions")
    return conditions


def _permission_sets(component: Component) -> list[str] | None:
    """Return the refs of ``permission_set_refs`` or ``permission_set_ref``, one name or a list; None without."""
    for key in ("permission_set_refs", "permission_set_ref"):
        value = component.data.get(key)
        if value is not None:
            names = [value] if isinstance(value, str) else value
            if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
                raise FaultyComponent(f"{key} must be a name or a list of names", key=key)
            return [name if name == STANDARD else component.full_ref(name) for name in names]
    return None


def _holding(component: Component, kind: str) -> dict[str, Any] | None:
    settings = component.data.get(kind)
    for field, problem in holding_problems(kind, settings):
        raise FaultyComponent(f"{field}: {problem}", key=kind)
    return without_nulls(settings)


def _warn(component: Component, fields: dict[str, Any]) -> None:
    """Say what people should know though the rule is stored."""
    trigger, action = fields["trigger"], fields["action"]
    _warn_of_violations(
        component,
        "trigger_params",
        f"trigger '{trigger.ref}'",
        lambda: trigger_violations(trigger, fields["trigger_params"]),
    )
    _warn_of_violations(
        component,
        "action_params",
        f"action '{action.ref}'",
        lambda: action_violations(action, fields["action_params"]),
    )
    for warning in check_conditions(fields["conditions"]):
        component.warn(f"conditions: {warning['message']}", key="conditions")
    named = set(fields["permission_set_refs"] or ()) - {STANDARD}
    known = set(PermissionSet.objects.filter(ref__in=named).values_list("ref", flat=True)) if named else set()
    for ref in sorted(named - known):
        component.warn(f"there is no permission set '{ref}'", key="permission_set_refs")


def _warn_of_violations(component: Component, key: str, owner: str, find: Any) -> None:
    try:
        found: list[Violation] = find()
    except UnprocessableEntity as error:
        component.warn(f"{key}: {error.message}", key=key)
        return
    if found:
        component.warn(violation_text(owner, found), key=key)
