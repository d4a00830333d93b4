"""What the workers offer just now, read for dispatch and for the answer to "why does it wait?"."""

from typing import Any

from django.db.models import BooleanField, Case, F, Value, When
from django.db.models.functions import Now

from apps.workers.fitness import Offer, read_capabilities
from apps.workers.models import Worker, WorkerStatus

DEFAULT_SLOTS = 10  # of a worker whose capabilities do not say (execution.md section 5)

_read: dict[int, tuple[Any, tuple[dict[str, list[str]], dict[str, str], list[Any]]]] = {}


def read_offers() -> list[Offer]:
    """Return every worker's offer, by name. One query; the lease is judged by the database's clock."""
    rows = (
        Worker.objects.order_by("name")
        .annotate(
            lease_valid=Case(
                When(lease__expires_at__gt=Now(), then=Value(True)), default=Value(False), output_field=BooleanField()
            ),
            generation=F("lease__generation"),
        )
        .only("name", "worker_role", "status", "cordoned", "draining", "capabilities", "updated")
    )
    return [_offer(worker) for worker in rows]


def _offer(worker: Any) -> Offer:
    runtimes, labels, taints = _capabilities(worker)
    slots = (worker.capabilities or {}).get("max_concurrent_executions", DEFAULT_SLOTS)
    return Offer(
        worker_id=worker.pk,
        name=worker.name,
        role=worker.worker_role,
        is_active=worker.status in (WorkerStatus.ACTIVE, WorkerStatus.BUSY),
        lease_valid=worker.lease_valid,
        cordoned=worker.cordoned,
        draining=worker.draining,
        slots=slots if isinstance(slots, int) else DEFAULT_SLOTS,
        runtimes=runtimes,
        labels=labels,
        taints=taints,
    )


def _capabilities(worker: Any) -> tuple[dict[str, list[str]], dict[str, str], list[Any]]:
    known = _read.get(worker.pk)
    if known is None or known[0] != worker.updated:
        known = _read[worker.pk] = (worker.updated, read_capabilities(worker.capabilities))
    return known[1]
