"""How many executions each worker has; the app that owns executions says how to count them."""

from collections.abc import Callable, Collection, Mapping

LOAD_STATUSES = ("requested", "scheduling", "scheduled", "running", "canceling")

Counts = Mapping[int, Mapping[str, int]]  # worker id -> status -> executions; what is missing is 0

_counter: Callable[[Collection[int]], Counts] | None = None


def register_load_counter(counter: Callable[[Collection[int]], Counts]) -> None:
    """Name the function that counts the executions of workers by status, in one query."""
    global _counter
    _counter = counter


def count_load(worker_ids: Collection[int]) -> dict[int, dict[str, int]]:
    """Return {worker id: {status: executions}} with every status, for all the given workers."""
    found = _counter(worker_ids) if _counter is not None and worker_ids else {}
    return {pk: {status: found.get(pk, {}).get(status, 0) for status in LOAD_STATUSES} for pk in worker_ids}
