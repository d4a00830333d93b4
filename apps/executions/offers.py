"""What the workers offer just now, read for dispatch and for the answer to "why does it wait?"."""

from typing import Any

from apps.core import sql
from apps.workers.fitness import Offer, read_capabilities
from apps.workers.models import Worker, WorkerStatus

DEFAULT_SLOTS = 10  # of a worker whose capabilities do not say (execution.md section 5)

# Narrow on purpose: capabilities are long, and read again only when the worker's row has changed.
_WORKERS = """
SELECT w.id, w.name, w.worker_role, w.status, w.cordoned, w.draining, w.updated, l.expires_at > {now}
FROM worker w LEFT JOIN worker_lease l ON l.worker = w.id ORDER BY w.name
"""
_ACTIVE = frozenset({WorkerStatus.ACTIVE.value, WorkerStatus.BUSY.value})

_read: dict[int, tuple[Any, dict[str, Any]]] = {}


def read_offers() -> list[Offer]:
    """Return every worker's offer, by name. One query as a rule; the lease is judged by the database's clock."""
    rows = sql.fetch(_WORKERS.format(now=sql.now_text()))
    changed = [row[0] for row in rows if _read.get(row[0], (None,))[0] != row[6]]
    if changed:
        found = dict(Worker.objects.filter(pk__in=changed).values_list("pk", "capabilities"))
        for row in rows:
            if row[0] in found:
                _read[row[0]] = (row[6], _what_is_offered(found[row[0]] or {}))
    return [_offer(row) for row in rows if row[0] in _read]


def _offer(row: tuple[Any, ...]) -> Offer:
    worker_id, name, role, status, cordoned, draining, _updated, lease_valid = row
    return Offer(
        worker_id=worker_id,
        name=name,
        role=role,
        is_active=status in _ACTIVE,
        lease_valid=bool(lease_valid),
        cordoned=bool(cordoned),
        draining=bool(draining),
        **_read[worker_id][1],
    )


def _what_is_offered(capabilities: dict[str, Any]) -> dict[str, Any]:
    runtimes, labels, taints = read_capabilities(capabilities)
    slots = capabilities.get("max_concurrent_executions", DEFAULT_SLOTS)
    return {
        "slots": slots if isinstance(slots, int) else DEFAULT_SLOTS,
        "runtimes": runtimes,
        "labels": labels,
        "taints": taints,
    }


def forget_offers() -> None:
    """Forget what is known in this process (the tables were emptied)."""
    _read.clear()
