"""
Hand waiting executions to workers that have a free slot (execution.md sections 3 and 4).

A pass is one transaction: look at the heads of the demands that have a free slot, choose workers, write
``requested -> scheduling -> scheduled``; after its commit each is published to its worker's own queue. Its cost does
not grow with the backlog: a demand nobody can take now is not looked into. Any thread of any process may make a pass;
within one process they are made one after the other, and whoever calls while one is under way only asks for another.

What a pass found to be unschedulable, and what an engine runs instead of a worker (``engines.py``), has a transaction
of its own each after the pass: it begins with the lock on the root of its tree, which comes before any execution's.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, transaction

from apps.actions.policies.applying import RATE, PolicySet, current_policies
from apps.core import clock, sql
from apps.executions import engines, trees
from apps.executions.admission import Admission, Place, places_in, places_of, waiting_lines
from apps.executions.alarm import wake_at
from apps.executions.demands import is_current, load_demands
from apps.executions.doorbell import ring
from apps.executions.models import Demand, Execution, ExecutionHistory
from apps.executions.offers import read_offers
from apps.executions.outages import end_absence, outlasts_grace
from apps.executions.publication import can_publish, publish
from apps.executions.renewal import Line, renew_holders, renew_lines
from apps.executions.signals import execution_changed
from apps.executions.states import Status
from apps.executions.transitions import Step, history_row, notify_changed, transition
from apps.executions.unmet import unmet_demand
from apps.workers.fitness import NEVER, Offer, misfit, score
from apps.workers.models import Worker

logger = logging.getLogger(__name__)

# One pass is a short transaction: a larger backlog takes another pass.
MOST_IN_A_PASS = 200

# Which of these demands has the first in line, by priority and age.
_FIRST_HEADS = """
WITH line(demand) AS (VALUES {demands}),
head(demand, id) AS (
    SELECT demand, (SELECT e.id FROM execution e {line}
        WHERE e.status = 'requested' AND NOT e.held AND e.demand = line.demand
        ORDER BY e.priority DESC, e.created, e.id LIMIT 1)
    FROM line
)
SELECT head.demand FROM head JOIN execution ON execution.id = head.id
ORDER BY execution.priority DESC, execution.created, execution.id
"""


_HEADS = """
SELECT id, action_ref, epoch, priority, created FROM execution {line}
WHERE status = 'requested' AND NOT held AND demand = %s
ORDER BY priority DESC, created, id LIMIT %s {locks}
"""

_ACTIVE = """
SELECT worker, count(*) FROM execution {on_worker}
WHERE status IN ('scheduled', 'running', 'canceling') AND worker IS NOT NULL GROUP BY worker
"""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A waiting execution that a worker could take now."""

    execution_id: int
    action_ref: str
    epoch: int
    priority: int
    created: Any  # as the driver gives it: only compared with others of the same kind
    demand: int

    @property
    def turn(self) -> tuple[Any, ...]:
        """Sorts heads of several lines into one: priority, then age."""
        return (-self.priority, self.created, self.execution_id)


@dataclass(kw_only=True)
class Pass:
    """What one pass came to."""

    handed_over: list[tuple[int, int, int]] = field(default_factory=list)  # worker, execution, epoch
    to_start: list[int] = field(default_factory=list)  # executions that an engine runs
    to_fail: list[tuple[int, str]] = field(default_factory=list)  # execution, the demand that nobody meets
    to_cancel: list[tuple[int, str]] = field(default_factory=list)  # execution, the policy that lets it not start
    outdated: set[Line] = field(default_factory=set)  # lines of older policies
    outdated_holders: list[int] = field(default_factory=list)  # who holds slots by a demand of older policies
    next_slot_at: datetime | None = None  # when the first of the rates that are used up frees a slot
    look_again: bool = False


# Whoever asks makes the passes, but a caller that has its own answer to give only for so long: in a storm of requests
# there is always another that asks.
_PATIENCE_SECONDS = 0.05

_flag = threading.Lock()
_passing = threading.Lock()
_asked = False


def dispatch_on_commit() -> None:
    """Have a pass made once the current transaction commits."""
    transaction.on_commit(dispatch_waiting, robust=True)


def dispatch_waiting() -> None:
    """
    Make passes until nothing more can be handed over now; returns at once when another thread is at it already.

    A failure of the database is logged and left to the next call or the sweep: the rows stay where they are.
    """
    global _asked
    if not can_publish():
        ring()  # no worker hears this process; the server beside it hands it over
        return
    with _flag:
        _asked = True
    _make_passes(until=time.monotonic() + _PATIENCE_SECONDS)


