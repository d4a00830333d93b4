"""Give and take away: permission sets and roles of identities, what roles give, and an identity's access as a whole."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import IntegrityError, models, transaction

from apps.core.deletions import delete_once
from apps.core.errors import BadRequest, ConflictError, NotFound
from apps.identity import protection
from apps.identity.audit import administration
from apps.identity.callers import Caller
from apps.identity.errors import NotOneself
from apps.identity.grants import Facts, holds_set, problems
from apps.identity.models import (
    ADMIN_SET_REF,
    Identity,
    IdentityRoleAssignment,
    PermissionAssignment,
    PermissionSet,
    PermissionSetRoleAssignment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_Row = TypeVar("_Row", bound=models.Model)


class InvalidGrants(BadRequest):
    """The grants cannot be stored"""


class ManagedElsewhere(BadRequest):
    """The role is kept by a directory; take it away there"""


# --- Access as a whole ------------------------------------------------------------------------------------------


def freeze(identity: Identity, *, by: Caller) -> None:
    """Take the access away: no sign-in, no tokens; what runs goes on. Raises NotOneself, KeptByTheProduct."""
    protection.check_freezable(identity, by=by)
    identity.set(frozen=True)
    administration.identity_changed("updated", identity, changed=["frozen"], frozen=True)


def unfreeze(identity: Identity) -> None:
    """Give the access back. Raises KeptByTheProduct."""
    protection.check_changeable(identity)
    identity.set(frozen=False)
    administration.identity_changed("updated", identity, changed=["frozen"], frozen=False)


# --- Permission sets of an identity -----------------------------------------------------------------------------


def assign(permset: PermissionSet, identity: Identity) -> PermissionAssignment:
    """Let the identity hold the set. Raises ConflictError when it does, KeptByTheProduct."""
    protection.check_people(identity, "permission set")
    held = PermissionAssignment(identity=identity, permset=permset)
    held = _new(held, f"'{identity.login}' holds '{permset.ref}' already")
    administration.assignment_changed(administration.GIVEN, identity, permset)
    return held


def withdraw(held: PermissionAssignment) -> None:
    """Take a set away that was assigned. Raises NotFound when somebody else has done so."""
    delete_once(held)
    administration.assignment_changed(administration.TAKEN, held.identity, held.permset)


def check_own(identity: Identity, refs: Iterable[str], *, by: Caller) -> None:
    """Raise NotOneself when ``by`` would lose ``core.admin`` by holding just these sets."""
    if identity.pk == by.identity_id and ADMIN_SET_REF not in set(refs) and holds_set(identity, ADMIN_SET_REF):
        raise NotOneself("You cannot take core.admin from yourself; another administrator can")


@transaction.atomic
def hold_exactly(identity: Identity, refs: Iterable[str], *, by: Caller) -> None:
    """
    Let the identity hold these permission sets and no others.

    Raises NotFound for a set that does not exist, NotOneself when ``by`` would lose ``core.admin``, Forbidden for a
    set that ``by`` may not manage.
    """
    _lock(identity)
    wanted = set(refs)
    sets = {permset.ref: permset for permset in PermissionSet.objects.filter(ref__in=wanted)}
    if missing := sorted(wanted - sets.keys()):
        raise NotFound(f"Permission sets do not exist: {', '.join(missing)}")
    check_own(identity, wanted, by=by)
    held = {row.permset.ref: row for row in identity.assignments.select_related("permset")}
    for ref in sorted(held.keys() - wanted):
        by.require(protection.MANAGE, held[ref].permset)
        withdraw(held[ref])
    for ref in sorted(wanted - held.keys()):
        by.require(protection.MANAGE, sets[ref])
        assign(sets[ref], identity)


# --- Roles ------------------------------------------------------------------------------------------------------


def give_role(identity: Identity, role: str) -> IdentityRoleAssignment:
    """Let the identity have the role. Raises ConflictError when it has, KeptByTheProduct."""
    protection.check_people(identity, "role")
    held = IdentityRoleAssignment(identity=identity, role=role)
    held = _new(held, f"'{identity.login}' has the role '{role}' already")
    administration.role_changed(administration.GIVEN, identity, role)
    return held


def take_role(held: IdentityRoleAssignment) -> None:
    """Take a role away. Raises ManagedElsewhere for one that a directory gave, NotFound when it is gone already."""
    if held.managed:
        raise ManagedElsewhere
    delete_once(held)
    administration.role_changed(administration.TAKEN, held.identity, held.role)


def give_set_to_role(permset: PermissionSet, role: str) -> PermissionSetRoleAssignment:
    """Let whoever has the role hold the set. Raises ConflictError when it is so."""
    given = PermissionSetRoleAssignment(permset=permset, role=role)
    given = _new(given, f"The role '{role}' gives '{permset.ref}' already")
    administration.role_changed(administration.GIVEN, permset, role)
    return given


def take_set_from_role(given: PermissionSetRoleAssignment) -> None:
    """Take a set from everybody who holds it by the role. Raises NotFound when somebody else has done so."""
    delete_once(given)
    administration.role_changed(administration.TAKEN, given.permset, given.role)


@transaction.atomic
def have_exactly(identity: Identity, roles: Iterable[str], *, by: Caller) -> None:
    """
    Let the identity have these roles and, of those that people gave, no others.

    Raises Forbidden where ``by`` may not manage all permission sets: a role may give any, today or later.
    """
    _lock(identity)
    wanted, held = set(roles), {row.role: row for row in identity.roles.all()}
    taken = [row for role, row in held.items() if role not in wanted and not row.managed]
    given = sorted(wanted - held.keys())
    if taken or given:
        by.require(protection.MANAGE, Facts())
    for row in taken:
        take_role(row)
    for role in given:
        give_role(identity, role)


@transaction.atomic
def give_by_exactly(permset: PermissionSet, roles: Iterable[str]) -> None:
    """Let these roles give the set, and no others."""
    _lock(permset)
    wanted, giving = set(roles), {row.role: row for row in permset.roles.all()}
    for role in sorted(giving.keys() - wanted):
        take_set_from_role(giving[role])
    for role in sorted(wanted - giving.keys()):
        give_set_to_role(permset, role)


# --- Permission sets themselves ---------------------------------------------------------------------------------


def update_set(permset: PermissionSet, changes: "Mapping[str, Any]") -> PermissionSet:
    """Change ``label``, ``description`` and ``grants``, as far as they are named. Raises InvalidGrants."""
    if "grants" in changes and (found := problems(changes["grants"])):
        raise InvalidGrants("; ".join(found[:_MOST_PROBLEMS]))
    if not changes:
        return permset
    permset.set(**changes)
    administration.permission_set_changed("updated", permset, changed=sorted(changes))
    return permset


_MOST_PROBLEMS = 10  # a message is for people


@transaction.atomic
def delete_set(permset: PermissionSet) -> None:
    """Delete a set with its assignments; tokens that name it are refused from then on. Raises NotFound when it is gone."""
    administration.permission_set_changed("deleted", permset)
    delete_once(permset)


def _lock(row: models.Model) -> None:
    """Of two who say at once what there is to be and nothing else, the second finds what the first has done."""
    if type(row)._default_manager.select_for_update(no_key=True).filter(pk=row.pk).values("pk").first() is None:
        raise NotFound("It was deleted meanwhile")


def _new(row: _Row, taken: str) -> _Row:
    """Store a row of which there is one. Raises ConflictError, also for one that was faster, NotFound."""
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        if "unique" not in str(error).lower():
            raise NotFound("It was deleted meanwhile") from None
        raise ConflictError(taken) from None
    return type(row)._default_manager.get(pk=row.pk)
