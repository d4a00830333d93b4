"""
The executions of ``core.ask`` behind inquiries: how they end.

Every function is called under a lock on the root of the execution's tree and on its row (``executions.trees``).
"""

from datetime import timedelta
from typing import Any

from apps.core import clock
from apps.executions.dispatch import dispatch_on_commit
from apps.executions.engines import ASK_REF
from apps.executions.models import Execution
from apps.executions.retries import is_repeated, repeat_after_end
from apps.executions.states import Status
from apps.executions.transitions import Step, transition
from apps.inquiries.models import Inquiry

TIMED_OUT = "inquiry timed out"
CANCELLED = "Inquiry cancelled"


def is_asking(execution: Execution) -> bool:
    """Whether the execution waits for its inquiry; any other one an inquiry leaves alone."""
    return execution.action_ref == ASK_REF and execution.status == Status.RUNNING


def complete(execution: Execution, inquiry: Inquiry, *, actor: str) -> None:
    """End it with the answer that the inquiry has by now."""
    result = {
        "response": inquiry.response,
        "__inquiry_id": inquiry.pk,
        "responded_by": inquiry.responded_by_id,
        "responded_at": clock.as_text(inquiry.responded_at),
        "succeeded": True,
    }
    end(execution, Status.COMPLETED, result, actor=actor)


def time_out(execution: Execution, inquiry: Inquiry, *, actor: str) -> None:
    """End it as its deadline has passed."""
    result = {"error": TIMED_OUT, "__inquiry_id": inquiry.pk, "succeeded": False}
    task = execution.workflow_task
    timed_out: dict[str, Any] = {} if task is None else {"workflow_task": {**task, "timed_out": True}}
    end(execution, Status.TIMEOUT, result, actor=actor, **timed_out)


def cancel(execution: Execution, *, actor: str, reason: str | None = None) -> None:
    """End it without an answer."""
    result = {"error": CANCELLED, "succeeded": False, "cancelled": True}
    end(execution, Status.CANCELLED, result, actor=actor, reason=reason)


def fail(execution: Execution, error: str) -> None:
    """End it because nothing can be asked."""
    end(execution, Status.FAILED, {"error": error, "succeeded": False}, actor="inquiry")


def end(
    execution: Execution,
    target: Status,
    result: dict[str, Any],
    *,
    actor: str,
    reason: str | None = None,
    **columns: Any,
) -> None:
    step = Step(source=Status(execution.status), target=target, actor=actor, reason=reason)
    ran = clock.now() - execution.started_at if execution.started_at is not None else timedelta(0)
    ended = transition(
        execution,
        step,
        repeated=is_repeated(execution, target),
        result=result,
        succeeded=target == Status.COMPLETED,
        duration_ms=max(0, int(ran.total_seconds() * 1000)),
        **columns,
    )
    assert ended, "its row is locked"
    repeat_after_end(execution)
    dispatch_on_commit()
