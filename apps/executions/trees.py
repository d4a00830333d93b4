"""
The locks of a tree of executions: its root first, then the row (workflows.md section 4).

Every transaction that ends, cancels or releases an execution begins here, so ends, answers and cancels within one
tree come one after the other and never wait for each other in a circle. The whole order of row locks: lease, root,
execution, group of a policy, worker.
"""

from collections.abc import Iterable

from django.db import connection

from apps.core import sql
from apps.executions.models import Execution

_ROOT = "SELECT root FROM execution WHERE id = %s"
# Locks nothing on SQLite, whose transactions that write come one after the other anyway.
_LOCKED = "FOR NO KEY UPDATE"
_LOCK = f"SELECT id FROM execution WHERE id = %s {_LOCKED}"


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
    found = sql.fetch(_ROOT, [execution_id])
    if found and found[0][0] is not None:
        lock_roots([found[0][0]])
    lock = _LOCKED if connection.features.has_select_for_update else ""
    return sql.get(Execution, f"id = %s {lock}", [execution_id])
