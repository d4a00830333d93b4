"""
What policies let start (execution.md section 17): who is in which group, how many slots of it are free.

A slot is held by an execution that is handed over or runs and whose demand names the group: it is counted, never
stored, so it cannot leak, and its end writes nothing. Starts within a window are counted by entries, which are
written with the start. Both are looked at again under a lock on the group's row before anything starts.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection

from apps.actions.policies.applying import (
    CONCURRENCY,
    RATE,
    REVISION,
    WAITING,
    Limit,
    PolicySet,
    current_policies,
    policies_at,
)
from apps.actions.policies.groups import shown_key, stored_key
from apps.core import clock, sql
from apps.executions.demands import is_current, load_demands, memberships
from apps.executions.models import AdmissionEntry, AdmissionState, Demand, Execution
from apps.executions.states import ACTIVE

_MOST_KEYS = 500  # in one query
_HELD = "'scheduling', 'scheduled', 'running', 'canceling'"

_ACTIVE_DEMANDS = f"""
SELECT demand, action_ref, count(*) FROM execution {{by_status}} WHERE status IN ({_HELD}) GROUP BY demand, action_ref
"""

# Of each group: the first start within the window, and the start whose leaving the window frees the next slot.
_STARTS = """
SELECT s.group_key, s.id, s.next_sequence,
    (SELECT e.sequence FROM execution_admission_entry e WHERE e.state = s.id AND e.admitted_at > %s
     ORDER BY e.admitted_at LIMIT 1),
    (SELECT e.admitted_at FROM execution_admission_entry e WHERE e.state = s.id AND e.sequence >= s.next_sequence - %s
     ORDER BY e.sequence LIMIT 1)
FROM execution_admission_state s WHERE s.policy = %s AND s.group_key IN ({keys})
"""

_STATES = """
SELECT policy, group_key, id FROM execution_admission_state
WHERE (policy, group_key) IN (VALUES {pairs}) ORDER BY policy, group_key {locks}
"""


class Group(NamedTuple):
    """The executions that a policy counts together."""

    policy_id: int
    key: str

    @property
    def shown(self) -> dict[str, Any]:
        return shown_key(self.key)

    @property
    def told(self) -> str:
        """The group in a sentence: " for env=prod", nothing for the only group of a policy."""
        values = ", ".join(f"{name}={_told(value)}" for name, value in self.shown.items())
        return f" for {values}" if values else ""


def _told(value: Any) -> Any:
    return "(secret)" if isinstance(value, dict) and "$attune_secret" in value else value


@dataclass(frozen=True, kw_only=True)
class Place:
    """One of the groups that an execution is in, and the kinds of limit that count for it there."""

    group: Group
    limit: Limit
    kinds: str


@dataclass(frozen=True, kw_only=True)
class Starts:
    """The starts of a group within its window."""

    count: int = 0
    next_slot_at: datetime | None = None  # when one of them leaves the window, if it is full
    next_sequence: int = 1


@dataclass(frozen=True, kw_only=True)
class Full:
    """A group that lets nobody start now; ``kind`` is the kind of limit that is used up."""

    place: Place
    kind: str
    count: int
    next_slot_at: datetime | None = None

    @property
    def message(self) -> str:
        limit, told = self.place.limit, self.place.group.told
        if self.kind == RATE:
            return (
                f"Policy {limit.ref}: {self.count} of {limit.max_executions} starts in {limit.window_seconds} s{told}"
            )
        if self.kind == WAITING:
            return f"Policy {limit.ref}: {self.count} of {limit.max_waiting} waiting{told}"
        return f"Policy {limit.ref}: {self.count} of {limit.threshold} running{told}"


def places_of(demand: Demand, policies: PolicySet) -> tuple[Place, ...] | None:
    """Return the groups of those in a demand's line; None when the policies are others now, so each is to be looked at."""
    kept = policies.derived
    known = ("places", demand.pk)
    if known not in kept:
        kept[known] = places_in(demand.requirements, policies) if is_current(demand.requirements, policies) else None
    found: tuple[Place, ...] | None = kept[known]
    return found


