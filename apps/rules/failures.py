"""A failed execution of a rule that wants to be told (``alert_on_failure``, events.md 8.1)."""

from apps.events.alerts import ALERT_TRIGGER, Alert, raise_alert
from apps.events.models import Event
from apps.executions.models import Execution
from apps.executions.states import Status
from apps.rules.models import Rule

_FAILURES = frozenset({Status.FAILED, Status.TIMEOUT, Status.ABANDONED})


def alert_on_failure(execution: Execution, *, repeated: bool) -> Event | None:
    """Raise the alert of a top-level execution that has failed for good, when its rule asks for one."""
    if repeated or execution.status not in _FAILURES or execution.parent_id is not None:
        return None
    if execution.rule_ref is None or execution.trigger_ref == ALERT_TRIGGER:  # alerts about alerts would never end
        return None
    if not Rule.objects.filter(ref=execution.rule_ref, alert_on_failure=True).exists():
        return None
    result = execution.result if isinstance(execution.result, dict) else {}
    error = str(result.get("error") or f"ended {execution.status}")
    return raise_alert(
        Alert(
            severity="error",
            category="execution",
            failure_type="rule_execution_failed",
            component_type="execution",
            component_id=execution.pk,
            component_ref=execution.action_ref,
            worker_role="action",
            summary=f"Execution {execution.pk} of {execution.action_ref}, started by rule {execution.rule_ref}: {error}"[
                :1000
            ],
            details={
                "status": str(execution.status),
                "rule_ref": execution.rule_ref,
                "trigger_ref": execution.trigger_ref,
                "exit_code": execution.exit_code,
            },
            correlation_id=f"execution:{execution.pk}:failed",
        )
    )
