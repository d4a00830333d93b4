"""Who may see which actions (auth.md section 5): whoever may read or execute them."""

from typing import TYPE_CHECKING

from apps.actions.models import Action

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from apps.identity.callers import Caller


def visible_to(caller: "Caller") -> "QuerySet[Action]":
    """Return the actions that the caller may see, by ref."""
    actions = Action.objects.order_by("ref")
    return actions if caller.allows("actions:read") or caller.allows("actions:execute") else actions.none()


def executable_by(caller: "Caller") -> "QuerySet[Action]":
    """Return the actions that the caller may execute, by ref."""
    actions = Action.objects.order_by("ref")
    return actions if caller.allows("actions:execute") else actions.none()
