"""Ask for an execution: store it, put it in line, and let dispatch know once that is committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from apps.actions.models import Action
from apps.actions.policies.applying import current_policies
from apps.core import clock, sql
from apps.core.errors import ValidationFailed
from apps.core.schemas import fill_defaults, violations
from apps.executions.admission import Full, full_line, places_in
from apps.executions.alarm import alarm_on_commit
from apps.executions.audited import executed
from apps.executions.demands import demand_id, requirements_of
from apps.executions.dispatch import dispatch_on_commit, end_by_policy
from apps.executions.errors import LineFull, ParentFinished
from apps.executions.models import Execution
from apps.executions.parameters import left_out_text, parameters_of
from apps.executions.secrets import keep_parameters, without_secrets
from apps.executions.states import TERMINAL, Status
from apps.executions.transitions import Step, announce, record_all_created, record_change, record_created, transition
from apps.identity.models import SYSTEM_LOGIN, Identity

DEEPEST = 50  # levels of executions below a root (model.md 4.6)


@dataclass(frozen=True, kw_only=True)
class ExecutionRequest:
    """
    One run of an action that somebody asks for; None means "as the action says".

    ``executor`` None is the built-in identity ``system``. Times are aware. ``validate`` checks the parameters against
    the action's schema; an action with ``strict_parameters`` is always checked. ``held``: not dispatched before
    ``release``; ``workflow_task`` as in model.md 4.6. ``refuse_when_full``: raise LineFull where a policy lets no more
    wait; otherwise the execution is stored as cancelled.
    """

    action: Action
    parameters: Mapping[str, Any] | None = None
    env_vars: Mapping[str, str] | None = None
    executor: Identity | None = None
    permission_set_refs: Sequence[str] | None = None
    artifact_retention_policy: str | None = None
    artifact_retention_limit: int | None = None
    worker_selector: Mapping[str, Any] | None = None
    worker_tolerations: Sequence[Any] | None = None
    worker_affinity: Mapping[str, Any] | None = None
    priority: int | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    timeout_seconds: int | None = None
    parent: Execution | None = None
    enforcement: int | None = None
    rule_ref: str | None = None
    trigger_ref: str | None = None
    correlation_id: UUID | None = None
    idempotency_key: str | None = None
    validate: bool = False
    workflow_task: Mapping[str, Any] | None = None
    held: bool = False
    max_retries: int | None = None
    refuse_when_full: bool = False


def request_execution(request: ExecutionRequest) -> Execution:
    """
    Store a new execution and have it dispatched once this transaction commits.

    Raises ValidationFailed when the parameters are checked and violate the schema, ParentFinished when the parent
    is canceling or has ended, LineFull when it is to be refused where a policy lets no more wait.
    """
    if request.validate or request.action.strict_parameters:
        check_parameters(request.action, request.parameters)
    return _store_request(request)


@transaction.atomic(savepoint=False)  # nobody goes on with a transaction in which this has failed
def _store_request(request: ExecutionRequest) -> Execution:
    execution = _filled_in(request, _lock_parent(request.parent))
    actor = f"identity:{execution.executor_id}"
    stored = store(execution, action=request.action, actor=actor, refuse_when_full=request.refuse_when_full)
    executed("requested", stored, by=request.executor, rule_ref=request.rule_ref, trigger_ref=request.trigger_ref)
    return stored


def _filled_in(request: ExecutionRequest, parent: Execution | None) -> Execution:
    action = request.action
    execution = Execution(
        action=action,
        action_ref=action.ref,
        pack_ref=action.pack_ref,
        config=dict(request.parameters) if request.parameters else None,
        env_vars=dict(request.env_vars) if request.env_vars else None,
        parent=parent,
        root=(parent.root or parent.pk) if parent is not None else None,
        depth=parent.depth + 1 if parent is not None else 0,
        executor_id=request.executor.pk if request.executor is not None else system_identity_id(),
        permission_set_refs=list(
            action.default_execution_permission_set_refs
            if request.permission_set_refs is None
            else request.permission_set_refs
        ),
        artifact_retention_policy=request.artifact_retention_policy,
        artifact_retention_limit=request.artifact_retention_limit,
        worker_selector=request.worker_selector,
        worker_tolerations=request.worker_tolerations,
        worker_affinity=request.worker_affinity,
        priority=_priority(request, parent),
        not_before=request.not_before,
        expires_at=request.expires_at,
        timeout_seconds=request.timeout_seconds or action.timeout_seconds,
        max_retries=action.max_retries if request.max_retries is None else request.max_retries,
        on_worker_lost=action.on_worker_lost,
        max_lost_attempts=action.max_lost_attempts,
        limits=action.limits,
        enforcement=request.enforcement,
        rule_ref=request.rule_ref,
        trigger_ref=request.trigger_ref,
        idempotency_key=request.idempotency_key,
        workflow_def=action.workflow_def,
        workflow_task=dict(request.workflow_task) if request.workflow_task is not None else None,
        held=request.held,
    )
    correlation_id = request.correlation_id or (parent.correlation_id if parent is not None else None)
    if correlation_id is not None:
        execution.correlation_id = correlation_id
    return execution


def request_children(parent: Execution, requests: Sequence[ExecutionRequest]) -> list[Execution]:
    """
    Store the children of one task of a workflow, all of one action, in order; call under a lock on the tree's root.

    Unlike other requests they are no business of the audit trail each: it knows the workflow that was asked for.
    """
    executions = [(request.action, _filled_in(request, parent)) for request in requests]
    waiting = [pair for pair in executions if pair[1].held and pair[1].depth <= DEEPEST]
    for action, execution in executions:
        if not execution.held or execution.depth > DEEPEST:
            store(execution, action=action, actor="workflow")
    _store_held(waiting, actor="workflow")
    return [execution for _action, execution in executions]


def _store_held(executions: Sequence[tuple[Action, Execution]], *, actor: str) -> None:
    """Write new executions that are held back, thousands as well as one: neither policies nor dispatch look at them yet."""
    kept = []
    for action, execution in executions:
        execution.config, secrets = without_secrets(execution.config, action.param_schema)
        kept.append(secrets)
    rows = [_row(execution) for _action, execution in executions]
    given = sql.insert_many_returning(Execution, rows, _GIVEN_BACK)
    for (_action, execution), values, secrets in zip(executions, given, kept, strict=True):
        _take_over(execution, values)
        if secrets:
            keep_parameters(execution, secrets)
    record_all_created(
        [
            (execution, left_out_text(execution.config, execution.env_vars, action.param_schema))
            for action, execution in executions
        ],
        actor=actor,
    )
    for _action, execution in executions:
        announce(execution, Status.REQUESTED)


def release(execution: Execution, *, actor: str) -> bool:
    """Let a held execution go; False when it is not waiting any more. Call under a lock on the tree's root."""
    demand = demand_id(requirements_of(execution.action, execution))
    values = {"held": False, "demand": demand, "updated": clock.now()}
    if not sql.update(Execution, values, "id = %s AND status = 'requested' AND held", [execution.pk]):
        return False
    execution.held, execution.demand_id = False, demand
    record_change(execution, old={"held": True}, new={"held": False}, actor=actor)
    dispatch_on_commit()
    return True


