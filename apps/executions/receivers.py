"""News from the workers: leases that end, drains, renewals, workers that can take work."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.db import transaction

from apps.actions.models import Action
from apps.executions import edited_actions
from apps.executions.build_logs import keep_build_log
from apps.executions.dispatch import dispatch_on_commit, dispatch_waiting
from apps.executions.models import Execution
from apps.executions.settling import settle, settle_worker, take_back_unclaimed
from apps.executions.states import Status
from apps.packs.models import Pack
from apps.workers.agent import current_agent
from apps.workers.models import Runtime, Worker, WorkerLease
from apps.workers.runs import StopReason

logger = logging.getLogger(__name__)


def on_lease_over(*, worker: Worker, reason: str, **_signal: Any) -> None:
    """Settle what the worker had, in the transaction that ends its lease."""
    settle_worker(worker, reason=reason)


def on_environment_built(
    *, pack: Pack, runtime: Runtime, version: str, log: Path, succeeded: bool, **_signal: Any
) -> None:
    """Keep the log of the build."""
    keep_build_log(pack=pack, runtime=runtime, version=version, log=log, succeeded=succeeded)


def on_worker_draining(*, worker: Worker, **_signal: Any) -> None:
    """Take back what the worker has not claimed."""
    take_back_unclaimed(worker, actor=f"worker:{worker.pk}")


def on_worker_available(**_signal: Any) -> None:
    """Somebody can take work that nobody could take before."""
    connection_in_transaction = transaction.get_connection().in_atomic_block
    if connection_in_transaction:
        dispatch_on_commit()
    else:
        dispatch_waiting()


def on_action_saved(*, instance: Action, created: bool, **_signal: Any) -> None:
    """What waits for it follows."""
    if not created:
        edited_actions.follow(instance)


def on_policy_changed(**_signal: Any) -> None:
    """What waits may start, or be in the way no longer."""
    dispatch_on_commit()


def on_lease_renewed(
    *, worker_id: int, holder: Any, runs: Mapping[int, int], stop: Callable[[int, StopReason], object], **_signal: Any
) -> None:
    """
    Compare what the worker runs with the rows: stop what must not run, settle what the database thinks it runs.

    This is the fallback for a cancel whose broadcast was lost, and for answers of the database that were.
    """
    rows = {row.pk: row for row in Execution.objects.filter(pk__in=list(runs)).only("status", "epoch", "worker")}
    for execution_id, epoch in runs.items():
        row = rows.get(execution_id)
        if row is None or row.epoch != epoch or row.worker_id != worker_id or row.is_finished:
            stop(execution_id, "superseded")
        elif row.status == Status.CANCELING:
            stop(execution_id, "cancel")
    _settle_missing(worker_id, holder)


def look_after_runs() -> None:
    """Hand over what waits, and compare what this process runs with the rows, without waiting for a renewal."""
    dispatch_waiting()
    agent = current_agent()
    if agent is not None and agent.lease_valid():
        runs = agent.runs.snapshot()
        on_lease_renewed(worker_id=agent.worker_id, holder=agent.holder, runs=runs, stop=agent.stop_run)


def _settle_missing(worker_id: int, holder: Any) -> None:
    mine = Execution.objects.filter(worker=worker_id, status__in=[Status.RUNNING, Status.CANCELING])
    found = set(mine.values_list("pk", flat=True))
    agent = current_agent()
    # Looked at after the rows: whatever this process claimed before the query is in its registry by now.
    missing = found - set(agent.runs.snapshot() if agent is not None else ())
    if not missing:
        return
    with transaction.atomic():
        lease = WorkerLease.objects.select_for_update(no_key=True).filter(worker=worker_id, holder=holder).first()
        if lease is None:
            return
        lost = settle(lease.worker, mine.filter(pk__in=missing), reason="worker_unavailable")
    if lost:
        logger.warning("Worker %s did not run %s executions that the database thought it ran", worker_id, lost)
