"""The one place that decides: whether a caller may do ``resource:action`` (on an object), and what it may pass on."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from apps.identity.denials import refused
from apps.identity.grants import held
from apps.identity.grants.catalogue import ACTIONS
from apps.identity.grants.compiled import Grants, grants_in
from apps.identity.grants.facts import NOTHING_KNOWN, Facts, facts_of
from apps.identity.grants.matching import PRIVATE, holds, is_anothers, is_own, of_the_caller
from apps.identity.grants.opening import pack_facts

if TYPE_CHECKING:
    from apps.identity.callers import Caller


def allows(caller: "Caller", name: str, row: object = None) -> bool:
    """
    Return True when the caller may do ``resource:action`` on the row.

    Without a row: when any grant gives it, be it for some objects only; the row is checked once it is known.
    """
    giving = caller.grants.giving(name)
    if row is None:
        return any(of_the_caller(grant, caller) for grant in giving)
    facts = facts_of(row)
    return any(holds(grant, facts, caller) for grant in giving) or opens(caller, name, facts)


def covers(caller: "Caller", name: str) -> bool:
    """Return True when the caller may do ``resource:action`` on an object without properties: on all there are."""
    return any(holds(grant, NOTHING_KNOWN, caller) for grant in caller.grants.giving(name))


def opens(caller: "Caller", name: str, facts: Facts) -> bool:
    """
    Return True when the object itself lets the caller in, without a grant for what it is (auth.md 4.2).

    That is how private artifacts open: to the identity that owns them, and to whoever may read (for changes:
    configure) the pack they belong to. Public ones anybody reads who is signed in.
    """
    resource, _, action = name.partition(":")
    if resource != "artifacts" or caller.token_type not in ("access", "execution"):
        return False
    if facts.visibility != PRIVATE:
        return action == "read"
    if caller.token_type == "access" and is_own(facts, caller):  # an execution has what its sets name, no more
        return True
    if facts.pack_ref is None:
        return False
    of_pack = f"packs:{pack_action(action)}"
    if not caller.grants.giving(of_pack):
        return False
    pack = pack_facts(facts.pack_ref)
    return pack is not None and allows(caller, of_pack, pack)


def pack_action(action: str) -> str:
    """Return what of the pack lets in to a private artifact of it."""
    return "read" if action == "read" else "configure"


def may_create(caller: "Caller", name: str, facts: Facts) -> bool:
    """Return True when the caller may make an object like this, or make one like this of another."""
    if allows(caller, name, facts):
        return True
    # What nobody else owns hides nothing from anybody: a plain grant makes a private artifact, too.
    return name.startswith("artifacts:") and not is_anothers(facts, caller) and covers(caller, name)


# --- Passing on -------------------------------------------------------------------------------------------------


def beyond(caller: "Caller", set_refs: Iterable[str]) -> list[str]:
    """
    Return each ``resource:action`` of these sets that the caller's grants do not cover, sorted.

    What the sets ask for in constraints does not count; ``standard`` may always be passed on. Raises Forbidden naming
    the sets that do not exist.
    """
    return uncovered(caller, grants_in(held.sets_named(set_refs)))


def uncovered(caller: "Caller", grants: Grants) -> list[str]:
    """Return each ``resource:action`` of these grants that the caller's do not cover, sorted."""
    named = {f"{grant.resource}:{action}" for grant in grants.all for action in grant.actions}
    return sorted(name for name in named if not covers(caller, name))


def require_delegation(caller: "Caller", set_refs: Iterable[str] | None, message: str) -> None:
    """Raise Forbidden, with this message when the sets hold more than the caller's grants cover (auth.md 6.3)."""
    refs = tuple(set_refs or ())
    if refs and beyond(caller, refs):
        raise refused(message, resource="permissions", action="delegate", permission_sets=list(refs))


def existing_sets(set_refs: Iterable[str]) -> frozenset[str]:
    """Return the refs. Raises Forbidden naming all that do not exist; ``standard`` always does."""
    return frozenset(found.ref for found in held.sets_named(set_refs))


# --- What is shown ----------------------------------------------------------------------------------------------


def effective_permissions(grants: Grants) -> list[dict[str, Any]]:
    """Return ``[{"resource", "actions"}]`` of all grants together, sorted."""
    actions_of: dict[str, set[str]] = {}
    for grant in grants.all:
        if grant.broken is None:
            actions_of.setdefault(grant.resource, set()).update(grant.actions)
    return [{"resource": resource, "actions": sorted(actions)} for resource, actions in sorted(actions_of.items())]


def known(name: str) -> bool:
    """Return True when there is such a ``resource:action``."""
    resource, _, action = name.partition(":")
    return action in ACTIONS.get(resource, frozenset())
