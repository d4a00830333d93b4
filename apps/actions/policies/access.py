"""Who may see and change policies: a policy is about the actions it limits (auth.md section 5)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apps.actions.models import Action, Policy
from apps.actions.visibility import COLUMNS
from apps.identity.grants import Facts, condition, facts, narrowed

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller

READ, UPDATE = "actions:read", "actions:update"


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a policy is about; at most one is given, and all executions are meant without any."""

    action_ref: str | None = None
    pack_ref: str | None = None
    action_refs: tuple[str, ...] = ()
    semaphore: str | None = None

    @property
    def parts(self) -> int:
        return sum(map(bool, (self.action_ref, self.pack_ref, self.action_refs, self.semaphore)))


def scope_of(policy: Policy) -> Scope:
    """Return what a policy is about."""
    refs = policy.action_refs if isinstance(policy.action_refs, list) else []
    return Scope(
        action_ref=policy.action_ref,
        pack_ref=policy.pack_ref,
        action_refs=tuple(refs),
        semaphore=policy.semaphore,
    )


def may_update(caller: "Caller", scope: Scope) -> bool:
    """Whether the caller may change every action that a policy with this scope limits, those to come included."""
    return all(caller.allows(UPDATE, one) for one in _limited(scope))


def require_update(caller: "Caller", scope: Scope) -> None:
    """Raise Forbidden unless ``may_update``."""
    for one in _limited(scope):
        caller.require(UPDATE, one)


def _limited(scope: Scope) -> Iterator[Any]:
    """Yield what the caller must hold the grant on; facts without a property are met by an unconstrained grant only."""
    refs = [scope.action_ref] if scope.action_ref else list(scope.action_refs)
    if refs:
        known = {action.ref: action for action in Action.objects.filter(ref__in=refs)}
        yield from (known.get(ref, Facts(ref=ref)) for ref in refs)
    elif scope.pack_ref:
        yield Facts(pack_ref=scope.pack_ref)
    else:
        # Any action may come to list a semaphore, whoever owns it.
        yield Facts()


def visible_to(caller: "Caller") -> "QuerySet[Policy]":
    """Return the policies that limit an action which the caller may read, by ref."""
    return readable(caller, Policy.objects.order_by("ref"))


def readable(caller: "Caller", rows: "QuerySet[Policy]") -> "QuerySet[Policy]":
    """Return those of the policies that limit an action which the caller may read."""
    if caller.covers(READ):
        return rows
    refs: set[str] = set()
    packs: set[str] = set()
    semaphores: set[str] = set()
    seen = narrowed(Action.objects.order_by(), condition(caller, READ, COLUMNS))
    for ref, pack_ref, listed in seen.values_list("ref", "pack_ref", "semaphores"):
        refs.add(ref)
        packs.add(pack_ref)
        semaphores.update(listed if isinstance(listed, list) else ())
    found = []
    for policy in Policy.objects.only("id", "action_ref", "pack_ref", "action_refs", "semaphore"):
        scope = scope_of(policy)
        one_of = (
            {scope.action_ref, *scope.action_refs} & refs or scope.pack_ref in packs or scope.semaphore in semaphores
        )
        if one_of or (not scope.parts and refs):
            found.append(policy.pk)
    return rows.filter(pk__in=found)


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Policy, _facts)


def _facts(policy: Policy) -> Facts:
    if policy.action is not None:
        return Facts(id=policy.action.pk, ref=policy.action.ref, pack_ref=policy.action.pack_ref)
    return Facts(pack_ref=policy.pack_ref)
