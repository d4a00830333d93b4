"""How many executions each worker has, by status: for what people see of workers."""

from collections.abc import Collection

from django.db.models import Count

from apps.executions.models import Execution
from apps.executions.states import ON_A_WORKER


def count_by_worker(worker_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """Return {worker id: {status: executions}} of what holds a slot; one query, of the index of such rows."""
    rows = Execution.objects.filter(worker__in=worker_ids, status__in=ON_A_WORKER).order_by()
    counts: dict[int, dict[str, int]] = {}
    for worker_id, status, count in rows.values_list("worker", "status").annotate(Count("pk")):
        counts.setdefault(worker_id, {})[status] = count
    return counts
