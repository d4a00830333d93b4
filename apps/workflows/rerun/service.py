"""Ask for a rerun of a workflow that has ended (workflows.md section 13, api.md 13.9)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction

from apps.core.errors import UnprocessableEntity, ValidationFailed
from apps.executions import trees
from apps.executions.changes import RetryChanges, retry_execution
from apps.executions.errors import ActionGone, AlreadyFinished, ExecutionNotFound, NotAWorkflow
from apps.executions.models import Execution
from apps.executions.parameters import declared_names
from apps.executions.requests import check_parameters
from apps.executions.secrets import edited_config
from apps.executions.states import TERMINAL, Status
from apps.identity.models import Identity
from apps.workflows.definition.graph import Graph
from apps.workflows.engine.runs import read_snapshot, run_of, task_graph_of
from apps.workflows.models import WorkflowDefinition, WorkflowExecution, WorkflowTask
from apps.workflows.rerun.plan import Before, CannotRerun, OldRun, Plan, Wish, plan_rerun
from apps.workflows.rerun.stored import keep

LOOP_LIMIT = "Loop limit reached: "  # how the error of such a run begins


class NothingToRerun(UnprocessableEntity):
    """Nothing to rerun"""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """
    What somebody wants to run again. ``inputs``: by task, what is put over its rendered input. ``parameters``: what is
    put over the old parameters. ``verb``: what the caller calls it.
    """

    wish: Wish = field(default_factory=Wish)
    parameters: Mapping[str, Any] | None = None
    inputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    use_current_definition: bool = False
    verb: str = "rerun"


@transaction.atomic
def rerun_execution(
    execution_id: int, *, by: Identity, choice: Choice, changes: RetryChanges | None = None
) -> Execution:
    """
    Make a new execution of a workflow that runs some tasks again and takes over the others; return it.

    Raises ExecutionNotFound, NotAWorkflow, AlreadyFinished (not ended; for a retry: completed without ``force``),
    ActionGone, NothingToRerun, ValidationFailed.
    """
    changes = changes or RetryChanges(force=True)
    old = trees.locked(execution_id)
    _refuse_unless_ended_workflow(execution_id, old, choice, changes)
    assert old is not None, "it was looked at"
    run = run_of(old.pk)
    task_graph = _task_graph(old, run.id if run is not None else None, choice)
    graph = read_snapshot(task_graph).graph
    plan = _planned(graph, run.id if run is not None else None, choice.wish)
    _check_inputs(graph, plan, choice.inputs)
    if choice.parameters is not None:
        changes = replace(changes, parameters=_checked(old, merged_config(old, choice.parameters)))
    attempt = retry_execution(old.pk, by=by, changes=replace(changes, force=True))
    keep(attempt, source=run.id if run is not None else None, task_graph=task_graph, plan=plan, inputs=choice.inputs)
    return attempt


def _refuse_unless_ended_workflow(
    execution_id: int, old: Execution | None, choice: Choice, changes: RetryChanges
) -> None:
    if old is None:
        raise ExecutionNotFound(execution_id)
    if old.workflow_def is None:
        raise NotAWorkflow(f"Execution {execution_id} is no workflow")
    if old.status not in TERMINAL or (old.status == Status.COMPLETED and not changes.force):
        raise AlreadyFinished(execution_id, old.status, verb=choice.verb)
    if old.action is None:
        raise _action_gone(old)


def _action_gone(old: Execution) -> ActionGone:
    return ActionGone(f"The action '{old.action_ref}' of execution {old.pk} no longer exists")


def _task_graph(old: Execution, run_id: int | None, choice: Choice) -> Any:
    """Return what the new run goes by; one that had not begun has no snapshot."""
    if run_id is not None and not choice.use_current_definition:
        return WorkflowExecution.objects.values_list("task_graph", flat=True).get(pk=run_id)
    definition = WorkflowDefinition.objects.filter(pk=old.workflow_def or 0).first()
    if definition is None:
        raise _action_gone(old)
    return task_graph_of(definition)


def _planned(graph: Graph, run_id: int | None, wish: Wish) -> Plan:
    before = Before(graph=graph)
    if run_id is not None:
        stored = WorkflowExecution.objects.only("task_graph", "error_message").get(pk=run_id)
        rows = WorkflowTask.objects.filter(workflow_execution=run_id).order_by("pk")
        before = Before(
            graph=read_snapshot(stored.task_graph).graph,
            runs=[_old_run(row) for row in rows],
            at_loop_limit=(stored.error_message or "").startswith(LOOP_LIMIT),
        )
    try:
        return plan_rerun(graph, before, wish)
    except CannotRerun as error:
        raise NothingToRerun(str(error)) from error


def _old_run(row: WorkflowTask) -> OldRun:
    return OldRun(
        name=row.name,
        iteration=row.iteration,
        status=row.status,
        outcome=row.outcome,
        triggered_by=row.triggered_by,
        triggered_iteration=row.triggered_iteration,
        block=row.block,
        item_count=row.item_count,
        judged=len(row.transitions),
        fired=tuple(entry["index"] for entry in row.transitions if entry["fired"]),
    )


def _check_inputs(graph: Graph, plan: Plan, inputs: Mapping[str, Mapping[str, Any]]) -> None:
    problems: list[tuple[str, str]] = []
    for name in inputs:
        if name not in graph.tasks:
            problems.append((name, f"The workflow has no task '{name}'"))
        elif graph.tasks[name].type == "parallel":
            problems.append((name, f"Task '{name}' is a parallel block and has no input"))
        elif name not in plan.again:
            problems.append((name, f"Task '{name}' is not run again"))
    _refuse(problems)


def _refuse(problems: Sequence[tuple[str, str]]) -> None:
    if problems:
        raise ValidationFailed(
            problems[0][1], details=[{"field": f"inputs.{name}", "message": text} for name, text in problems]
        )


def merged_config(old: Execution, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the old config with these parameters over its own; markers stand for the stored secrets at their places."""
    schema = old.action.param_schema if old.action is not None else None
    config = old.config if isinstance(old.config, Mapping) else {}
    nested = config.get("parameters")
    if isinstance(nested, Mapping) and "parameters" not in declared_names(schema):
        return {**config, "parameters": {**nested, **parameters}}
    return {**config, **parameters}


def _checked(old: Execution, config: Mapping[str, Any]) -> Mapping[str, Any]:
    if old.action is not None and old.action.strict_parameters:
        check_parameters(old.action, edited_config(old, config))
    return config
