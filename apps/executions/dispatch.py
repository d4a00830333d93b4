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

from apps.core import clock, sql
from apps.executions import engines, trees
from apps.executions.demands import load_demands
from apps.executions.doorbell import ring
from apps.executions.models import Demand, Execution, ExecutionHistory
from apps.executions.offers import read_offers
from apps.executions.outages import end_absence, outlasts_grace
from apps.executions.publication import can_publish, publish
from apps.executions.signals import execution_changed
from apps.executions.states import Status
from apps.executions.transitions import Step, history_row, notify_changed, transition
from apps.workers.fitness import NEVER, Offer, misfit, score
from apps.workers.models import Worker

logger = logging.getLogger(__name__)

# One pass is a short transaction: a larger backlog takes another pass.
MOST_IN_A_PASS = 200

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
SELECT demand FROM waiting WHERE demand IS NOT NULL
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


@dataclass(kw_only=True)
class Pass:
    """What one pass came to."""

    handed_over: list[tuple[int, int, int]] = field(default_factory=list)  # worker, execution, epoch
    to_start: list[int] = field(default_factory=list)  # executions that an engine runs
    to_fail: list[tuple[int, str]] = field(default_factory=list)  # execution, the demand that nobody meets
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
    waiting = waiting_demands()
    if not waiting:
        return Pass()
    with transaction.atomic():
        made = _make_pass(waiting)
    for worker_id, execution_id, epoch in made.handed_over:
        publish(worker_id, execution_id, epoch)
        if execution_changed.receivers:
            notify_changed(execution_id, Status.SCHEDULED)
    for execution_id in made.to_start:
        made.look_again |= start_by_engine(execution_id)
    for execution_id, message in made.to_fail:
        _fail_unschedulable(execution_id, message)
    return made


def waiting_demands() -> list[int]:
    """Return the ids of the demands that have an execution in line."""
    return [row[0] for row in sql.fetch(_WAITING_DEMANDS.format(line=sql.indexed_by("execution_in_line")))]


def _make_pass(waiting: list[int]) -> Pass:
    demands = load_demands(waiting)
    offers = read_offers()
    taken = active_counts()
    made = Pass()
    heads: list[Head] = []
    fitting: dict[int, list[Offer]] = {}
    for demand in demands.values():
        if "engine" in demand.requirements:
            made.to_start += _heads(demand.pk, MOST_IN_A_PASS)
            continue
        rejections = [misfit(demand.requirements, offer) for offer in offers]
        fitting[demand.pk] = [offer for offer, why in zip(offers, rejections, strict=True) if why is None]
        free = sum(max(0, offer.slots - taken[offer.worker_id]) for offer in fitting[demand.pk])
        if free:
            heads += _lock_heads(demand.pk, min(free, MOST_IN_A_PASS))
        elif not fitting[demand.pk] and _is_unschedulable(offers, rejections):
            _find_unschedulable(demand, unmet_demand(demand, offers, rejections), made)
        elif not fitting[demand.pk] and "draining" not in rejections and outlasts_grace(demand.pk):
            grace = timedelta(seconds=settings.UNSCHEDULABLE_GRACE_SECONDS or 0)
            message = unmet_demand(demand, offers, rejections)
            _find_unschedulable(demand, message, made, waiting_before=clock.now() - grace)
        if fitting[demand.pk] or "draining" in rejections:
            end_absence(demand.pk)
    if heads:
        _hand_over(heads, fitting, demands, taken, made)
    return made


def _lock_heads(demand_id: int, most: int) -> list[Head]:
    rows = sql.fetch(
        _HEADS.format(line=sql.indexed_by("execution_in_line"), locks=sql.skip_locked_text()), [demand_id, most]
    )
    return [
        Head(execution_id=pk, action_ref=ref, epoch=epoch, priority=priority, created=created, demand=demand_id)
        for pk, ref, epoch, priority, created in rows
    ]


def active_counts(worker_ids: Iterable[int] | None = None) -> defaultdict[int, int]:
    """Return how many executions hold a slot of each worker."""
    counts = defaultdict(int, sql.fetch(_ACTIVE.format(on_worker=sql.indexed_by("execution_on_worker"))))
    return counts if worker_ids is None else defaultdict(int, {pk: counts[pk] for pk in worker_ids})


def _hand_over(
    heads: list[Head],
    fitting: dict[int, list[Offer]],
    demands: dict[int, Demand],
    taken: defaultdict[int, int],
    made: Pass,
) -> None:
    """
    Choose a worker for each head in order of priority and age.

    Slots are counted again under a lock on the workers; SQLite has one writer at a time, so there ``taken`` holds.
    """
    workers = sorted({offer.worker_id for head in heads for offer in fitting[head.demand]})
    if connection.features.has_select_for_update:
        list(Worker.objects.select_for_update(no_key=True).filter(pk__in=workers).order_by("pk").values_list("pk"))
        taken = active_counts(workers)
    chosen: list[tuple[Head, Offer]] = []
    heads.sort(key=lambda head: (-head.priority, head.created, head.execution_id))
    for head in heads:
        free = [offer for offer in fitting[head.demand] if taken[offer.worker_id] < offer.slots]
        if not free:
            made.look_again = True  # its row was locked for nothing: another pass may have skipped it
            continue
        offer = _best(demands[head.demand], free)
        taken[offer.worker_id] += 1
        chosen.append((head, offer))
    if chosen:
        _write(chosen)
        made.handed_over = [(offer.worker_id, head.execution_id, head.epoch + 1) for head, offer in chosen]
    else:
        made.look_again = False  # nothing was free after all; whoever frees a slot makes a pass


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


def _heads(demand_id: int, most: int) -> list[int]:
    text = _HEADS.format(line=sql.indexed_by("execution_in_line"), locks="")
    return [row[0] for row in sql.fetch(text, [demand_id, most])]


def _find_unschedulable(demand: Demand, message: str, made: Pass, *, waiting_before: datetime | None = None) -> None:
    """Note the heads of a demand that nobody meets; with ``waiting_before`` only those in line since then."""
    rows = Execution.objects.filter(status=Status.REQUESTED, held=False, demand=demand.pk)
    if waiting_before is not None:
        rows = rows.filter(updated__lte=waiting_before)
    found = list(rows.order_by("-priority", "created", "id").values_list("pk", flat=True)[:MOST_IN_A_PASS])
    made.to_fail += [(execution_id, message) for execution_id in found]
    made.look_again |= len(found) == MOST_IN_A_PASS


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


def unmet_demand(demand: Demand, offers: list[Offer], rejections: list[str | None]) -> str:
    """Return the sentence that says which demand no worker meets."""
    wanted = demand.requirements
    available = sorted({name for offer in offers for name in offer.runtimes})
    texts = {
        "role": "no worker runs actions",
        "runtime": f"no worker offers the runtime {' or '.join(wanted['runtime'] or []) or wanted['required']}"
        f" (available: {', '.join(available) or 'none'})",
        "runtime_version": f"no worker offers a version that satisfies {wanted['version'] or wanted['required']}",
        "selector": f"no worker has the labels {wanted['selector']}",
        "taint": "every worker has a taint that is not tolerated",
        "affinity": "no worker meets the affinity",
        "offline": "every worker that fits is offline",
        "cordoned": "every worker that fits is cordoned",
    }
    reasons = {why for why in rejections if why is not None}
    told = reasons - NEVER or reasons  # where some would fit, the others' shortcomings are not why it fails
    return "; ".join(text for why, text in texts.items() if why in told) or "no worker is registered"
