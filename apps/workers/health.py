"""How a worker is doing, derived from its row and its lease (api.md 19). The caller may give the time."""

from datetime import datetime, timedelta
from typing import Literal

from apps.core import clock
from apps.workers.models import Worker, WorkerStatus

STALE_AFTER = timedelta(seconds=90)
HealthState = Literal["active", "busy", "cordoned", "offline", "error", "inactive"]
HEALTH_STATES: tuple[HealthState, ...] = ("active", "busy", "cordoned", "offline", "error", "inactive")


def heartbeat(worker: Worker) -> datetime | None:
    """Return the last renewal of the worker's lease; its row's own is that of a worker that never held one."""
    lease = getattr(worker, "lease", None)
    return lease.renewed_at if lease is not None else worker.last_heartbeat


def heartbeat_is_stale(worker: Worker, now: datetime | None = None) -> bool:
    """Return True when the heartbeat is missing or older than 90 s."""
    last = heartbeat(worker)
    return last is None or (now or clock.now()) - last > STALE_AFTER


def health_state(worker: Worker, *, total_active: int = 0, now: datetime | None = None) -> HealthState:
    """Return the first that holds: cordoned, error, inactive, offline, busy (it has work), active."""
    if worker.cordoned:
        return "cordoned"
    if worker.status == WorkerStatus.ERROR:
        return "error"
    if worker.status is None or worker.status == WorkerStatus.INACTIVE:
        return "inactive"
    if heartbeat_is_stale(worker, now):
        return "offline"
    sensors = (worker.capabilities or {}).get("sensor_processes_running")
    has_work = total_active or (isinstance(sensors, int) and sensors > 0) or worker.status == WorkerStatus.BUSY
    return "busy" if has_work else "active"
