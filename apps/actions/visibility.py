"""Who may see which actions (auth.md section 5): whoever may read or execute them."""

from typing import TYPE_CHECKING

from apps.actions.models import Action
from apps.identity.grants import Columns, Facts, any_of, condition, facts, narrowed

if TYPE_CHECKING:
    from django.db.models import Q, QuerySet

    from apps.identity.callers import Caller

COLUMNS = Columns(refs="ref", pack_refs="pack_ref")


def visible_to(caller: "Caller") -> "QuerySet[Action]":
    """Return the actions that the caller may see, by ref."""
    return narrowed(Action.objects.order_by("ref"), readable(caller))


def readable(caller: "Caller") -> "Q":
    """Return the condition of the actions that the caller may see."""
    return any_of(condition(caller, "actions:read", COLUMNS), condition(caller, "actions:execute", COLUMNS))


def executable_by(caller: "Caller") -> "QuerySet[Action]":
    """Return the actions that the caller may execute, by ref."""
    return narrowed(Action.objects.order_by("ref"), condition(caller, "actions:execute", COLUMNS))


def describe() -> None:
    """Tell the checks of grants what they look at; call once the apps are ready."""
    facts.register(Action, lambda row: Facts(id=row.pk, ref=row.ref, pack_ref=row.pack_ref), resource="actions")
