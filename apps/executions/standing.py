"""How an execution stands, for the gate that reads the token of its process (auth.md 6.2)."""

from apps.executions.models import Execution
from apps.identity.executions import Standing


def standing_of(execution_id: int) -> Standing | None:
    """Return the epoch of the execution and when it ended; None when it is gone."""
    found = Execution.objects.filter(pk=execution_id).values_list("epoch", "finished_at").first()
    return None if found is None else Standing(epoch=found[0], finished_at=found[1])
