"""What is recorded when identities and their rights change; one line each where it happens."""

from typing import Any

from apps.identity.audit.record import record
from apps.identity.models import Identity, IntegrationToken, PermissionSet

GIVEN, TAKEN = "given", "taken"


def identity_changed(change: str, identity: Identity, **details: Any) -> None:
    """``change``: created, updated, deleted (call it while the identity has its id)."""
    record(f"admin.identity.{change}", **_of_identity(identity), details=details)


def role_changed(change: str, holder: Identity | PermissionSet, role: str) -> None:
    """A role was given to, or taken from, an identity or a permission set."""
    of_holder = _of_identity(holder) if isinstance(holder, Identity) else _of_set(holder)
    record("admin.role_assignment.changed", **of_holder, details={"change": change, "role": role})


def assignment_changed(change: str, identity: Identity, permset: PermissionSet) -> None:
    """A permission set was given to, or taken from, an identity."""
    details = {"change": change, "permission_set": permset.ref}
    record("admin.permission_assignment.changed", **_of_identity(identity), details=details)


def permission_set_changed(change: str, permset: PermissionSet, **details: Any) -> None:
    """``change``: created, updated, deleted."""
    record("admin.permission_set.changed", **_of_set(permset), details={"change": change, **details})


def integration_token_changed(change: str, token: IntegrationToken, **details: Any) -> None:
    """``change``: created, revoked, deleted."""
    record(
        f"admin.integration_token.{change}",
        resource_type="integration_token",
        resource_id=token.pk,
        details={"identity": token.identity_id, "label": token.label, **details},
    )


def _of_identity(identity: Identity) -> dict[str, Any]:
    return {"resource_type": "identity", "resource_id": identity.pk, "resource_ref": identity.login}


def _of_set(permset: PermissionSet) -> dict[str, Any]:
    return {"resource_type": "permission_set", "resource_id": permset.pk, "resource_ref": permset.ref}
