"""
Who may do what. Until permission sets are read grant by grant there is one rule: whoever holds ``core.admin`` may.

``allows`` is the one place that decides; everything else asks it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from apps.core.errors import Forbidden
from apps.identity.models import ADMIN_SET_REF, Identity, PermissionAssignment, PermissionSet

if TYPE_CHECKING:
    from apps.identity.callers import Caller

# auth.md 4.1; what a grant names beyond these counts for nothing.
ACTIONS: dict[str, frozenset[str]] = {
    "packs": frozenset({"read", "create", "install", "configure", "delete"}),
    "actions": frozenset({"read", "create", "update", "delete", "execute"}),
    "queues": frozenset({"read", "create", "update", "delete"}),
    "rules": frozenset({"read", "create", "update", "delete"}),
    "triggers": frozenset({"read", "create", "update", "delete"}),
    "executions": frozenset({"read", "update", "cancel", "decrypt"}),
    "events": frozenset({"read"}),
    "enforcements": frozenset({"read", "decrypt"}),
    "inquiries": frozenset({"read", "create", "update", "delete", "respond"}),
    "keys": frozenset({"read", "create", "update", "delete", "decrypt"}),
    "artifacts": frozenset({"read", "create", "update", "delete"}),
    "runtimes": frozenset({"read", "create", "update", "delete"}),
    "workers": frozenset({"read", "manage"}),
    "retention": frozenset({"read", "update"}),
    "identities": frozenset({"read", "create", "update", "delete"}),
    "permissions": frozenset({"read", "manage"}),
    "audit_log": frozenset({"read"}),
}
# What core.admin leaves out (auth.md 7.2): reading secret values takes a set of one's own.
NOT_OF_ADMINISTRATORS = frozenset({"executions:decrypt", "enforcements:decrypt"})
STANDARD = "standard"  # a pseudo set, valid wherever refs of permission sets are listed


def allows(caller: "Caller", grant: str, row: object = None) -> bool:
    """Whether the caller may do ``resource:action`` on the row (or on none in particular)."""
    return grant not in NOT_OF_ADMINISTRATORS and caller.is_admin


def holds_admin(token_type: str, holder: Identity | None, set_refs: Iterable[str]) -> bool:
    """
    Whether a token of this type, of this identity, naming these sets, holds ``core.admin``.

    An execution token's rights come from the sets it names, never from its identity. Raises Forbidden when one of
    them does not exist.
    """
    if token_type == "execution":
        return ADMIN_SET_REF in existing_sets(set_refs)
    if token_type != "access" or holder is None:
        return False
    # The authentication asks it along with the identity.
    known = getattr(holder, "holds_admin", None)
    return holds_set(holder, ADMIN_SET_REF) if known is None else bool(known)


def existing_sets(set_refs: Iterable[str]) -> frozenset[str]:
    """Return the refs. Raises Forbidden naming all that do not exist; ``standard`` always does."""
    named = frozenset(set_refs) - {STANDARD}
    if not named:
        return named
    found = frozenset(PermissionSet.objects.filter(ref__in=named).values_list("ref", flat=True))
    if missing := sorted(named - found):
        raise Forbidden(f"Permission sets do not exist: {', '.join(missing)}")
    return named


def holds_set(identity: Identity, ref: str) -> bool:
    return PermissionAssignment.objects.filter(identity=identity, permset__ref=ref).exists()


def sets_of(caller: "Caller") -> list[PermissionSet]:
    """Return the sets whose grants count for the caller, by ref: none unless ``core.admin`` is among them."""
    if not caller.is_admin:
        return []
    if caller.is_execution:
        return list(PermissionSet.objects.filter(ref__in=caller.permission_set_refs).order_by("ref"))
    return assigned_sets(caller.identity)


def assigned_sets(identity: Identity) -> list[PermissionSet]:
    """Return the permission sets that the identity holds, by ref."""
    return list(PermissionSet.objects.filter(assignments__identity=identity).order_by("ref"))


def effective_permissions(sets: Iterable[PermissionSet]) -> list[dict[str, Any]]:
    """Return ``[{"resource", "actions"}]`` of all grants of the sets together, sorted."""
    actions_of: dict[str, set[str]] = {}
    for held in sets:
        for grant in held.grants or ():
            resource = grant.get("resource")
            found = ACTIONS.get(resource, frozenset()).intersection(grant.get("actions") or ())
            if found:
                actions_of.setdefault(resource, set()).update(found)
    return [{"resource": resource, "actions": sorted(actions)} for resource, actions in sorted(actions_of.items())]
