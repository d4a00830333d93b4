"""Workflows for tests: written as definitions, run as executions."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from apps.actions.models import Action
from apps.executions.models import Execution
from apps.executions.requests import ExecutionRequest, request_execution
from apps.packs.models import Pack
from apps.workflows.engine.runs import task_graph_of
from apps.workflows.models import WorkflowDefinition, WorkflowExecution
from tests.factories import make_action, make_execution, make_pack
from tests.processes import wait_until

_number = itertools.count(1)


def make_workflow(tasks: Sequence[Mapping[str, Any]], *, pack: Pack | None = None, **definition: Any) -> Action:
    """A workflow with its companion action, which is returned; ``param_schema`` as keyword."""
    pack = pack or make_pack()
    ref = definition.pop("ref", f"{pack.ref}.workflow{next(_number)}")
    schemas = {name: definition.pop(name, None) for name in ("param_schema", "out_schema")}
    stored = WorkflowDefinition.objects.create(
        ref=ref,
        pack=pack,
        pack_ref=pack.ref,
        label=ref,
        version="1.0.0",
        definition={"tasks": [dict(task) for task in tasks], **definition},
        **schemas,
    )
    return make_action(
        pack=pack, ref=ref, entrypoint="workflow", runtime=None, workflow_def=stored.pk, is_adhoc=False, **schemas
    )


def start_workflow(action: Action, **parameters: Any) -> Execution:
    return request_execution(ExecutionRequest(action=action, parameters=parameters or None))


def ended_run(action: Action) -> Execution:
    """An execution of a workflow that has run, as a row without children."""
    definition = WorkflowDefinition.objects.get(pk=action.workflow_def)
    execution = make_execution(action=action, status="completed", workflow_def=definition.pk)
    WorkflowExecution.objects.create(
        execution=execution, workflow_def=definition, task_graph=task_graph_of(definition), status="completed"
    )
    return execution


def finished(execution: Execution, *, timeout_seconds: float = 60.0) -> Execution:
    """Wait for the end of an execution that others run; return it as it is then."""

    def ended() -> bool:
        execution.refresh_from_db()
        return execution.is_finished

    wait_until(ended, timeout_seconds=timeout_seconds, what=f"the end of {execution}")
    return execution


def children_of(execution: Execution) -> list[Execution]:
    """The direct children of an execution, oldest first."""
    return list(Execution.objects.filter(parent=execution.pk).order_by("pk"))


def tasks_of(execution: Execution) -> dict[str, str]:
    """The status of each task of a run by its name, with its iteration when it has one."""
    run = WorkflowExecution.objects.get(execution=execution.pk)
    return {str(task): task.status for task in run.tasks.order_by("pk")}