def _make_passes(*, until: float | None) -> None:
    """Make passes while somebody asks; after ``until`` a thread of its own goes on with them."""
    global _asked
    while _asked and _passing.acquire(blocking=False):
        try:
            while _asked and not _is_past(until):
                with _flag:
                    _asked = False
                _pass_until_done()
        except DatabaseError:
            logger.warning("A dispatch pass failed; the sweep tries again", exc_info=True)
            return
        finally:
            _passing.release()
        if _asked and _is_past(until):
            threading.Thread(target=_make_passes_aside, name="dispatch", daemon=True).start()
            return


def _is_past(until: float | None) -> bool:
    return until is not None and time.monotonic() > until


def _make_passes_aside() -> None:
    try:
        _make_passes(until=None)
    finally:
        connection.close()


def _pass_until_done() -> None:
    while dispatch_once().look_again:
        pass


def dispatch_once() -> Pass:
    """Make one pass and publish what it handed over."""
    waiting, policies = waiting_lines()
    if not waiting:
        return Pass()
    with transaction.atomic():
        made = _make_pass(waiting, policies)
    for worker_id, execution_id, epoch in made.handed_over:
        publish(worker_id, execution_id, epoch)
        if execution_changed.receivers:
            notify_changed(execution_id, Status.SCHEDULED)
    for execution_id in made.to_start:
        made.look_again |= start_by_engine(execution_id)
    for execution_id, message in made.to_fail:
        _fail_unschedulable(execution_id, message)
    for execution_id, message in made.to_cancel:
        cancel_by_policy(execution_id, message)
    if made.outdated_holders:
        renew_holders(made.outdated_holders)
    if made.outdated:
        made.look_again |= renew_lines(made.outdated) > 0
    if made.next_slot_at is not None:
        wake_at(made.next_slot_at)
    return made


def _make_pass(waiting: list[int], policies: PolicySet) -> Pass:
    view = _View(demands=load_demands(waiting), policies=policies, offers=read_offers(), taken=active_counts())
    made = Pass()
    opened: list[tuple[Demand, int]] = []  # with how many at most of each
    for demand in _open_lines(view, made):
        if "engine" in demand.requirements:
            _note_for_engine(view, demand, made)
        elif free := _free_slots(view, demand, made):
            opened.append((demand, free))
    if view.admission is not None:
        view.admission.lock(place for demand, _free in opened for place in view.places.get(demand.pk, ()))
    heads = [head for demand, free in opened for head in _heads_of(view, demand, free)]
    if heads:
        _hand_over(heads, view, made)
    if view.admission is not None:
        made.outdated_holders = view.admission.outdated
    return made


def _note_for_engine(view: "_View", demand: Demand, made: Pass) -> None:
    for head in _heads(demand.pk, min(MOST_IN_A_PASS, view.room(demand))):
        if _is_outdated(view, head):
            made.outdated.add((demand.pk, head.action_ref))
        else:
            made.to_start.append(head.execution_id)


@dataclass(kw_only=True)
class _View:
    """What a pass looks at."""

    demands: dict[int, Demand]
    policies: PolicySet
    offers: list[Offer]
    taken: defaultdict[int, int]
    admission: Admission | None = None  # None: no policy limits anything that waits
    places: dict[int, tuple[Place, ...]] = field(default_factory=dict)  # by demand, for those that policies limit
    outdated: set[int] = field(default_factory=set)  # demands that are of older policies
    fitting: dict[str, tuple[list[Offer], list[str | None]]] = field(default_factory=dict)  # by placement
    opened: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))  # lines, by placement

    def room(self, demand: Demand) -> int:
        """Return how many of a line the policies let start."""
        places = self.places.get(demand.pk)
        return MOST_IN_A_PASS if places is None or self.admission is None else self.admission.room(places)

    def lets_start(self, places: tuple[Place, ...]) -> bool:
        """Return whether one more may start that is in these groups."""
        return not places or self.admission is None or self.admission.room(places) > 0

    def take(self, places: tuple[Place, ...], execution_id: int) -> None:
        """Let it start."""
        if places and self.admission is not None:
            self.admission.take(places, execution_id)

    def write_starts(self) -> None:
        """Note what was taken, where starts are counted."""
        if self.admission is not None:
            self.admission.write(clock.now())

    def fits(self, demand: Demand) -> tuple[list[Offer], list[str | None]]:
        """Return the offers that meet a demand, and why the others do not."""
        found = self.fitting.get(demand.placement_key)
        if found is None:
            rejections = [misfit(demand.requirements, offer) for offer in self.offers]
            fitting = [offer for offer, why in zip(self.offers, rejections, strict=True) if why is None]
            found = self.fitting[demand.placement_key] = (fitting, rejections)
        return found


