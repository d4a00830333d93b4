"""How a worker is doing, derived from its row (api.md 19). Pure but for the time, which the caller may give."""

from datetime import datetime, timedelta
from typing import Literal

from apps.core import clock
from apps.workers.models import Worker, WorkerStatus

STALE_AFTER = timedelta(seconds=90)
HealthState = Literal["active", "busy", "cordoned", "offline", "error", "inactive"]


def heartbeat_is_stale(worker: Worker, now: datetime | None = None) -> bool:
    """Return True when the heartbeat is missing or older than 90 s."""
    return worker.last_heartbeat is None or (now or clock.now()) - worker.last_heartbeat > STALE_AFTER


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
    return "busy" if total_active or worker.status == WorkerStatus.BUSY else "active"
