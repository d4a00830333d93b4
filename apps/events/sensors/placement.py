"""Which worker a sensor goes to. Every worker judges alike; the lock on the sensor's row settles what they disagree on."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Exists, OuterRef

from apps.core.fields import Now
from apps.events.models import Sensor
from apps.workers.fitness import NEVER, Offer, misfit, read_capabilities, score
from apps.workers.models import Worker, WorkerLease, WorkerRole, WorkerStatus

_ACTIVE = frozenset({WorkerStatus.ACTIVE.value, WorkerStatus.BUSY.value})


def requirements_of(sensor: Sensor) -> dict[str, Any]:
    """Return what a sensor demands of its worker; see ``apps.workers.fitness`` for the form."""

    def form(value: Any, kind: type) -> Any:
        return value if isinstance(value, kind) else kind()  # plain SQL may have written anything

    return {
        "runtime": sorted(sensor.runtime.names),
        "version": sensor.runtime_version_constraint or None,
        "selector": form(sensor.worker_selector, dict),
        "tolerations": form(sensor.worker_tolerations, list),
        "affinity": form(sensor.worker_affinity, dict),
    }


def read_offers() -> list[Offer]:
    """Return what the workers that take sensors offer; ``slots`` are those still free for sensors."""
    lease = WorkerLease.objects.filter(worker=OuterRef("pk"), expires_at__gt=Now())
    workers = Worker.objects.filter(worker_role__in=[WorkerRole.SENSOR, WorkerRole.HYBRID]).order_by("name")
    held = Counter(Sensor.objects.filter(lease_worker__isnull=False).order_by().values_list("lease_worker", flat=True))
    return [_offer(worker, held=held[worker.pk]) for worker in workers.annotate(lease_valid=Exists(lease))]


def _offer(worker: Any, *, held: int) -> Offer:
    runtimes, labels, taints = read_capabilities(worker.capabilities)
    slots = (worker.capabilities or {}).get("max_concurrent_sensors")
    return Offer(
        worker_id=worker.pk,
        name=worker.name,
        role=worker.worker_role,
        is_active=worker.status in _ACTIVE,
        lease_valid=worker.lease_valid,
        cordoned=worker.cordoned,
        draining=worker.draining,
        slots=max(0, slots - held) if isinstance(slots, int) else 0,  # its supervisor has not said yet
        runtimes=runtimes,
        labels=labels,
        taints=taints,
    )


def best_worker(sensor: Sensor, offers: Sequence[Offer]) -> int | None:
    """
    Return the id of the worker that should take a sensor, None when none can.

    The best preference wins, then the one with the most free slots; equals share the sensors among themselves.
    """
    demand = requirements_of(sensor)
    fitting = [offer for offer in offers if offer.slots > 0 and _misfit(demand, offer) is None]
    if not fitting:
        return None

    def rank(offer: Offer) -> tuple[int, int, bytes]:
        lot = hashlib.sha256(f"{sensor.ref} {offer.name}".encode()).digest()
        return score(demand, offer), offer.slots, lot

    return max(fitting, key=rank).worker_id


def may_stay(sensor: Sensor, offer: Offer) -> bool:
    """Whether a worker that runs a sensor may go on with it; cordoned or not does not matter to what it has."""
    return _misfit(requirements_of(sensor), offer) not in NEVER


def why_nowhere(sensor: Sensor, offers: Sequence[Offer]) -> str:
    """Return why no worker takes a sensor, for the log."""
    if not offers:
        return "no worker takes sensors"
    demand = requirements_of(sensor)
    reasons = (_misfit(demand, offer) or "no free slot for sensors" for offer in offers)
    return ", ".join(f"{offer.name}: {reason}" for offer, reason in zip(offers, reasons, strict=True))


def _misfit(demand: Mapping[str, Any], offer: Offer) -> str | None:
    """Return what hinders; a placement of no known form, which plain SQL may have written, fits nowhere."""
    try:
        return misfit(demand, offer, role="sensor")
    except (AttributeError, TypeError, ValueError):
        return "affinity"
