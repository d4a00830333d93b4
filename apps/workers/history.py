"""The history of workers: one row for each change of what is tracked (model.md 8.1)."""

from typing import Any

from apps.workers.models import Worker, WorkerHistory

# The heartbeat is not: it would bury what matters. ``lease_generation`` is kept in the lease's row.
TRACKED = ("status", "worker_role", "cordoned", "draining", "capabilities")


def record_created(worker: Worker, *, actor: str) -> None:
    """Write the first history row of a new worker."""
    _write(worker, "INSERT", {}, {name: getattr(worker, name) for name in TRACKED}, actor=actor, reason=None)


def record_lease(worker: Worker, *, old: int | None, new: int, reason: str | None) -> None:
    """Write that the worker's name was taken (over)."""
    values = {"lease_generation": old}
    _write(worker, "UPDATE", values, {"lease_generation": new}, actor=actor_of(worker), reason=reason)


def change(worker: Worker, *, actor: str, reason: str | None = None, **fields: Any) -> bool:
    """
    Set fields of a worker and write their history; return True when something tracked changed.

    Locks the worker's row, so call it inside a transaction, and last: its lock is the last in the order of locks.
    """
    current = Worker.objects.select_for_update().get(pk=worker.pk)
    old = {name: getattr(current, name) for name in TRACKED if name in fields}
    worker.set(**fields)
    new = {name: getattr(worker, name) for name in old}
    if old == new:
        return False
    changed = [name for name in old if old[name] != new[name]]
    _write(
        worker,
        "UPDATE",
        {name: old[name] for name in changed},
        {name: new[name] for name in changed},
        actor=actor,
        reason=reason,
    )
    return True


def actor_of(worker: Worker) -> str:
    """Return how history names a worker."""
    return f"worker:{worker.pk}"


def _write(
    worker: Worker, operation: str, old: dict[str, Any], new: dict[str, Any], *, actor: str, reason: str | None
) -> None:
    WorkerHistory.objects.create(
        operation=operation,
        entity_id=worker.pk,
        entity_ref=worker.name,
        changed_fields=sorted(new),
        old_values=old or None,
        new_values=new,
        actor=actor,
        reason=reason,
    )
