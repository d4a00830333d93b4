"""
The locks of a tree of executions: its root first, then the row (workflows.md section 4).

Every transaction that ends, cancels or releases an execution begins here, so ends, answers and cancels within one
tree come one after the other and never wait for each other in a circle. The whole order of row locks: lease, root,
execution, group of a policy, worker.
"""

from collections.abc import Iterable

from django.db import connection

from apps.executions.models import Execution

# Locks nothing on SQLite, whose transactions that write come one after the other anyway.
_LOCK = "SELECT id FROM execution WHERE id = %s FOR NO KEY UPDATE"


def lock_root(execution: Execution) -> None:
    """Lock the root of the tree this execution belongs to, when it is not the root itself."""
    if execution.root is not None:
        lock_roots([execution.root])


def lock_roots(roots: Iterable[int]) -> None:
    """Lock these rows, in the order of their ids."""
    if not connection.features.has_select_for_update:
        return
    with connection.cursor() as cursor:
        for root in sorted(set(roots)):
            cursor.execute(_LOCK, [root])


def locked(execution_id: int) -> Execution | None:
    """Lock the root of an execution's tree and the execution; return it as it is then, None when there is none."""
    root = Execution.objects.filter(pk=execution_id).values_list("root", flat=True).first()
    if root is not None:
        lock_roots([root])
    return Execution.objects.select_for_update(no_key=True).filter(pk=execution_id).first()