def _open_lines(view: _View, made: Pass) -> list[Demand]:
    """Return the demands whose lines no policy blocks; those of policies in the order of who is first in line."""
    limited = [demand for demand in view.demands.values() if demand.is_limited]
    if not limited:
        return list(view.demands.values())
    for demand in limited:
        places = places_of(demand, view.policies)
        if places is None:
            view.outdated.add(demand.pk)
        else:
            view.places[demand.pk] = places
    view.admission = Admission(view.policies, (place for places in view.places.values() for place in places))
    view.admission.count()
    unblocked = [demand for demand in limited if not _is_blocked(view, view.admission, demand, made)]
    others = [demand for demand in view.demands.values() if not demand.is_limited]
    return _in_turn(unblocked) + others


def _is_blocked(view: _View, admission: Admission, demand: Demand, made: Pass) -> bool:
    places = view.places.get(demand.pk, ())
    if admission.room(places):
        return False
    if not any(place.limit.cancels or RATE in place.kinds for place in places):
        return True  # whoever frees a slot makes a pass
    full = admission.full(places)
    if full and full[0].place.limit.cancels:
        found = _heads(demand.pk, MOST_IN_A_PASS)
        made.to_cancel += [(head.execution_id, full[0].message) for head in found]
        made.look_again |= len(found) == MOST_IN_A_PASS
    moments = [one.next_slot_at for one in full if one.next_slot_at is not None]
    if moments:
        _note_next_slot(made, max(moments))
    return True


def _note_next_slot(made: Pass, moment: datetime) -> None:
    made.next_slot_at = moment if made.next_slot_at is None else min(made.next_slot_at, moment)


def _in_turn(demands: list[Demand]) -> list[Demand]:
    if len(demands) < 2:
        return demands
    text = _FIRST_HEADS.format(demands=", ".join(["(%s)"] * len(demands)), line=sql.indexed_by("execution_in_line"))
    known = {demand.pk: demand for demand in demands}
    return [known[pk] for (pk,) in sql.fetch(text, list(known))]


def _free_slots(view: _View, demand: Demand, made: Pass) -> int:
    """Return how many of a line could be handed over, 0 when it need not be looked into."""
    fitting, rejections = view.fits(demand)
    free = sum(max(0, offer.slots - view.taken[offer.worker_id]) for offer in fitting)
    if not fitting and _is_unschedulable(view.offers, rejections):
        _find_unschedulable(demand, unmet_demand(demand, view.offers, rejections), made)
    elif not fitting and "draining" not in rejections and outlasts_grace(demand.pk):
        grace = timedelta(seconds=settings.UNSCHEDULABLE_GRACE_SECONDS or 0)
        message = unmet_demand(demand, view.offers, rejections)
        _find_unschedulable(demand, message, made, waiting_before=clock.now() - grace)
    if fitting or "draining" in rejections:
        end_absence(demand.pk)
    # The first of all lie in as many lines: with one placement, lines whose first comes later have none of them.
    if demand.is_limited:
        if view.opened[demand.placement_key] >= free:
            return 0
        view.opened[demand.placement_key] += 1
    return free


def _heads_of(view: _View, demand: Demand, free: int) -> list[Head]:
    if demand.pk in view.outdated:
        return _lock_heads(demand.pk, MOST_IN_A_PASS)
    most = min(free, MOST_IN_A_PASS, view.room(demand))
    return _lock_heads(demand.pk, most) if most else []


def _lock_heads(demand_id: int, most: int) -> list[Head]:
    return _heads(demand_id, most, locks=sql.skip_locked_text())


def _heads(demand_id: int, most: int, *, locks: str = "") -> list[Head]:
    rows = sql.fetch(_HEADS.format(line=sql.indexed_by("execution_in_line"), locks=locks), [demand_id, most])
    return [
        Head(execution_id=pk, action_ref=ref, epoch=epoch, priority=priority, created=created, demand=demand_id)
        for pk, ref, epoch, priority, created in rows
    ]


