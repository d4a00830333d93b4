"""What checks of grants look at of identities and permission sets (auth.md section 5)."""

from typing import TYPE_CHECKING

from apps.identity.grants import Columns, condition, facts, narrowed
from apps.identity.grants.facts import Facts
from apps.identity.models import Identity, PermissionAssignment, PermissionSet

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

    from apps.identity.callers import Caller

IDENTITY_COLUMNS = Columns(refs="login")
SET_COLUMNS = Columns(refs="ref", pack_refs="pack_ref")
TOKEN_COLUMNS = Columns(ids="identity", refs="identity__login")
ASSIGNED_SET_COLUMNS = Columns(ids="permset", refs="permset__ref", pack_refs="permset__pack_ref")


def readable_identities(caller: "Caller") -> "Q":
    """Return the condition of the identities that the caller may read."""
    return condition(caller, "identities:read", IDENTITY_COLUMNS)


def readable_tokens(caller: "Caller") -> "Q":
    """Return the condition of the integration tokens whose identities the caller may read."""
    return condition(caller, "identities:read", TOKEN_COLUMNS)


def readable_sets(caller: "Caller") -> "Q":
    """Return the condition of the permission sets that the caller may read."""
    return condition(caller, "permissions:read", SET_COLUMNS)


def readable_assignments(caller: "Caller") -> "Q":
    """Return the condition of what belongs to a permission set (``permset``) that the caller may read."""
    return condition(caller, "permissions:read", ASSIGNED_SET_COLUMNS)


def visible_identities(caller: "Caller") -> "QuerySet[Identity]":
    """Return the identities that the caller may read, by login."""
    return narrowed(Identity.objects.order_by("login"), readable_identities(caller))


def visible_sets(caller: "Caller") -> "QuerySet[PermissionSet]":
    """Return the permission sets that the caller may read, by ref."""
    return narrowed(PermissionSet.objects.order_by("ref"), readable_sets(caller))


def visible_assignments(caller: "Caller") -> "QuerySet[PermissionAssignment]":
    """Return the assignments of permission sets that the caller may read, with their sets, oldest first."""
    rows = PermissionAssignment.objects.select_related("permset").order_by("created", "id")
    return narrowed(rows, readable_assignments(caller))


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Identity, lambda row: Facts(id=row.pk, ref=row.login), resource="identities", lookup="login")
    facts.register(
        PermissionSet, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="permissions"
    )