def places_in(requirements: dict[str, Any], policies: PolicySet) -> tuple[Place, ...]:
    return _places(requirements.get("policies", ()), policies)


def _places(stored: Iterable[Sequence[Any]], policies: PolicySet) -> tuple[Place, ...]:
    return tuple(
        Place(group=Group(pk, key), limit=policies.limits[pk], kinds=kinds)
        for pk, key, kinds in stored
        if pk in policies.limits
    )


@dataclass(kw_only=True)
class Holders:
    """Who holds slots, by group; ``outdated``: executions whose demand is of older policies."""

    counts: Counter[Group] = field(default_factory=Counter)
    outdated: list[int] = field(default_factory=list)


def count_holders(policies: PolicySet) -> Holders:
    """
    Count who holds the slots of all groups; one query, and one for what started before the policies were as they are.
    """
    holders = Holders()
    rows = sql.fetch(_ACTIVE_DEMANDS.format(by_status=sql.indexed_by("execution_status")))
    demands = load_demands([demand for demand, _ref, _count in rows if demand is not None])
    for demand_id, action_ref, count in rows:
        demand = demands.get(demand_id)
        places = _places_held(demand, policies, action_ref)
        if places is None:
            _count_outdated(holders, policies, demand_id, action_ref)
        else:
            for place in places:
                holders.counts[place.group] += count
    return holders


def _places_held(demand: Demand | None, policies: PolicySet, action_ref: str) -> tuple[Place, ...] | None:
    """Return the groups of those with this demand, None when it is of older policies."""
    if demand is not None and demand.is_limited:
        return places_of(demand, policies)
    return None if policies.applying_to(action_ref) else ()


def _count_outdated(holders: Holders, policies: PolicySet, demand_id: int | None, action_ref: str) -> None:
    for execution in active_rows().filter(demand=demand_id, action_ref=action_ref).select_related("action"):
        holders.outdated.append(execution.pk)
        for place in places_now(execution, policies):
            holders.counts[place.group] += 1


def active_rows() -> Any:
    """Return the executions that hold slots."""
    return Execution.objects.filter(status__in=ACTIVE)


def places_now(execution: Execution, policies: PolicySet) -> tuple[Place, ...]:
    """Return the groups an execution is in by the policies as they are, whatever its demand says."""
    applied = policies.applying_to(execution.action_ref)
    return _places(memberships(applied, execution.action, execution), policies) if applied else ()


class Admission:
    """The free slots of some groups, as counted; ``take`` uses them up."""

    def __init__(self, policies: PolicySet, places: Iterable[Place]) -> None:
        self.policies = policies
        self.outdated: list[int] = []
        self._places = {place.group: place for place in places}
        self._active: Counter[Group] = Counter()
        self._starts: dict[Group, Starts] = {}
        self._states: dict[Group, int] = {}
        self._taken: defaultdict[Group, list[int]] = defaultdict(list)

    def count(self) -> None:
        """Count holders and starts as they are now."""
        if any(CONCURRENCY in place.kinds for place in self._places.values()):
            holders = count_holders(self.policies)
            self._active, self.outdated = holders.counts, holders.outdated
        self._starts = count_starts(place for place in self._places.values() if RATE in place.kinds)

    def lock(self, places: Iterable[Place]) -> None:
        """Let nobody else admit to these groups until the transaction ends, and count again."""
        groups = {place.group for place in places if _needs_row(place)}
        if groups:
            self._states = lock_groups(groups)
            if connection.features.has_select_for_update:
                self.count()

    def room(self, places: Iterable[Place]) -> int:
        """Return how many that are in all of these groups may start now."""
        room = _MANY
        for place in places:
            for kind in place.kinds:
                if kind != WAITING:
                    room = min(room, self._room(place, kind))
        return max(0, room)

    def full(self, places: Iterable[Place]) -> list[Full]:
        """Return the limits that are used up, those first that cancel."""
        found = [
            self._full(place, kind)
            for place in places
            for kind in place.kinds
            if kind != WAITING and self._room(place, kind) <= 0
        ]
        return sorted(found, key=lambda full: not full.place.limit.cancels)

    def take(self, places: Iterable[Place], execution_id: int) -> None:
        """Let an execution start that is in these groups."""
        for place in places:
            self._taken[place.group].append(execution_id)

    @property
    def bears_on_others(self) -> bool:
        """Whether what was taken may end others in line, or decides when the next may start."""
        taken = (self._places[group] for group in self._taken)
        return any(place.limit.cancels or RATE in place.kinds for place in taken)

    def write(self, now: datetime) -> None:
        """Note the starts of what was taken, where they are counted."""
        for group, execution_ids in self._taken.items():
            if RATE in self._places[group].kinds:
                _write_entries(self._states[group], execution_ids, now)

    def _room(self, place: Place, kind: str) -> int:
        taken = len(self._taken[place.group]) if place.group in self._taken else 0
        if kind == RATE:
            return (place.limit.max_executions or 0) - self._starts.get(place.group, Starts()).count - taken
        return (place.limit.threshold or 0) - self._active[place.group] - taken

    def _full(self, place: Place, kind: str) -> Full:
        taken = len(self._taken[place.group]) if place.group in self._taken else 0
        if kind == CONCURRENCY:
            return Full(place=place, kind=kind, count=self._active[place.group] + taken)
        starts = self._starts.get(place.group, Starts())
        return Full(place=place, kind=kind, count=starts.count + taken, next_slot_at=starts.next_slot_at)