def active_counts(worker_ids: Iterable[int] | None = None) -> defaultdict[int, int]:
    """Return how many executions hold a slot of each worker."""
    counts = defaultdict(int, sql.fetch(_ACTIVE.format(on_worker=sql.indexed_by("execution_on_worker"))))
    return counts if worker_ids is None else defaultdict(int, {pk: counts[pk] for pk in worker_ids})


def _hand_over(heads: list[Head], view: _View, made: Pass) -> None:
    """
    Choose a worker for each head in order of priority and age, as far as its policies let it start.

    Slots are counted again under a lock on the workers; SQLite has one writer at a time, so there ``taken`` holds.
    """
    taken = view.taken
    workers = sorted({offer.worker_id for head in heads for offer in view.fits(view.demands[head.demand])[0]})
    if connection.features.has_select_for_update:
        list(Worker.objects.select_for_update(no_key=True).filter(pk__in=workers).order_by("pk").values_list("pk"))
        taken = active_counts(workers)
    chosen: list[tuple[Head, Offer]] = []
    in_vain = False  # a row was locked for nothing: another pass may have skipped it
    for head in sorted(heads, key=lambda head: head.turn):
        demand, places = view.demands[head.demand], view.places.get(head.demand, ())
        if _is_outdated(view, head):
            made.outdated.add((head.demand, head.action_ref))
            continue
        if places and made.outdated:
            continue  # one before it may be of its group; the next pass knows
        free = [offer for offer in view.fits(demand)[0] if taken[offer.worker_id] < offer.slots]
        if not free or not view.lets_start(places):
            in_vain = True
            continue
        offer = _best(demand, free)
        taken[offer.worker_id] += 1
        view.take(places, head.execution_id)
        chosen.append((head, offer))
    if chosen:  # otherwise nothing was free after all, and whoever frees a slot makes a pass
        _write(chosen)
        view.write_starts()
        made.handed_over = [(offer.worker_id, head.execution_id, head.epoch + 1) for head, offer in chosen]
        made.look_again |= in_vain or (view.admission is not None and view.admission.bears_on_others)


def _is_outdated(view: _View, head: Head) -> bool:
    """Whether an execution is in a line that is not that of its policies any more."""
    if head.demand in view.places:
        return False
    return head.demand in view.outdated or bool(view.policies.applying_to(head.action_ref))


_turns: dict[int, int] = {}
_turn = 0


def _best(demand: Demand, free: list[Offer]) -> Offer:
    """The best score wins; equals take turns."""
    global _turn
    best = min(free, key=lambda offer: (-score(demand.requirements, offer), _turns.get(offer.worker_id, 0)))
    _turn += 1
    _turns[best.worker_id] = _turn
    return best


def _write(chosen: list[tuple[Head, Offer]]) -> None:
    now = clock.now()
    groups: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for head, offer in chosen:
        groups[offer.worker_id, head.epoch + 1].append(head.execution_id)
    for (worker_id, epoch), execution_ids in groups.items():
        values = {
            "status": Status.SCHEDULED.value, "worker": worker_id, "epoch": epoch, "scheduled_at": now, "updated": now
        }  # fmt: skip
        sql.update(Execution, values, f"id IN ({', '.join(['%s'] * len(execution_ids))})", execution_ids)
    sql.insert(ExecutionHistory, [row for head, offer in chosen for row in _two_steps(head, offer, now)])


