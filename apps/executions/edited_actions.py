"""What waits for an action demands what the action demands now, and not what it did when it was asked for."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from apps.actions.models import Action
from apps.executions.demands import demand_id, load_demands, placement_of
from apps.executions.dispatch import dispatch_on_commit
from apps.executions.models import Execution
from apps.executions.states import Status

LOOKED_BACK = timedelta(seconds=60)  # far longer than a request takes
_OWN = Q(worker_selector__isnull=False) | Q(worker_tolerations__isnull=False) | Q(worker_affinity__isnull=False)


def follow(action: Action) -> None:
    """Let what waits follow an action whose row is locked."""
    waiting = Execution.objects.filter(action=action, status=Status.REQUESTED, demand__isnull=False)
    placement = placement_of(action, Execution())
    moved = 0
    for known in load_demands(list(waiting.order_by().values_list("demand", flat=True).distinct())).values():
        line = waiting.filter(demand=known.pk)
        groups = {name: known.requirements[name] for name in ("action", "policies") if known.is_limited}
        demand = demand_id({**placement, **groups})
        if demand != known.pk:
            moved += line.exclude(_OWN).update(demand=demand)
        moved += line.filter(_OWN).update(demand=None)  # the next sweep puts each in line anew
    if moved:
        dispatch_on_commit()


def follow_edited() -> None:
    """
    Look once more at actions that were changed a moment ago.

    A request that was under way then did not see the change, and whoever made it did not see the request.
    """
    edited = Action.objects.filter(updated__gt=Now() - LOOKED_BACK).order_by("pk").values_list("pk", flat=True)
    for action_id in list(edited):
        with transaction.atomic():
            rows = Action.objects.select_for_update(no_key=True, of=("self",)).select_related("runtime")
            action = rows.filter(pk=action_id).first()
            if action is not None:
                follow(action)
