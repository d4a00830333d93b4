"""From the body of a request to what the engine is asked (api.md 13.1, 13.9)."""

from collections.abc import Mapping
from typing import Any

from apps.actions import placement
from apps.actions.cached import current_action_of_ref
from apps.actions.models import Action
from apps.core.errors import BadRequest, Detail, NotFound, ValidationFailed
from apps.executions.api.bodies import refuse_markers, start_time
from apps.executions.errors import ExecutionNotFound, NotAWorkflow
from apps.executions.models import Execution
from apps.executions.parameters import special_of
from apps.executions.secrets import edited_config
from apps.executions.services import UNSET, ExecutionRequest, RetryChanges
from apps.identity.callers import Caller
from apps.identity.grants import require_delegation
from apps.identity.models import Identity
from apps.workers.environment_names import check_env_vars


class ActionNotFound(NotFound):
    """Action not found"""


BEYOND_OWN_ACCESS = "Cannot execute action with permission sets beyond current access"


def execution_request(caller: Caller, body: dict[str, Any], *, idempotency_key: str | None) -> ExecutionRequest:
    """
    Return the request that a body of ``/executions/execute`` makes, checked by every rule that needs no lock.

    Raises ActionNotFound, Forbidden, BadRequest, ValidationFailed.
    """
    action = current_action_of_ref(body["action_ref"])
    if action is None:
        raise ActionNotFound(f"Action '{body['action_ref']}' not found")
    caller.require("actions:execute", action)
    set_refs = body.get("permission_set_refs")
    carried = action.default_execution_permission_set_refs if set_refs is None else set_refs
    require_delegation(caller, carried, BEYOND_OWN_ACCESS)
    check_placement(body)
    limit = body.get("artifact_retention_limit")
    if limit is not None and limit <= 0:
        raise BadRequest("artifact_retention_limit must be greater than 0")
    parameters = body.get("parameters")
    refuse_markers(parameters)
    check_environment(body.get("env_vars"), parameters, action)
    executor, parent = who_runs_it(caller)
    return ExecutionRequest(
        action=action,
        parameters=parameters,
        env_vars=body.get("env_vars"),
        executor=executor,
        permission_set_refs=set_refs,
        artifact_retention_policy=body.get("artifact_retention_policy"),
        artifact_retention_limit=limit,
        worker_selector=body.get("worker_selector"),
        worker_tolerations=body.get("worker_tolerations"),
        worker_affinity=body.get("worker_affinity"),
        priority=body.get("priority"),
        not_before=start_time(body),
        expires_at=body.get("expires_at"),
        timeout_seconds=body.get("timeout_seconds"),
        parent=parent,
        idempotency_key=idempotency_key,
        validate=body["validate"],
        refuse_when_full=True,
    )


def retry_changes(caller: Caller, old: Execution, body: dict[str, Any]) -> RetryChanges:
    """Return the changes that a body of ``/retry`` asks for. Raises as ``execution_request`` does, and NotAWorkflow."""
    if body["mode"] == "failed" and old.workflow_def is None:
        raise NotAWorkflow
    set_refs = body.get("permission_set_refs")
    require_delegation(caller, old.permission_set_refs if set_refs is None else set_refs, BEYOND_OWN_ACCESS)
    check_placement(body)
    refuse_markers(edited_config(old, body.get("parameters") or {}))  # those of stored values stand for them
    check_environment(body.get("env_vars"), body.get("parameters"), old.action)
    return RetryChanges(
        **{name: UNSET if body.get(name) is None else body[name] for name in _KEPT_UNLESS_GIVEN},
        not_before=start_time(body),
        force=body["force"],
        reason=body["reason"],
    )


_KEPT_UNLESS_GIVEN = (
    "parameters",
    "env_vars",
    "permission_set_refs",
    "worker_selector",
    "worker_tolerations",
    "worker_affinity",
    "priority",
    "timeout_seconds",
)


def check_placement(body: Mapping[str, Any]) -> None:
    """Raise BadRequest for a malformed selector, toleration or affinity."""
    problems = placement.check_placement(
        body.get("worker_selector"), body.get("worker_tolerations"), body.get("worker_affinity")
    )
    if problems:
        raise BadRequest("; ".join(problems[:5]))


def check_environment(env_vars: Mapping[str, str] | None, parameters: Any, action: Action | None) -> None:
    """Raise ValidationFailed for environment variables that no request may set."""
    embedded = special_of(parameters, action.param_schema if action is not None else None, "env")
    details = [
        Detail(field=f"{field}.{name}", message=f"'{name}' {problem}")
        for field, variables in (("env_vars", env_vars or {}), ("parameters.env", embedded))
        for name, problem in check_env_vars(variables).items()
    ]
    if details:
        raise ValidationFailed(details=details)


def who_runs_it(caller: Caller) -> tuple[Identity | None, Execution | None]:
    """Return on whose behalf a new execution runs, and its parent: the execution whose token asks."""
    if caller.execution_id is None:
        return caller.identity, None
    parent = Execution.objects.select_related("executor").filter(pk=caller.execution_id).first()
    if parent is None:
        raise ExecutionNotFound(caller.execution_id)
    return parent.executor, parent
