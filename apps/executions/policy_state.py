"""What the groups of a policy look like just now: who holds slots, who waits, when the next slot is free."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q

from apps.actions.models import Action, Policy, QueueStats
from apps.actions.policies.applying import CONCURRENCY, RATE, Limit, PolicySet, current_policies, limit_of
from apps.core import clock
from apps.executions.admission import Group, Place, active_rows, count_starts, places_now, waiting_lines
from apps.executions.demands import is_current, load_demands
from apps.executions.models import AdmissionState, Execution
from apps.executions.states import ACTIVE, UNFINISHED, Status

MOST_GROUPS = 100
MOST_HOLDERS = 100  # that are named


@dataclass(kw_only=True)
class GroupState:
    """One group of a policy."""

    group: Group
    holders: list[int] = field(default_factory=list)
    waiting: int = 0
    oldest_waiting_since: datetime | None = None
    started_in_window: int | None = None
    next_slot_at: datetime | None = None

    @property
    def shown(self) -> dict[str, Any]:
        """The group as the API answers it."""
        return {
            "key": self.group.shown,
            "active": len(self.holders),
            "active_executions": self.holders[:MOST_HOLDERS],
            "waiting": self.waiting,
            "oldest_waiting_since": clock.as_text(self.oldest_waiting_since),
            "started_in_window": self.started_in_window,
            "next_slot_at": clock.as_text(self.next_slot_at),
        }


def groups_of(policy: Policy) -> list[GroupState]:
    """Return the groups of a policy that hold a slot, wait, or started within the window; most waiting first."""
    limit = limit_of(policy)
    states: dict[Group, GroupState] = {}

    def state_of(group: Group) -> GroupState:
        return states.setdefault(group, GroupState(group=group))

    for group, execution_id in holders(current_policies(), policy.pk):
        state_of(group).holders.append(execution_id)
    _add_waiting(policy.pk, state_of)
    if limit.max_executions is not None:
        _add_starts(limit, states, state_of)
    return sorted(states.values(), key=lambda one: (-one.waiting, -len(one.holders), one.group.key))[:MOST_GROUPS]


def holders(policies: PolicySet, policy_id: int) -> list[tuple[Group, int]]:
    """Return (group, execution) of those that hold a slot of a policy, oldest first."""
    rows = list(active_rows().order_by("created", "pk").values_list("pk", "demand", "action_ref"))
    demands = load_demands([demand for _pk, demand, _ref in rows if demand is not None])
    outdated: list[int] = []
    found: dict[int, Group] = {}
    for pk, demand_id, action_ref in rows:
        demand = demands.get(demand_id)
        if demand is None or not is_current(demand.requirements, policies, action_ref):
            outdated.append(pk)
            continue
        for own, key, _kinds in demand.requirements.get("policies", ()):
            if own == policy_id:
                found[pk] = Group(own, key)
    for execution in Execution.objects.filter(pk__in=outdated).select_related("action"):
        for place in places_now(execution, policies):
            if place.group.policy_id == policy_id:
                found[execution.pk] = place.group
    return [(found[pk], pk) for pk, _demand, _ref in rows if pk in found]


def _add_waiting(policy_id: int, state_of: Any) -> None:
    waiting, _policies = waiting_lines()
    lines: defaultdict[Group, list[int]] = defaultdict(list)
    for demand in load_demands(waiting).values():
        for own, key, _kinds in demand.requirements.get("policies", ()):
            if own == policy_id:
                lines[Group(own, key)].append(demand.pk)
    every = [demand for demands in lines.values() for demand in demands]
    rows = Execution.objects.filter(status=Status.REQUESTED, held=False, demand__in=every).order_by()
    counted = {row["demand"]: row for row in rows.values("demand").annotate(number=Count("pk"), oldest=Min("created"))}
    for group, demands in lines.items():
        found = [counted[demand] for demand in demands if demand in counted]
        if found:
            state = state_of(group)
            state.waiting = sum(row["number"] for row in found)
            state.oldest_waiting_since = min(row["oldest"] for row in found)


def _add_starts(limit: Limit, states: dict[Group, GroupState], state_of: Any) -> None:
    recent = AdmissionState.objects.filter(policy=limit.id).order_by("-updated").values_list("group_key", flat=True)
    known = [Group(limit.id, key) for key in recent[:MOST_GROUPS] if key.startswith("{")]
    places = [Place(group=group, limit=limit, kinds=RATE) for group in {*states, *known}]
    starts = count_starts(places)
    for group, found in starts.items():
        if found.count or group in states:
            state = state_of(group)
            state.started_in_window, state.next_slot_at = found.count, found.next_slot_at
    for state in states.values():
        state.started_in_window = state.started_in_window or 0


def count_queue(action: Action) -> QueueStats | None:
    """Count what waits and runs of an action, and keep it; None when there has never been an execution of it."""
    rows = Execution.objects.filter(action_ref=action.ref)
    unfinished = rows.filter(status__in=UNFINISHED).aggregate(
        length=Count("pk", filter=Q(status=Status.REQUESTED)),
        active=Count("pk", filter=Q(status__in=ACTIVE)),
        oldest=Min("created", filter=Q(status=Status.REQUESTED)),
    )
    known = QueueStats.objects.filter(action=action).first()
    total = max(rows.count(), known.total_enqueued if known is not None else 0)  # retention takes some away
    if not total:
        return known
    values = {
        "action_ref": action.ref,
        "queue_length": unfinished["length"],
        "active_count": unfinished["active"],
        "max_concurrent": most_at_once(action),
        "oldest_enqueued_at": unfinished["oldest"],
        "total_enqueued": total,
        "total_completed": total - unfinished["length"] - unfinished["active"],
        "last_updated": clock.now(),
    }
    return QueueStats.objects.update_or_create(action=action, defaults=values)[0]


def most_at_once(action: Action) -> int:
    """Return the lowest threshold of the policies that limit an action, 0 without one."""
    applied: Iterable[Any] = current_policies().applying_to(action.ref)
    return min((one.limit.threshold or 0 for one in applied if CONCURRENCY in one.kinds), default=0)
