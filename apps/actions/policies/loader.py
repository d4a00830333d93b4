"""Loads policy files of packs (packs.md section 5)."""

from collections.abc import Collection
from typing import Any

from django.core.exceptions import ValidationError

from apps.actions.models import Action, Policy
from apps.actions.policies.rules import limits_problem, problems
from apps.core.refs import ref_problem, validate_policy_ref
from apps.packs.components import Component, FaultyComponent
from apps.packs.models import Pack
from apps.packs.rows import locked

SCOPES = ("action_ref", "action_refs", "semaphore")


class PolicyLoader:
    """Stores what ``policies/*.yaml`` describe; policies made through the API or the console are left alone."""

    folder = "policies"

    def load(self, pack: Pack, component: Component) -> None:
        fields = {**_scope(pack, component), **_fields(component)}
        for name, problem in problems(fields):
            raise FaultyComponent(f"{name}: {problem}", key=name)
        if problem_of_limits := limits_problem(fields):
            raise FaultyComponent(problem_of_limits)
        _store(pack, component.ref, fields)

    def remove_stale(self, pack: Pack, kept_refs: Collection[str]) -> list[str]:
        for policy in Policy.objects.filter(defined_by=pack).exclude(ref__in=kept_refs):
            policy.delete()
        return []


def _fields(component: Component) -> dict[str, Any]:
    return {
        "name": component.text("name") or component.ref.rpartition(".")[2],
        "description": component.text("description"),
        "tags": component.texts("tags"),
        "enabled": component.flag("enabled", True),
        "parameters": component.texts("parameters"),
        "method": component.text("method", "enqueue"),
        "threshold": component.integer("threshold"),
        "max_executions": component.integer("max_executions"),
        "window_seconds": component.integer("window_seconds"),
        "max_waiting": component.integer("max_waiting"),
    }


def _scope(pack: Pack, component: Component) -> dict[str, Any]:
    """Return the columns of what the policy is about: never anything of another pack."""
    given = [name for name in SCOPES if component.data.get(name)]
    if len(given) > 1:
        raise FaultyComponent(f"at most one of {', '.join(SCOPES)} may be given", key=given[1])
    columns: dict[str, Any] = {
        "action": None, "action_ref": None, "pack": None, "pack_ref": None, "action_refs": [], "semaphore": None
    }  # fmt: skip
    match given:
        case ["action_ref"]:
            action = _own_action(pack, component, component.text("action_ref") or "", "action_ref")
            return {**columns, "action": action, "action_ref": action.ref}
        case ["action_refs"]:
            actions = [_own_action(pack, component, ref, "action_refs") for ref in component.texts("action_refs")]
            return {**columns, "action_refs": list(dict.fromkeys(action.ref for action in actions))}
        case ["semaphore"]:
            return {**columns, "semaphore": component.text("semaphore")}
        case _:
            return {**columns, "pack": pack, "pack_ref": pack.ref}


def _own_action(pack: Pack, component: Component, named: str, key: str) -> Action:
    ref = component.full_ref(named)
    action = Action.objects.filter(ref=ref).first()
    if action is None:
        raise FaultyComponent(f"there is no action '{ref}'", key=key)
    if action.pack_ref != pack.ref:
        raise FaultyComponent(f"'{ref}' belongs to pack '{action.pack_ref}'", key=key)
    return action


def _store(pack: Pack, ref: str, fields: dict[str, Any]) -> None:
    if problem := ref_problem(validate_policy_ref, ref):
        raise FaultyComponent(problem, key="ref")
    policy = locked(Policy, ref)
    if policy is not None and policy.defined_by_id != pack.pk:
        raise FaultyComponent(f"'{ref}' was not made by this pack and is left as it is", key="ref")
    changed = policy is None or any(getattr(policy, name) != value for name, value in fields.items())
    policy = policy or Policy(ref=ref, defined_by=pack)
    for name, value in fields.items():
        setattr(policy, name, value)
    _validate(policy)
    if changed:
        policy.save()


def _validate(policy: Policy) -> None:
    try:
        policy.clean_fields(exclude=["pack", "action", "defined_by"])
    except ValidationError as error:
        key, messages = next(iter(error.message_dict.items()))
        raise FaultyComponent(f"{key}: {' '.join(messages)}", key=key) from error
