"""
Find what was lost: messages, workers, times that have come. Any number of processes may sweep.

Everything a sweep does it does by compare-and-set, so two at once, or one in the middle of normal work, do no harm.
"""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import DateTimeField, F, Min, Q
from django.db.models.functions import Coalesce, Now

from apps.core import clock
from apps.executions import edited_actions, trees
from apps.executions.demands import demand_id, requirements_of
from apps.executions.dispatch import dispatch_waiting
from apps.executions.engines import ASK_REF
from apps.executions.models import Execution
from apps.executions.publication import can_publish, publish
from apps.executions.retries import is_repeated, repeat_after_end
from apps.executions.runner import expire
from apps.executions.settling import settle, settle_worker
from apps.executions.states import ON_A_WORKER, Status
from apps.executions.transitions import Step, transition
from apps.workers.models import Worker, WorkerLease, WorkerStatus

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 500  # rows of one kind in one round; the next round takes the rest
LONGEST_CLAIM_SECONDS = 30  # `scheduling` for longer is a dispatcher that is gone (execution.md section 3)
STALE_HEARTBEAT_SECONDS = 90  # of a worker that never held a lease (execution.md section 5)
EVERYTHING = (
    "expire_due", "follow_edited_actions", "put_in_line", "free_stuck_claims", "settle_lost", "fail_unclaimed", "announce_again",
)  # fmt: skip


def sweep() -> None:
    """Make one round of everything; a step that fails is logged and tried again in the next round."""
    for name in EVERYTHING:
        try:
            globals()[name]()
        except DatabaseError:
            logger.warning("Sweep: %s failed, the next round tries again", name, exc_info=True)
    dispatch_waiting()


def next_due(now: datetime | None = None) -> float | None:
    """Return how many seconds it is until the next ``not_before`` or ``expires_at``, None when there is none."""
    now = now or clock.now()
    starts = Execution.objects.filter(status=Status.REQUESTED, held=False, demand__isnull=True).aggregate(
        at=Min("not_before")
    )["at"]
    ends = Execution.objects.filter(
        status__in=[Status.REQUESTED, Status.SCHEDULED], expires_at__isnull=False
    ).aggregate(at=Min("expires_at"))["at"]
    moments = [moment for moment in (starts, ends) if moment is not None]
    return max(0.0, (min(moments) - now).total_seconds()) if moments else None


def expire_due() -> int:
    """End what was not started by its ``expires_at``."""
    due = Execution.objects.filter(
        status__in=[Status.REQUESTED, Status.SCHEDULED], expires_at__isnull=False, expires_at__lte=clock.now()
    )
    ended = 0
    for pk in list(due.order_by("expires_at").values_list("pk", flat=True)[:MOST_AT_ONCE]):
        with transaction.atomic():
            execution = due.filter(pk=pk).first() if trees.locked(pk) is not None else None
            ended += execution is not None and expire(execution, actor="sweep")
    return ended


def follow_edited_actions() -> None:
    """Let requests that were under way when their action was changed follow it."""
    edited_actions.follow_edited()


def put_in_line() -> int:
    """Put those whose time has come in line; also rows that plain SQL inserted."""
    now = clock.now()
    due = Execution.objects.filter(status=Status.REQUESTED, held=False, demand__isnull=True).filter(
        Q(not_before__isnull=True) | Q(not_before__lte=now)
    )
    moved = 0
    with transaction.atomic():
        rows = due.select_for_update(skip_locked=True, no_key=True).order_by("not_before", "id")[:MOST_AT_ONCE]
        for execution in list(rows):
            demand = demand_id(requirements_of(execution.action, execution))
            moved += Execution.objects.filter(pk=execution.pk, status=Status.REQUESTED).update(demand=demand)
    return moved


def free_stuck_claims() -> int:
    """Give back what a dispatcher took and never placed."""
    before = clock.now() - timedelta(seconds=LONGEST_CLAIM_SECONDS)
    stuck = Execution.objects.filter(status=Status.SCHEDULING, updated__lt=before)
    moved = 0
    with transaction.atomic():
        for execution in stuck.select_for_update(skip_locked=True, no_key=True).order_by("pk")[:MOST_AT_ONCE]:
            moved += transition(
                execution, Step(source=Status.SCHEDULING, target=Status.REQUESTED, actor="sweep", reason="stuck claim")
            )
    return moved


