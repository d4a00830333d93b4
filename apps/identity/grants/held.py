"""Which grants a caller holds, read anew for each request: one query, whatever their number (auth.md 6)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apps.core import sql
from apps.core.errors import Forbidden
from apps.identity.grants.catalogue import STANDARD
from apps.identity.grants.compiled import NONE, Grants, HeldSet, grants_in
from apps.identity.models import Identity, PermissionAssignment, PermissionSet

if TYPE_CHECKING:
    from apps.identity.callers import Caller

# Every request asks this: as plain SQL it costs a quarter of what composing the same query does.
_ASSIGNED = """
SELECT permission_set.ref, held.role, permission_set.grants FROM permission_set JOIN (
    SELECT permset, NULL AS role FROM permission_assignment WHERE identity = %s
    UNION ALL
    SELECT gives.permset, gives.role FROM permission_set_role_assignment gives
    JOIN identity_role_assignment has ON has.role = gives.role WHERE has.identity = %s
) held ON held.permset = permission_set.id ORDER BY permission_set.ref, held.role
"""
_NAMED = "SELECT ref, NULL, grants FROM permission_set WHERE ref IN ({}) ORDER BY ref"


def sets_of_identity(identity_id: int) -> tuple[HeldSet, ...]:
    """Return the sets that an identity holds, directly and by its roles; one query."""
    return _rows(_ASSIGNED, [identity_id, identity_id])


def sets_named(refs: Iterable[str]) -> tuple[HeldSet, ...]:
    """Return the sets of these refs, without ``standard``; one query. Raises Forbidden naming all that do not exist."""
    named = sorted(set(refs) - {STANDARD})
    if not named:
        return ()
    found = _rows(_NAMED.format(", ".join(["%s"] * len(named))), named)
    if missing := sorted(set(named) - {held.ref for held in found}):
        raise Forbidden(f"Permission sets do not exist: {', '.join(missing)}")
    return found


def _rows(text: str, parameters: Sequence[Any]) -> tuple[HeldSet, ...]:
    return tuple(HeldSet(ref, role, _text(grants)) for ref, role, grants in sql.fetch(text, parameters))


def _text(value: Any) -> str:
    """Return JSON as text, whatever the driver makes of the column."""
    return value if isinstance(value, str) else json.dumps(value)


def sets_of(caller: "Caller") -> tuple[HeldSet, ...]:
    """
    Return the sets whose grants count for the caller.

    An execution token's come from the sets it names, never from its identity; sensors and workers hold none.
    """
    if caller.is_execution:
        return (*sets_named(caller.permission_set_refs), *_standard(caller))
    if caller.token_type != "access" or caller.holder is None:
        return ()
    return sets_of_identity(caller.holder.pk)


def grants_of(caller: "Caller") -> Grants:
    """Return what the caller was granted. Raises Forbidden when its token names a set that does not exist."""
    return caller.grants


def grants_of_identity(identity: Identity) -> Grants:
    """Return what an identity was granted, directly and by its roles."""
    return grants_in(sets_of_identity(identity.pk))


def load(caller: "Caller") -> Grants:
    """Read what ``grants_of`` answers with; once for each caller."""
    held = sets_of(caller)
    return grants_in(held) if held else NONE


def _standard(caller: "Caller") -> tuple[HeldSet, ...]:
    """Return what ``standard`` gives: the keys and artifacts of the actions and packs that the token names."""
    if STANDARD not in caller.permission_set_refs:
        return ()
    owners: Mapping[str, Sequence[str]] = {
        "pack": caller.standard_access_pack_refs,
        "action": caller.standard_access_action_refs,
    }
    given = {"keys": ["read", "decrypt"], "artifacts": ["read", "create", "update", "delete"]}
    grants = [
        {
            "resource": resource,
            "actions": actions,
            "constraints": {"owner_types": [owner_type], "owner_refs": list(refs)},
        }
        for resource, actions in given.items()
        for owner_type, refs in owners.items()
        if refs
    ]
    return (HeldSet(STANDARD, None, json.dumps(grants)),)


def assigned_sets(identity: Identity) -> list[PermissionSet]:
    """Return the permission sets that were given to the identity directly, by ref."""
    return list(PermissionSet.objects.filter(assignments__identity=identity).order_by("ref"))


def holds_set(identity: Identity, ref: str) -> bool:
    """Return True when the set was given to the identity directly."""
    return PermissionAssignment.objects.filter(identity=identity, permset__ref=ref).exists()
