"""What the product itself tells about executions: that one has ended, that one lost its worker (events.md 8.1)."""

import time
from typing import Any

from apps.core import clock
from apps.events.alerts import ALERT_TRIGGER, Alert, raise_alert
from apps.events.models import Event
from apps.events.rule_port import rule_port
from apps.events.services import emit
from apps.executions.models import Execution
from apps.executions.states import Status

FINISHED_TRIGGER = "core.execution_finished"
_ASKED_AGAIN_AFTER_SECONDS = 1.0  # how soon a rule that another process has made is seen


class _Audience:
    """Whether a rule listens, asked once a second at most: executions end far more often than rules change."""

    def __init__(self) -> None:
        self._listens = False
        self._ask_at = 0.0

    def listens(self) -> bool:
        now = time.monotonic()
        if now >= self._ask_at:
            self._listens = bool(rule_port.of_triggers([FINISHED_TRIGGER]))
            self._ask_at = now + _ASKED_AGAIN_AFTER_SECONDS
        return self._listens

    def forget(self) -> None:
        self._ask_at = 0.0


_audience = _Audience()


def forget_audience() -> None:
    """A rule has changed: ask anew."""
    _audience.forget()


def tell_finished(execution: Execution, *, repeated: bool) -> Event | None:
    """
    Store the event of an execution that has ended, when a rule listens.

    None for children, for all but the last attempt, and for what a rule on this very trigger started: it would go
    round without end.
    """
    if repeated or execution.parent_id is not None or execution.trigger_ref == FINISHED_TRIGGER:
        return None
    if not _audience.listens():
        return None
    return emit(FINISHED_TRIGGER, _payload(execution), correlation_id=execution.correlation_id)


def alert_lost(execution: Execution) -> Event | None:
    """Raise the alert of an execution whose worker was lost while it ran."""
    result = execution.result or {}
    if execution.trigger_ref == ALERT_TRIGGER or "execution_timeout_monitor" not in (
        result.get("abandoned_by"),
        result.get("failed_by") if "reconciled_at" in result else None,
    ):
        return None
    worker = result.get("worker") or {}
    return raise_alert(
        Alert(
            severity="error",
            category="execution",
            failure_type="worker_unavailable",
            component_type="execution",
            component_id=execution.pk,
            component_ref=execution.action_ref,
            worker_role="action",
            summary=f"Execution {execution.pk} of {execution.action_ref} lost its worker {worker.get('name')}",
            details={"status": str(execution.status), "worker": worker, "rule_ref": execution.rule_ref},
            correlation_id=f"execution:{execution.pk}:worker_unavailable",
        )
    )


def on_execution_finished(*, execution: Execution, repeated: bool, **_signal: Any) -> None:
    """Tell what there is to tell about an end."""
    if execution.status in (Status.ABANDONED, Status.FAILED):
        alert_lost(execution)
    tell_finished(execution, repeated=repeated)


def _payload(execution: Execution) -> dict[str, Any]:
    result = execution.result if isinstance(execution.result, dict) else {}
    error = result.get("error")
    return {
        "execution_id": execution.pk,
        "action_ref": execution.action_ref,
        "pack_ref": execution.pack_ref,
        "status": str(execution.status),
        "error": error if isinstance(error, str) else None,
        "exit_code": execution.exit_code,
        "duration_ms": execution.duration_ms,
        "retry_count": execution.retry_count,
        "rule_ref": execution.rule_ref,
        "trigger_ref": execution.trigger_ref,
        "correlation_id": str(execution.correlation_id),
        "started_at": clock.as_text(execution.started_at),
        "finished_at": clock.as_text(execution.finished_at),
    }
