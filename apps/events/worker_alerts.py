"""Tell operators of workers: one that is lost, and none that has a free slot (execution.md section 20)."""

from datetime import datetime, timedelta

from apps.core import clock
from apps.events.alerts import Alert, raise_alert
from apps.executions.dispatch import active_counts
from apps.executions.offers import read_offers
from apps.workers.models import Worker, WorkerRole, WorkerStatus

NO_SLOT_AFTER = timedelta(minutes=10)
_LOOKED_BACK = timedelta(hours=1)  # who was lost earlier was told of then
_AT_WORK = (WorkerStatus.ACTIVE, WorkerStatus.BUSY)


def look() -> None:
    """Make one round."""
    tell_lost()
    _pool.look()


def tell_lost() -> None:
    """Tell of workers whose lease ran out while they were at work; who stops says so, and is inactive then."""
    now = clock.now()
    lost = Worker.objects.filter(status__in=_AT_WORK, lease__expires_at__gt=now - _LOOKED_BACK)
    for worker in lost.filter(lease__expires_at__lte=now).select_related("lease").order_by("pk"):
        ended = worker.lease.expires_at
        raise_alert(
            Alert(
                severity="error",
                category="worker",
                failure_type="worker_lost",
                component_type="worker",
                component_id=worker.pk,
                component_ref=worker.name,
                worker_role="sensor" if worker.worker_role == WorkerRole.SENSOR else "action",
                summary=f"Worker {worker.name} is lost: it has not renewed its lease, which ended {clock.as_text(ended)}",
                details={"host": worker.host, "lease_expired_at": clock.as_text(ended)},
                correlation_id=f"worker:{worker.pk}:lost:{worker.lease.generation}:{clock.as_text(ended)}",
            )
        )


class Pool:
    """What one process has seen of the slots of all workers that take executions."""

    def __init__(self) -> None:
        self._full_since: datetime | None = None
        self._told = False

    def look(self) -> None:
        """Look once; tell when there has been no free slot for too long."""
        now = clock.now()
        counts = active_counts()
        offers = [offer for offer in read_offers() if offer.role != WorkerRole.SENSOR]
        takers = [
            each for each in offers if each.is_active and each.lease_valid and not (each.cordoned or each.draining)
        ]
        if not takers or any(counts[each.worker_id] < each.slots for each in takers):
            self._full_since, self._told = None, False
            return
        self._full_since = self._full_since or now
        slots, running = sum(each.slots for each in takers), sum(counts[each.worker_id] for each in takers)
        if now - self._full_since >= NO_SLOT_AFTER and not self._told:
            self._told = True
            _tell_full(len(takers), slots, running, now)


_pool = Pool()


def _tell_full(workers: int, slots: int, running: int, now: datetime) -> None:
    """Several processes say it once an hour together."""
    raise_alert(
        Alert(
            severity="warning",
            category="worker",
            failure_type="no_free_slot",
            component_type="worker_pool",
            worker_role="action",
            summary=f"No worker has had a free slot for {int(NO_SLOT_AFTER.total_seconds() // 60)} min: "
            f"{running} executions on {slots} slots of {workers} workers",
            details={"workers": workers, "slots": slots, "running": running},
            correlation_id=f"worker_pool:full:{now:%Y-%m-%dT%H}",
        )
    )
