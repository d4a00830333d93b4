"""What the audit trail is told of executions."""

from collections.abc import Collection
from typing import Any

from apps.executions.models import Execution
from apps.identity import audit
from apps.identity.audit.chains import Link
from apps.identity.models import Identity


def executed(verb: str, execution: Execution, *, by: Identity | None = None, **details: Any) -> None:
    """Record ``execution.<verb>``; outside of a request ``by`` acts. Parameters are not told: they may hold secrets."""
    named = {name: value for name, value in details.items() if value not in (None, "")}
    audit.record(
        f"execution.{verb}",
        actor=by,
        resource_type="execution",
        resource_id=execution.pk,
        details={"action_ref": execution.action_ref, **named},
    )


def links_above(execution_ids: Collection[int]) -> dict[int, Link]:
    """Return what each of these executions came from: its parent, or the enforcement of a rule."""
    rows = Execution.objects.filter(pk__in=execution_ids).values_list("pk", "parent_id", "enforcement")
    links: dict[int, Link] = {}
    for pk, parent, enforcement in rows:
        if parent is not None:
            links[pk] = ("execution", parent)
        elif enforcement is not None:
            links[pk] = ("enforcement", enforcement)
    return links
