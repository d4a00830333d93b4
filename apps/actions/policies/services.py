"""What callers may ask of policies: create, change, delete; each holds at once for what has not started."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from apps.actions.models import Action, Policy
from apps.actions.policies.access import Scope
from apps.actions.policies.rules import SEVERAL_SCOPES, limits_problem, problems
from apps.core.deletions import delete_once
from apps.core.errors import BadRequest, ConflictError, NotFound, ValidationFailed
from apps.identity import audit
from apps.packs.models import Pack

LIMITS = ("threshold", "max_executions", "window_seconds", "max_waiting")
_RELATIONS = ["pack", "action", "defined_by"]


class PolicyRefTaken(ConflictError):
    """A policy with this ref already exists"""


class PolicyNotFound(NotFound):
    """Policy not found"""


@transaction.atomic
def create_policy(*, ref: str, scope: Scope, **fields: Any) -> Policy:
    """
    Create a policy.

    Raises PolicyRefTaken, NotFound for actions and pack, BadRequest for several scopes or no limit, ValidationFailed.
    """
    if Policy.objects.filter(ref=ref).exists():
        raise PolicyRefTaken(f"Policy with ref '{ref}' already exists")
    policy = Policy(ref=ref, **scope_columns(scope), **_checked(fields))
    _check_limits(policy)
    policy.clean_fields(exclude=_RELATIONS)
    policy.save(force_insert=True)
    _record("created", policy)
    return policy


@transaction.atomic
def update_policy(policy_id: int, changes: Mapping[str, Any]) -> Policy:
    """Change some fields of a policy; the same errors as creating one, and PolicyNotFound."""
    policy = Policy.objects.select_for_update(no_key=True).filter(pk=policy_id).first()
    if policy is None:
        raise PolicyNotFound
    values = _checked(changes)
    if values.get("action_refs") is not None and values["action_refs"] != policy.action_refs:
        _check_shared(policy, values["action_refs"])
    changed = [name for name, value in values.items() if getattr(policy, name) != value]
    for name in changed:
        setattr(policy, name, values[name])
    _check_limits(policy)
    policy.clean_fields(exclude=_RELATIONS)
    if changed:
        policy.save(update_fields=[*changed, "updated"])
        _record("updated", policy, fields=sorted(changed))
    return policy


@transaction.atomic
def delete_policy(policy_id: int) -> None:
    """Delete a policy; what waits for it may start. Raises PolicyNotFound."""
    policy = Policy.objects.filter(pk=policy_id).first()
    if policy is None:
        raise PolicyNotFound
    _record("deleted", policy)
    delete_once(policy)


def scope_columns(scope: Scope) -> dict[str, Any]:
    """Return the columns of a scope. Raises BadRequest for several at once, NotFound for what does not exist."""
    if scope.parts > 1:
        raise BadRequest(SEVERAL_SCOPES)
    columns: dict[str, Any] = {"semaphore": scope.semaphore or None, "action_refs": _existing(scope.action_refs)}
    if scope.action_ref:
        action = Action.objects.filter(ref=scope.action_ref).first()
        if action is None:
            raise NotFound(f"Action '{scope.action_ref}' not found")
        columns |= {"action": action, "action_ref": action.ref}
    if scope.pack_ref:
        pack = Pack.objects.filter(ref=scope.pack_ref).first()
        if pack is None:
            raise NotFound(f"Pack '{scope.pack_ref}' not found")
        columns |= {"pack": pack, "pack_ref": pack.ref}
    return columns


def _existing(refs: tuple[str, ...] | list[str]) -> list[str]:
    wanted = list(dict.fromkeys(refs))
    known = set(Action.objects.filter(ref__in=wanted).values_list("ref", flat=True)) if wanted else set()
    for ref in wanted:
        if ref not in known:
            raise NotFound(f"Action '{ref}' not found")
    return wanted


def _check_shared(policy: Policy, action_refs: list[str]) -> None:
    if policy.action_ref or policy.pack_ref or policy.semaphore:
        raise BadRequest(SEVERAL_SCOPES)
    if policy.action_refs and not action_refs:
        raise BadRequest("action_refs cannot become empty: the policy would limit everything")
    if not policy.action_refs:
        raise BadRequest("A global policy cannot be narrowed to action_refs; make another one")
    _existing([ref for ref in action_refs if ref not in policy.action_refs])


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    details = [{"field": name, "message": problem} for name, problem in problems(fields)]
    if details:
        raise ValidationFailed(details=details)  # type: ignore[arg-type]  # dicts of exactly these keys
    return dict(fields)


def _check_limits(policy: Policy) -> None:
    if problem := limits_problem({name: getattr(policy, name) for name in LIMITS}):
        raise BadRequest(problem)


def _record(what: str, policy: Policy, **details: Any) -> None:
    limits = {name: value for name in LIMITS if (value := getattr(policy, name)) is not None}
    audit.record(
        f"admin.policy.{what}",
        resource_type="policy",
        resource_id=policy.pk,
        resource_ref=policy.ref,
        details={"scope": str(policy.scope), "method": str(policy.method), **limits, **details},
    )