_MANY = 1_000_000


def _needs_row(place: Place) -> bool:
    """On SQLite, whose writers come one by one, only starts need the row of a group: it numbers them."""
    return RATE in place.kinds or (CONCURRENCY in place.kinds and connection.features.has_select_for_update)


def count_starts(places: Iterable[Place]) -> dict[Group, Starts]:
    """Return the starts within the window for each of these groups that had any."""
    by_limit: defaultdict[int, list[Place]] = defaultdict(list)
    for place in places:
        by_limit[place.group.policy_id].append(place)
    found: dict[Group, Starts] = {}
    for those in by_limit.values():
        for start in range(0, len(those), _MOST_KEYS):
            found |= _starts_of(those[start : start + _MOST_KEYS])
    return found


def _starts_of(places: Sequence[Place]) -> dict[Group, Starts]:
    limit = places[0].limit
    groups = {stored_key(place.group.key): place.group for place in places}
    window = timedelta(seconds=limit.window_seconds or 0)
    cutoff = sql.adapt(AdmissionEntry, "admitted_at", clock.now() - window)
    rows = sql.fetch(
        _STARTS.format(keys=", ".join(["%s"] * len(groups))), [cutoff, limit.max_executions, limit.id, *groups]
    )
    return {
        groups[key]: _starts(limit, window, next_sequence, first, oldest)
        for key, _id, next_sequence, first, oldest in rows
    }


def _starts(limit: Limit, window: timedelta, next_sequence: int, first: int | None, oldest: Any) -> Starts:
    count = next_sequence - first if first is not None else 0
    is_full = count >= (limit.max_executions or 0)
    moment = sql.convert(AdmissionEntry, "admitted_at", oldest) if is_full else None
    return Starts(
        count=count, next_slot_at=moment + window if moment is not None else None, next_sequence=next_sequence
    )


def lock_groups(groups: Iterable[Group]) -> dict[Group, int]:
    """
    Lock the rows of groups, made where there are none, in order of policy id; return their ids.

    Those that are missing are all made before the first is locked, so that two who want the same never wait for each
    other in a circle.
    """
    wanted = sorted({(group.policy_id, stored_key(group.key)): group for group in groups}.items())
    if len(_states([pair for pair, _group in wanted], locks="")) < len(wanted):
        rows = [AdmissionState(policy_id=pk, group_key=key) for (pk, key), _group in wanted]
        AdmissionState.objects.bulk_create(rows, ignore_conflicts=True)
    found = _states([pair for pair, _group in wanted], locks=_row_locks())
    return {group: found[pair] for pair, group in wanted}


