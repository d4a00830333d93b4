"""
The lease: who works under a worker's name, and until when (execution.md section 5).

All times in the row are the database's. The holder judges its own lease by ``boottime``, counted from the sending of
its last good renewal: the database's end is never earlier than that.
"""

import logging
import time
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, Case, F, Value, When

from apps.core.fields import Now
from apps.workers import history, holder
from apps.workers.models import Worker, WorkerLease, WorkerStatus
from apps.workers.signals import lease_over

logger = logging.getLogger(__name__)


def boottime() -> float:
    """Return seconds on a clock that neither suspend nor a change of the time of day stops or moves."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, kw_only=True)
class Times:
    """The lengths that matter to a lease, in seconds."""

    heartbeat: float = field(default_factory=lambda: settings.HEARTBEAT_SECONDS)
    lease: float = field(default_factory=lambda: settings.LEASE_SECONDS)
    kill_grace: float = field(default_factory=lambda: settings.KILL_GRACE_SECONDS)

    @property
    def kill_margin(self) -> float:
        """How long before the lease's end what runs gets SIGKILL."""
        return self.lease / 10

    @property
    def stop_margin(self) -> float:
        """How long before the lease's end what runs gets SIGTERM."""
        return self.kill_margin + self.kill_grace


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A lease as its holder sees it; ``ends_at`` is on the clock of ``boottime``."""

    worker_id: int
    holder: uuid.UUID
    generation: int
    ends_at: float


@dataclass(frozen=True, kw_only=True)
class Held:
    """The name is another process's for now."""

    by: dict[str, Any]
    seconds_left: float


class Renewal(Enum):
    RENEWED = "renewed"
    OVER = "over"  # it ran out, and nobody has taken it yet
    TAKEN = "taken"  # another holder has it, or the worker's row is gone


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """Who wants to work under which name, and what the worker's row is to say then."""

    name: str
    fields: dict[str, Any]
    process: dict[str, Any]
    former: uuid.UUID | None = None  # a lease this process held itself and let go


def take(claimant: Claimant, times: Times) -> Lease | Held:
    """
    Register the worker and take its lease, or return who holds it.

    A take-over settles in the same transaction what the former holder left (signal ``lease_over``).
    """
    sent_at = boottime()
    with transaction.atomic():
        worker, created = Worker.objects.get_or_create(
            name=claimant.name,
            defaults={**claimant.fields, "meta": {"process": claimant.process}, "last_heartbeat": Now()},
        )
        if created:
            worker.refresh_from_db()
            history.record_created(worker, actor=history.actor_of(worker))
        row = _locked(worker)
        if row is not None and (held := _held(worker, row, claimant)):
            return held
        reason = None
        if not created:  # before anything is written: what is settled names the worker as it was
            reason = _reason(worker, row)
            lease_over.send(sender=Worker, worker=worker, reason=reason)
        row = _written(worker, row, times)
        if not created:
            _register_again(worker, claimant)
        history.record_lease(worker, old=row.generation - 1 or None, new=row.generation, reason=reason)
    return Lease(worker_id=worker.pk, holder=row.holder, generation=row.generation, ends_at=sent_at + times.lease)


def _locked(worker: Worker) -> WorkerLease | None:
    """Return the lease's row, locked, with ``is_over`` judged by the database's clock."""
    return (
        WorkerLease.objects.select_for_update()
        .filter(worker=worker)
        .annotate(
            is_over=Case(
                When(expires_at__lte=Now(), then=Value(True)), default=Value(False), output_field=BooleanField()
            ),
            clock=Now(),
        )
        .first()
    )


def _held(worker: Worker, row: Any, claimant: Claimant) -> Held | None:
    """Return the other holder of a lease that is valid, unless that process is known to be gone."""
    process = (worker.meta or {}).get("process")
    if row.is_over or row.holder == claimant.former or holder.is_gone(process):
        return None
    return Held(by=process or {}, seconds_left=(row.expires_at - row.clock).total_seconds())


def _reason(worker: Worker, row: Any) -> str:
    """Return why the former lease is over, in the words of ``retry_reason``."""
    ran_out = row is not None and row.is_over and worker.status == WorkerStatus.ACTIVE
    return "worker_heartbeat_stale" if ran_out else "worker_unavailable"


def _written(worker: Worker, row: WorkerLease | None, times: Times) -> WorkerLease:
    """Write the new holder into the lease's row and return it."""
    end = Now() + timedelta(seconds=times.lease)
    if row is None:
        return WorkerLease.objects.create(worker=worker, holder=uuid.uuid4(), renewed_at=Now(), expires_at=end)
    new_holder = uuid.uuid4()
    WorkerLease.objects.filter(pk=row.pk).update(
        holder=new_holder, generation=F("generation") + 1, renewed_at=Now(), expires_at=end
    )
    row.holder, row.generation = new_holder, row.generation + 1
    return row


def _register_again(worker: Worker, claimant: Claimant) -> None:
    """Bring a known worker's row up to date; what an operator decided (cordon) stays."""
    history.change(
        worker,
        actor=history.actor_of(worker),
        reason="registered",
        **claimant.fields,
        draining=False,
        meta={**(worker.meta or {}), "process": claimant.process},
        last_heartbeat=Now(),
    )


def renew(lease: Lease, times: Times) -> tuple[Renewal, Lease]:
    """Renew a lease that is not over; return what came of it, and the lease as it is now."""
    sent_at = boottime()
    rows = WorkerLease.objects.filter(worker=lease.worker_id)
    renewed = rows.filter(holder=lease.holder, expires_at__gt=Now()).update(
        renewed_at=Now(), expires_at=Now() + timedelta(seconds=times.lease)
    )
    if renewed:
        return Renewal.RENEWED, Lease(
            worker_id=lease.worker_id, holder=lease.holder, generation=lease.generation, ends_at=sent_at + times.lease
        )
    return (Renewal.OVER if rows.filter(holder=lease.holder).exists() else Renewal.TAKEN), lease


def give_up(lease: Lease) -> bool:
    """
    End a lease and settle what its worker still had, in one transaction; return False when it was another's already.

    For the end of a worker: its row becomes ``inactive``.
    """
    with transaction.atomic():
        worker = Worker.objects.filter(pk=lease.worker_id).first()
        row = _locked(worker) if worker else None
        if worker is None or row is None or row.holder != lease.holder:
            return False
        lease_over.send(sender=Worker, worker=worker, reason="worker_unavailable")
        WorkerLease.objects.filter(pk=row.pk).update(expires_at=Now())
        history.change(
            worker,
            actor=history.actor_of(worker),
            reason="stopped",
            status=WorkerStatus.INACTIVE,
            draining=False,
            last_heartbeat=row.renewed_at,
        )
        return True
