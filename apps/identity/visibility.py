"""What checks of grants look at of identities and permission sets (auth.md section 5)."""

from typing import TYPE_CHECKING

from apps.identity.grants import Columns, condition, facts, narrowed
from apps.identity.grants.facts import Facts
from apps.identity.models import Identity, PermissionAssignment, PermissionSet

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller

IDENTITY_COLUMNS = Columns(refs="login")
SET_COLUMNS = Columns(refs="ref", pack_refs="pack_ref")
ASSIGNED_SET_COLUMNS = Columns(ids="permset", refs="permset__ref", pack_refs="permset__pack_ref")


def visible_identities(caller: "Caller") -> "QuerySet[Identity]":
    """Return the identities that the caller may read, by login."""
    return narrowed(Identity.objects.order_by("login"), condition(caller, "identities:read", IDENTITY_COLUMNS))


def visible_sets(caller: "Caller") -> "QuerySet[PermissionSet]":
    """Return the permission sets that the caller may read, by ref."""
    return narrowed(PermissionSet.objects.order_by("ref"), condition(caller, "permissions:read", SET_COLUMNS))


def visible_assignments(caller: "Caller") -> "QuerySet[PermissionAssignment]":
    """Return the assignments of permission sets that the caller may read, with their sets, oldest first."""
    rows = PermissionAssignment.objects.select_related("permset").order_by("created", "id")
    return narrowed(rows, condition(caller, "permissions:read", ASSIGNED_SET_COLUMNS))


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Identity, lambda row: Facts(id=row.pk, ref=row.login), resource="identities", lookup="login")
    facts.register(
        PermissionSet, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="permissions"
    )