def _row_locks() -> str:
    return "FOR NO KEY UPDATE" if connection.features.has_select_for_update else ""


def _states(pairs: Sequence[tuple[int, str]], *, locks: str) -> dict[tuple[int, str], int]:
    text = _STATES.format(pairs=", ".join(["(%s, %s)"] * len(pairs)), locks=locks)
    rows = sql.fetch(text, [value for pair in pairs for value in pair])
    return {(policy, key): pk for policy, key, pk in rows}


def _write_entries(state_id: int, execution_ids: Sequence[int], now: datetime) -> None:
    """Number the starts; one that was taken back and starts anew counts as the newest."""
    first = AdmissionState.objects.values_list("next_sequence", flat=True).get(pk=state_id)
    entries = [
        AdmissionEntry(state_id=state_id, execution_id=pk, sequence=first + number, admitted_at=now)
        for number, pk in enumerate(execution_ids)
    ]
    AdmissionEntry.objects.bulk_create(
        entries, update_conflicts=True, unique_fields=["state", "execution"], update_fields=["sequence", "admitted_at"]
    )
    AdmissionState.objects.filter(pk=state_id).update(next_sequence=first + len(entries))


# Those that wait in these lines, counted no further than needed.
_WAITING_IN = """
SELECT count(*) FROM (
    SELECT 1 FROM execution {line} WHERE status = 'requested' AND NOT held AND demand IN ({demands}) LIMIT %s
) waiting
"""
# The demands that have somebody in line, one index probe each (a loose index scan); both databases know this form.
_WAITING_DEMANDS = """
WITH RECURSIVE waiting(demand) AS (
    SELECT (SELECT demand FROM execution {line}
            WHERE status = 'requested' AND NOT held AND demand IS NOT NULL ORDER BY demand LIMIT 1)
    UNION ALL
    SELECT (SELECT e.demand FROM execution e {line}
            WHERE e.status = 'requested' AND NOT e.held AND e.demand IS NOT NULL AND e.demand > waiting.demand
            ORDER BY e.demand LIMIT 1)
    FROM waiting WHERE waiting.demand IS NOT NULL
)
SELECT demand, {revision} FROM waiting WHERE demand IS NOT NULL
"""


def waiting_lines() -> tuple[list[int], PolicySet]:
    """Return the demands that have an execution in line, and the policies as they are now; one query as a rule."""
    rows = sql.fetch(_WAITING_DEMANDS.format(line=sql.indexed_by("execution_in_line"), revision=REVISION))
    policies = policies_at(rows[0][1]) if rows else current_policies()
    return [row[0] for row in rows], policies


def lines_of(group: Group) -> list[int]:
    """Return the demands with somebody in line that are of this group."""
    waiting, _policies = waiting_lines()
    return [
        demand.pk
        for demand in load_demands(waiting).values()
        if any(
            (pk, key) == (group.policy_id, group.key) for pk, key, _kinds in demand.requirements.get("policies", ())
        )
    ]


def full_line(places: Iterable[Place], *, exact: bool = True) -> Full | None:
    """
    Return the first of these groups in which no more may wait, None when there is none.

    Whoever is told None holds the rows of the groups until the transaction ends: the next one counts this one, too.
    Not ``exact``: no row is locked, and those that come at the same moment may be a few too many.
    """
    counting = [place for place in places if WAITING in place.kinds]
    if exact and counting and connection.features.has_select_for_update:
        lock_groups(place.group for place in counting)
    for place in counting:
        most = place.limit.max_waiting or 0
        if (waiting := count_waiting(lines_of(place.group), most)) >= most:
            return Full(place=place, kind=WAITING, count=waiting)
    return None


def count_waiting(demand_ids: Sequence[int], most: int) -> int:
    """Return how many wait in these lines, ``most`` when there are more."""
    if not demand_ids:
        return 0
    text = _WAITING_IN.format(line=sql.indexed_by("execution_in_line"), demands=", ".join(["%s"] * len(demand_ids)))
    return int(sql.fetch(text, [*demand_ids, most])[0][0])
