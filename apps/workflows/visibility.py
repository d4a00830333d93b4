"""Who may see which workflow definitions: whoever may see such an action (auth.md section 5)."""

from typing import TYPE_CHECKING

from apps.identity.grants import Columns, Facts, any_of, condition, facts, narrowed
from apps.workflows.models import WorkflowDefinition

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

    from apps.identity.callers import Caller

# Grants speak of the ids of actions, so a definition has none.
COLUMNS = Columns(refs="ref", pack_refs="pack_ref")


def visible_to(caller: "Caller") -> "QuerySet[WorkflowDefinition]":
    """Return the definitions that the caller may see, by label."""
    return narrowed(WorkflowDefinition.objects.order_by("label", "id"), readable(caller))


def readable(caller: "Caller") -> "Q":
    """Return the condition of the definitions that the caller may see."""
    return any_of(condition(caller, "actions:read", COLUMNS), condition(caller, "actions:execute", COLUMNS))


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(WorkflowDefinition, lambda row: Facts(ref=row.ref, pack_ref=row.pack_ref), resource="actions")