def store(
    execution: Execution,
    *,
    action: Action | None,
    actor: str,
    reason: str | None = None,
    refuse_when_full: bool = False,
) -> Execution:
    """
    Write a new execution that is filled in, with its first history row, and put it in line when its time is now.

    Its config holds the real values of secret parameters; what is written has markers in their places. Where a policy
    lets no more wait it is cancelled at once; with ``refuse_when_full`` nothing is written and LineFull raised.
    """
    full: Full | None = None
    wait_seconds = (execution.not_before - clock.now()).total_seconds() if execution.not_before is not None else 0.0
    if wait_seconds > 0:
        alarm_on_commit(wait_seconds)
    elif not execution.held:
        requirements = requirements_of(action, execution, config=execution.config)
        execution.demand_id = demand_id(requirements)
        full = _full_line(requirements, execution, refuse=refuse_when_full) if "policies" in requirements else None
    execution.config, secrets = without_secrets(execution.config, action.param_schema if action is not None else None)
    _insert(execution)
    if secrets:
        keep_parameters(execution, secrets)
    left_out = left_out_text(execution.config, execution.env_vars, action.param_schema if action is not None else None)
    record_created(execution, actor=actor, reason="; ".join(filter(None, (reason, left_out))) or None)
    announce(execution, Status.REQUESTED)
    if execution.depth > DEEPEST:
        _too_deep(execution)
    elif full is not None:
        end_by_policy(execution, full.message)
    else:
        dispatch_on_commit()
    return execution


