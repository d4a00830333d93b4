"""News from the workers, and of rows that go, for what is known of sensors at work."""

from typing import Any

from apps.events import notices
from apps.events.models import SensorProcess
from apps.events.sensors import leases, rows
from apps.workers.models import Worker


def on_lease_over(*, worker: Worker, reason: str, **_signal: Any) -> None:
    """Let go the sensors of a worker, in the transaction that ends its lease: none of them runs any more."""
    leases.release_all(worker.pk, reason=reason)


def on_worker_available(**_signal: Any) -> None:
    """A worker can take sensors it could not take before."""
    notices.ring()


def on_process_deleted(*, instance: SensorProcess, **_signal: Any) -> None:
    rows.record_deleted(instance)
