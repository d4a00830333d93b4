"""
Put executions in line anew whose demand is of older policies; what holds a slot keeps it, in its group of now.

Nobody walks through a backlog when a policy changes: dispatch finds the heads of an outdated line, and the whole line
follows, in batches. A demand says which workers meet it and which groups it is in; only the groups change here.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q

from apps.actions.policies.applying import PolicySet, current_policies
from apps.core import sql
from apps.executions.demands import demand_id, load_demands, memberships, placement_of
from apps.executions.models import Demand, Execution
from apps.executions.states import ACTIVE, Status

Line = tuple[int, str]  # a demand, and the ref of the action of those in its line that are looked at

MOST_MOVED = 2000  # that go to one new line together
MOST_LOOKED_AT = 500  # whose parameters have to be read

_IN_LINE = """
SELECT id FROM execution {line} WHERE status = 'requested' AND NOT held AND demand = %s AND action_ref = %s
ORDER BY priority DESC, created, id LIMIT %s
"""


def renew_lines(lines: Iterable[Line]) -> int:
    """Move the first of these lines to the lines of the policies as they are now; return how many moved."""
    return sum(_renew_line(demand, action_ref) for demand, action_ref in sorted(set(lines)))


def renew_holders(execution_ids: Sequence[int]) -> int:
    """Let executions that hold slots be counted by their demand; return how many changed."""
    rows = Execution.objects.filter(pk__in=execution_ids, status__in=ACTIVE)
    return _renew(list(rows.select_related("action__runtime")), current_policies())


def _renew_line(old_id: int, action_ref: str) -> int:
    policies = current_policies()
    old = load_demands([old_id]).get(old_id)
    if old is None:
        return 0
    applied = policies.applying_to(action_ref)
    alike = all(not one.limit.parameters for one in applied)
    text = _IN_LINE.format(line=sql.indexed_by("execution_in_line"))
    found = [row[0] for row in sql.fetch(text, [old_id, action_ref, MOST_MOVED if alike else MOST_LOOKED_AT])]
    if not alike:
        rows = Execution.objects.filter(pk__in=found).select_related("action")
        return _renew(list(rows.order_by("pk")), policies)
    new_id = _demand_in(old, action_ref, memberships(applied, None, Execution(action_ref=action_ref)))
    return _move({new_id: found}, old_ids=[old_id]) if new_id != old_id else 0


def _renew(rows: Sequence[Execution], policies: PolicySet) -> int:
    moved: defaultdict[int, list[int]] = defaultdict(list)
    demands = load_demands([row.demand_id for row in rows if row.demand_id is not None])
    for row in rows:
        groups = memberships(policies.applying_to(row.action_ref), row.action, row)
        old = demands.get(row.demand_id) if row.demand_id is not None else None
        new_id = _demand_in(old, row.action_ref, groups, row)
        if new_id != row.demand_id:
            moved[new_id].append(row.pk)
    return _move(moved, old_ids=list(demands)) if moved else 0


def _demand_in(old: Demand | None, action_ref: str, groups: list[list[Any]], row: Execution | None = None) -> int:
    """Return the demand with the placement of the old one, in these groups; in a transaction of its own."""
    if old is not None:
        wanted = old.requirements
    else:
        wanted = placement_of(row.action, row) if row is not None else {}
    placement = {name: value for name, value in wanted.items() if name not in ("action", "policies")}
    with transaction.atomic():
        return demand_id({**placement, "action": action_ref, "policies": groups} if groups else placement)


def _move(moved: dict[int, list[int]], *, old_ids: Sequence[int]) -> int:
    """Write the new demands of those that nobody else has locked and that are still where they were."""
    every = [pk for pks in moved.values() for pk in pks]
    with transaction.atomic():
        rows = Execution.objects.select_for_update(no_key=True, skip_locked=True).filter(pk__in=every)
        rows = rows.filter(Q(demand=None) | Q(demand__in=old_ids), status__in=[*ACTIVE, Status.REQUESTED])
        free = set(rows.order_by("pk").values_list("pk", flat=True))
        for new_id, pks in moved.items():
            ids = [pk for pk in pks if pk in free]
            if ids:
                sql.update(Execution, {"demand": new_id}, f"id IN ({', '.join(['%s'] * len(ids))})", ids)
    return len(free)