def _full_line(requirements: Mapping[str, Any], execution: Execution, *, refuse: bool) -> Full | None:
    """Return the policy that lets no more wait; new attempts and tasks of a workflow are asked, too."""
    # Tasks of workflows come in numbers and any order: two workflows must not wait for each other's groups.
    exact = execution.workflow_task is None
    full = full_line(places_in(dict(requirements), current_policies()), exact=exact)
    if full is not None and refuse:
        raise LineFull(f"{full.message}; action '{execution.action_ref}' takes no more now")
    return full


_GIVEN_BACK = ("id", "created", "updated", "correlation_id")
_ATTRIBUTES = {str(f.column): f.attname for f in Execution._meta.concrete_fields if f.column not in _GIVEN_BACK}


def _insert(execution: Execution) -> None:
    """Write the row, and take over what the database gave it."""
    _take_over(execution, sql.insert_returning(Execution, _row(execution), _GIVEN_BACK))


def _row(execution: Execution) -> dict[str, Any]:
    row = {column: getattr(execution, attribute) for column, attribute in _ATTRIBUTES.items()}
    if isinstance(execution.correlation_id, UUID):
        row["correlation_id"] = execution.correlation_id
    return row


def _take_over(execution: Execution, given: tuple[Any, ...]) -> None:
    execution.pk, execution.created, execution.updated, execution.correlation_id = given
    execution._state.adding, execution._state.db = False, connection.alias


def check_parameters(action: Action, parameters: Mapping[str, Any] | None) -> None:
    """Raise ValidationFailed with every violation of the action's schema, defaults filled in first."""
    filled = fill_defaults(action.param_schema, parameters_of(dict(parameters or {}), action.param_schema))
    problems = violations(action.param_schema, filled)
    if problems:
        raise ValidationFailed(
            f"Invalid parameters for action '{action.ref}': {'; '.join(problem.message for problem in problems)}",
            details=[{"field": f"parameters.{problem.field}", "message": problem.message} for problem in problems],
        )


_system_id: int | None = None


def system_identity_id() -> int:
    """Return the id of the built-in identity, the executor of what no person stands behind."""
    global _system_id
    if _system_id is None:
        _system_id = Identity.objects.values_list("pk", flat=True).get(login=SYSTEM_LOGIN)
    return _system_id


def _lock_parent(parent: Execution | None) -> Execution | None:
    """A cancel of the parent holds the same lock, so it either sees this child or this child is refused."""
    if parent is None:
        return None
    locked = Execution.objects.select_for_update(no_key=True).filter(pk=parent.pk).first()
    if locked is None or locked.status in TERMINAL or locked.status == Status.CANCELING:
        status = locked.status if locked is not None else "gone"
        raise ParentFinished(f"Execution {parent.pk} is in status '{status}' and gets no more children")
    return locked


def _priority(request: ExecutionRequest, parent: Execution | None) -> int:
    if request.priority is not None:
        return request.priority
    return parent.priority if parent is not None else request.action.priority


def _too_deep(execution: Execution) -> None:
    text = f"Executions are nested deeper than {DEEPEST} levels"
    transition(
        execution,
        Step(source=Status.REQUESTED, target=Status.FAILED, actor="dispatch", reason=text),
        result={"error": text, "succeeded": False},
        succeeded=False,
        demand=None,
    )
