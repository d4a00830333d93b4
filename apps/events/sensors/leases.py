"""
The lease on a sensor: which worker runs it, so that it never runs in two places.

It is written on the sensor's row, under a lock on it. What is behind it is the worker's own lease: the agent and its
guard see to it that no process of a worker outlives that one, so a sensor is free when its own lease is over and the
lease of the worker that holds it is over too.
"""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, Case, Exists, F, OuterRef, Q, QuerySet, Value, When

from apps.core.fields import Now
from apps.events.models import Sensor
from apps.events.sensors import rows
from apps.workers.models import WorkerLease


@transaction.atomic
def take(sensor_id: int, *, worker_id: int, holder: UUID) -> bool:
    """
    Take a sensor for a worker; return False when another has it, or when the worker's own lease is not valid.

    What the worker before left in its row is put right.
    """
    row = (
        Sensor.objects.select_for_update()
        .filter(pk=sensor_id, enabled=True)
        .annotate(is_over=_judged(Q(lease_expires_at__lte=Now()) | Q(lease_expires_at__isnull=True)))
        .only("pk", "lease_worker")
        .first()
    )
    if row is None or not _valid(worker_id).filter(holder=holder).exists():
        return False
    before = row.lease_worker
    if before not in (None, worker_id):
        if not row.is_over or _valid(before).exists():
            return False
        rows.settle(before, sensor_ids=[sensor_id], reason="worker lost")
    _write(Sensor.objects.filter(pk=sensor_id), worker_id)
    return True


def renew(sensor_ids: Collection[int], *, worker_id: int) -> set[int]:
    """Renew the leases of a worker on these sensors; return those it still has."""
    still_ours = set()
    for pk in sorted(sensor_ids):  # one by one: a statement for all would lock them in an order of its own
        if _write(Sensor.objects.filter(pk=pk, lease_worker=worker_id), worker_id):
            still_ours.add(pk)
    return still_ours


def give_up(sensor_id: int, *, worker_id: int) -> None:
    """Let a sensor go; nothing of it runs any more."""
    _release(Sensor.objects.filter(pk=sensor_id, lease_worker=worker_id))


def release_all(worker_id: int, *, reason: str) -> None:
    """Let go what a worker had, and put its rows right; in the transaction that ends the worker's own lease."""
    _release(Sensor.objects.filter(lease_worker=worker_id))
    rows.settle(worker_id, reason=reason)


def free() -> Q:
    """Return the condition that a sensor may be taken."""
    holder_lives = Q(Exists(WorkerLease.objects.filter(worker=OuterRef("lease_worker"), expires_at__gt=Now())))
    over = Q(lease_expires_at__lte=Now()) | Q(lease_expires_at__isnull=True)
    return Q(lease_worker__isnull=True) | (over & ~holder_lives)


def _valid(worker_id: int | None) -> "QuerySet[WorkerLease]":
    return WorkerLease.objects.filter(worker=worker_id, expires_at__gt=Now())


def _judged(condition: Q) -> Case:
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


def _write(sensors: "QuerySet[Sensor]", worker_id: int) -> int:
    end = Now() + timedelta(seconds=settings.LEASE_SECONDS)
    return sensors.update(lease_worker=worker_id, lease_expires_at=end, updated=F("updated"))


def _release(sensors: "QuerySet[Sensor]") -> None:
    sensors.update(lease_worker=None, lease_expires_at=None, updated=F("updated"))
