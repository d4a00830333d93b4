"""Refusals of what somebody may not do: recorded in the audit trail, and said in one form."""

from typing import Any

from django.db.models import Model

from apps.core.errors import Forbidden
from apps.identity import audit


def lacking(grant: str, row: object = None) -> Forbidden:
    """Return the error to raise for a missing ``resource:action`` (on the row)."""
    resource, _, action = grant.partition(":")
    return refused(f"Insufficient permissions: {grant}", row, resource=resource, action=action)


def refused(message: str, row: object = None, **details: Any) -> Forbidden:
    """Return the error to raise when it is not a grant that is missing; ``details`` say what it was."""
    kind, own_id, ref = _named(row) if row is not None else audit.resource_of_request()
    audit.record(
        "rbac.denied",
        outcome="denied",
        resource_type=kind,
        resource_id=own_id,
        resource_ref=ref,
        details={**(details or {"reason": message}), "object": {"type": kind, "id": own_id, "ref": ref}},
    )
    return Forbidden(message)


def _named(row: object) -> tuple[str | None, int | None, str | None]:
    """Return type, id and ref of a row, or of the facts of one."""
    kind = row._meta.db_table if isinstance(row, Model) else None
    own_id, ref = getattr(row, "id", None), getattr(row, "ref", None)
    return kind, own_id if isinstance(own_id, int) else None, ref if isinstance(ref, str) else None
