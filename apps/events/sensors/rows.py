"""What people see of a sensor's process: its row for each worker, and the history of it (model.md 8.1)."""

from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction

from apps.core import clock
from apps.events.models import Sensor, SensorProcess, SensorProcessHistory, SensorProcessStatus

TRACKED = ("status", "pid", "consecutive_failures", "last_exit_code", "last_signal")
_AT_WORK = (SensorProcessStatus.STARTING, SensorProcessStatus.RUNNING, SensorProcessStatus.BACKOFF)


@transaction.atomic
def write(sensor_id: int, worker_id: int, fields: Mapping[str, Any], *, reason: str | None = None) -> None:
    """Set fields of the row of (sensor, worker), which is made when there is none; nothing for a sensor that is gone."""
    row = SensorProcess.objects.select_for_update().filter(sensor=sensor_id, worker=worker_id).first()
    if row is not None:
        _change(row, fields, reason=reason)
        return
    ref = Sensor.objects.filter(pk=sensor_id).values_list("ref", flat=True).first()
    if ref is None:
        return
    row = SensorProcess.objects.create(sensor_id=sensor_id, sensor_ref=ref, worker_id=worker_id, **fields)
    record = {name: getattr(row, name) for name in TRACKED}
    _record(row, "INSERT", {}, record, actor=_actor(worker_id), reason=reason)


def settle(worker_id: int, *, sensor_ids: Collection[int] | None = None, reason: str) -> None:
    """Write that a worker's processes (of these sensors, or all) run no more: it was lost, or it has stopped."""
    left = SensorProcess.objects.select_for_update().filter(worker=worker_id, status__in=_AT_WORK)
    if sensor_ids is not None:
        left = left.filter(sensor__in=sensor_ids)
    stopped = {"status": SensorProcessStatus.STOPPED, "pid": None, "next_restart_at": None}
    for row in left.order_by("pk"):
        _change(row, {**stopped, "last_stopped_at": clock.now()}, reason=reason)


def record_deleted(row: SensorProcess) -> None:
    """Write the last history row of a process whose sensor or worker is deleted."""
    _record(row, "DELETE", {name: getattr(row, name) for name in TRACKED}, {}, actor="system", reason=None)


def _change(row: SensorProcess, fields: Mapping[str, Any], *, reason: str | None) -> None:
    old = {name: getattr(row, name) for name in TRACKED if name in fields and getattr(row, name) != fields[name]}
    row.set(**fields)
    if old:
        new = {name: getattr(row, name) for name in old}
        _record(row, "UPDATE", old, new, actor=_actor(row.worker_id), reason=reason)


def _record(
    row: SensorProcess, operation: str, old: dict[str, Any], new: dict[str, Any], *, actor: str, reason: str | None
) -> None:
    SensorProcessHistory.objects.create(
        operation=operation,
        entity_id=row.pk,
        entity_ref=row.sensor_ref,
        changed_fields=sorted({*old, *new}),
        old_values=old or None,
        new_values=new or None,
        actor=actor,
        reason=reason,
    )


def _actor(worker_id: int) -> str:
    return f"worker:{worker_id}"