def settle_lost() -> int:
    """Settle what lost workers have, worker by worker, under a lock on the lease."""
    settled = 0
    busy = Execution.objects.filter(status__in=ON_A_WORKER, worker__isnull=False).order_by()
    for worker_id in list(lost_workers().filter(pk__in=busy.values("worker")).values_list("pk", flat=True)):
        with transaction.atomic():
            WorkerLease.objects.select_for_update(no_key=True).filter(worker=worker_id).first()
            worker = lost_workers().select_related("lease").filter(pk=worker_id).first()
            if worker is None:
                continue  # it renewed, or was taken over, meanwhile
            silent = worker.status in (WorkerStatus.ACTIVE, WorkerStatus.BUSY) and worker.last_heartbeat is not None
            reason = "worker_heartbeat_stale" if silent else "worker_unavailable"
            settled += settle_worker(worker, reason=reason)
    with transaction.atomic():
        orphaned = Execution.objects.filter(
            status__in=ON_A_WORKER, worker__isnull=True, workflow_def__isnull=True
        ).exclude(action_ref=ASK_REF)
        settled += settle(None, orphaned, reason="worker_unavailable")
    return settled


def lost_workers() -> "Worker.objects.__class__":  # type: ignore[name-defined]  # a QuerySet of the manager's class
    """
    Workers that are lost: inactive, in error, their lease over, or, without a lease, their heartbeat stale.

    Judged by the database's clock.
    """
    stale = Now() - timedelta(seconds=STALE_HEARTBEAT_SECONDS)
    return Worker.objects.filter(
        Q(status__in=[WorkerStatus.INACTIVE, WorkerStatus.ERROR])
        | Q(status__isnull=True)
        | Q(lease__expires_at__lte=Now())
        | Q(lease__isnull=True, last_heartbeat__isnull=True)
        | Q(lease__isnull=True, last_heartbeat__lt=stale)
    )


def fail_unclaimed() -> int:
    """Fail what its worker did not claim in time."""
    limit = settings.PICKUP_TIMEOUT_SECONDS
    now = clock.now()
    late = Execution.objects.filter(status=Status.SCHEDULED).annotate(
        since=Coalesce("scheduled_at", "updated", output_field=DateTimeField())
    )
    late = late.filter(since__lt=now - timedelta(seconds=limit))
    failed = 0
    for pk in list(late.order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE]):
        with transaction.atomic():
            execution = late.filter(pk=pk).first() if trees.locked(pk) is not None else None
            if execution is None:
                continue  # claimed or given back meanwhile
            age = (now - (execution.scheduled_at or execution.updated)).total_seconds()
            result = {
                "error": f"Execution timeout: worker did not pick up task within {limit} seconds "
                f"(scheduled for {age:.0f} seconds)",
                "failed_by": "execution_timeout_monitor",
                "timeout_seconds": limit,
                "age_seconds": int(age),
                "original_status": "scheduled",
                "succeeded": False,
            }
            step = Step(source=Status.SCHEDULED, target=Status.FAILED, actor="sweep", reason="not picked up")
            repeated = is_repeated(execution, step.target)
            if transition(execution, step, repeated=repeated, result=result, succeeded=False):
                repeat_after_end(execution, reason="queue_timeout")
                failed += 1
    return failed


def announce_again() -> int:
    """Publish once more what was handed over and not claimed: its message may be lost. A double finds nothing to do."""
    if not can_publish():
        return 0
    before = clock.now() - timedelta(seconds=settings.SWEEP_SECONDS)
    rows = (
        Execution.objects.filter(status=Status.SCHEDULED, worker__isnull=False)
        .filter(Q(scheduled_at__lt=before) | Q(scheduled_at__isnull=True))
        .order_by(F("scheduled_at").asc(nulls_first=True), "pk")
        .values_list("worker", "pk", "epoch")
    )
    announced = 0
    for worker_id, execution_id, epoch in list(rows[:MOST_AT_ONCE]):
        if not publish(worker_id, execution_id, epoch):
            break  # the broker is away; the next round tries again
        announced += 1
    return announced
