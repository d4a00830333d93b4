"""
Wait for the end of an execution: its answer is held by the server, without a thread (``attune/holding.py``).

The engine's news tells of an end at once when it comes in this process; otherwise the server looks now and then.
"""

from collections.abc import Callable, Iterable
from typing import Any

from rest_framework.response import Response

from apps.core import sql
from apps.core.api.holding import HEADER, Hold
from apps.executions.models import Execution
from apps.executions.signals import execution_changed
from apps.executions.states import TERMINAL

LONGEST_SECONDS = 60


def until_finished(response: Response, execution: Execution, seconds: int) -> Response:
    """Return the answer, to be held until the execution has ended, at the latest for ``seconds``."""
    response.headers[HEADER] = Hold(seconds=seconds, execution_id=execution.pk).text()
    return response


def unfinished_of(execution_ids: Iterable[int]) -> set[int]:
    """Return those of the executions that have not ended."""
    wanted = list(execution_ids)
    places = ", ".join(["%s"] * len(wanted))
    rows = sql.fetch(f"SELECT id, status FROM execution WHERE id IN ({places})", wanted) if wanted else []
    return {int(pk) for pk, status in rows if status not in TERMINAL}


def listen(tell: Callable[[int], object]) -> None:
    """Have this called with the id of each execution that ends in this process, after the commit."""

    def told(*, execution_id: int, status: str, **_signal: Any) -> None:
        if status in TERMINAL:
            tell(execution_id)

    execution_changed.connect(told, weak=False)