def _two_steps(head: Head, offer: Offer, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    claim = Step(source=Status.REQUESTED, target=Status.SCHEDULING, actor="dispatch", epoch=head.epoch)
    place = Step(source=Status.SCHEDULING, target=Status.SCHEDULED, actor="dispatch", epoch=head.epoch + 1)
    return (
        history_row(
            head.execution_id, head.action_ref, claim, now, old={"status": "requested"}, new={"status": "scheduling"}
        ),
        history_row(
            head.execution_id,
            head.action_ref,
            place,
            now,
            old={"status": "scheduling", "worker": None, "epoch": head.epoch},
            new={"status": "scheduled", "worker": offer.worker_id, "epoch": head.epoch + 1},
        ),
    )


def _is_unschedulable(offers: list[Offer], rejections: list[str | None]) -> bool:
    """An outage of workers fails nothing: only when some are there, and none that is known could ever run it."""
    for_actions = [offer for offer, why in zip(offers, rejections, strict=True) if why != "role"]
    return any(offer.is_active and offer.lease_valid for offer in for_actions) and all(
        why in NEVER for why in rejections
    )


def _find_unschedulable(demand: Demand, message: str, made: Pass, *, waiting_before: datetime | None = None) -> None:
    """Note the heads of a demand that nobody meets; with ``waiting_before`` only those in line since then."""
    rows = Execution.objects.filter(status=Status.REQUESTED, held=False, demand=demand.pk)
    if waiting_before is not None:
        rows = rows.filter(updated__lte=waiting_before)
    found = list(rows.order_by("-priority", "created", "id").values_list("pk", flat=True)[:MOST_IN_A_PASS])
    made.to_fail += [(execution_id, message) for execution_id in found]
    made.look_again |= len(found) == MOST_IN_A_PASS


@transaction.atomic
def cancel_by_policy(execution_id: int, message: str) -> None:
    """End an execution that a policy with the method cancel does not let start, if it still waits."""
    execution = trees.locked(execution_id)
    if execution is None or execution.status != Status.REQUESTED or execution.held:
        return
    end_by_policy(execution, message)


def end_by_policy(execution: Execution, message: str) -> None:
    """End a waiting execution whose row is locked, or new, as a policy wants it."""
    result = {
        "error": "Execution cancelled by policy",
        "message": message,
        "action_ref": execution.action_ref,
        "cancelled_by": "execution_scheduler",
        "cancelled_at": clock.as_text(clock.now()),
        "succeeded": False,
    }
    step = Step(source=Status.REQUESTED, target=Status.CANCELLED, actor="policy", reason=message)
    transition(execution, step, result=result, succeeded=False)
    dispatch_on_commit()


@transaction.atomic
def _fail_unschedulable(execution_id: int, message: str) -> None:
    execution = trees.locked(execution_id)
    if execution is None or execution.status != Status.REQUESTED:
        return
    result = {
        "error": "Execution is unschedulable",
        "message": message,
        "action_ref": execution.action_ref,
        "failed_by": "execution_scheduler",
        "failed_at": clock.as_text(clock.now()),
        "succeeded": False,
    }
    step = Step(source=Status.REQUESTED, target=Status.FAILED, actor="dispatch", reason=message)
    transition(execution, step, result=result, succeeded=False)
    dispatch_on_commit()


@transaction.atomic
def start_by_engine(execution_id: int) -> bool:
    """Let its engine run an execution whose turn has come; False when it is not waiting any more."""
    execution = trees.locked(execution_id)
    if execution is None or execution.status != Status.REQUESTED or execution.held or execution.demand_id is None:
        return False
    if not _admit_to_engine(execution, load_demands([execution.demand_id])[execution.demand_id]):
        return False
    name = engines.name_for(execution)
    engine = engines.engine_named(name) if name is not None else None
    claim = Step(source=Status.REQUESTED, target=Status.SCHEDULING, actor="dispatch")
    begin = Step(source=Status.SCHEDULING, target=Status.RUNNING, actor=name or "dispatch")
    if not (transition(execution, claim) and transition(execution, begin, started_at=clock.now())):
        return False
    try:
        with transaction.atomic():
            if engine is None:
                raise RuntimeError(f"No engine runs the action '{execution.action_ref}'")
            engine.start(execution)
    except OperationalError:
        raise  # the database is away, or broke a deadlock: nothing has happened, and the next pass tries again
    except Exception as error:  # our own mistake must not leave it running for ever
        logger.exception("Execution %s could not be started", execution_id)
        execution.refresh_from_db()
        failed = Step(source=Status.RUNNING, target=Status.FAILED, actor=name or "dispatch")
        result = {"error": f"{type(error).__name__}: {error}", "succeeded": False}
        transition(execution, failed, result=result, succeeded=False)
    return True


def _admit_to_engine(execution: Execution, demand: Demand) -> bool:
    """Take the slots of an execution that an engine runs; False when it has to wait, or a policy has ended it."""
    policies = current_policies()
    if not is_current(demand.requirements, policies, execution.action_ref):
        return False  # policies have changed just now: the next pass puts it in line anew
    places = places_in(demand.requirements, policies)
    if not places:
        return True
    admission = Admission(policies, places)
    admission.count()
    admission.lock(places)
    full = admission.full(places)
    if full and full[0].place.limit.cancels:
        end_by_policy(execution, full[0].message)
    if full:
        return False
    admission.take(places, execution.pk)
    admission.write(clock.now())
    return True
