"""Permission sets that a task works out when it starts (workflows.md 2.1)."""

import json
from collections.abc import Sequence

from apps.core.errors import Forbidden
from apps.executions.models import Execution
from apps.identity.callers import Caller
from apps.identity.grants import beyond
from apps.workflows.definition.graph import Task
from apps.workflows.engine.book import ChildSpec


def undelegated(execution: Execution, task: Task, specs: Sequence[ChildSpec]) -> str | None:
    """
    Return why children may not carry the permission sets that were rendered for them, None when they may.

    The grants of the identity that the workflow runs as must cover them; what is written down literally was looked at
    when the workflow was saved.
    """
    if task.permission_set_refs is None or "{{" not in json.dumps(task.permission_set_refs):
        return None
    refs = sorted({ref for spec in specs for ref in spec.permission_set_refs or ()})
    holder = execution.executor
    if not refs or holder is None:
        return f"Nobody may pass on the permission sets: {', '.join(refs)}" if refs else None
    try:
        missing = beyond(Caller(holder=holder, token_type="access", login=holder.login), refs)
    except Forbidden as error:
        return str(error)
    sets = ", ".join(refs)
    return f"'{holder.login}' may not pass on the permission sets {sets}: {', '.join(missing)}" if missing else None
