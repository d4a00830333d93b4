"""A dry run of a stored workflow: what it would be given, and what it comes to."""

from collections.abc import Mapping
from typing import Any

from apps.actions.models import Action
from apps.core import clock
from apps.core.markers import marked
from apps.core.schemas import fill_defaults, secret_paths
from apps.packs.secrets import shown_config
from apps.workflows.definition.parsing import parse
from apps.workflows.engine.dry_run import dry_run
from apps.workflows.engine.memory import Surroundings
from apps.workflows.models import WorkflowDefinition


def dry_run_of(
    workflow: WorkflowDefinition, parameters: Mapping[str, Any], results: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a workflow comes to with these parameters and results of its tasks."""
    graph = parse(workflow.definition)
    filled = fill_defaults(workflow.param_schema, parameters)
    shown = marked(filled, secret_paths(workflow.param_schema, filled) if workflow.param_schema else ())[0]
    refs = {task.action for task in graph.tasks.values() if task.action}
    now = clock.as_text(clock.now())
    system = {
        "workflow_start": now,
        "timestamp": now,
        "execution_id": None,
        "workflow_ref": workflow.ref,
        "rule_ref": None,
        "trigger_ref": None,
    }
    config = shown_config(workflow.pack)
    schemas = Action.objects.filter(ref__in=refs).values_list("ref", "param_schema", "out_schema")
    of_parameters, of_results = {}, {}
    for ref, param_schema, out_schema in schemas:
        of_parameters[ref], of_results[ref] = param_schema, out_schema
    surroundings = Surroundings(
        parameters=filled,
        shown=shown,
        config=config if isinstance(config, dict) else {},
        system=system,
        schemas=of_parameters,
        out_schemas=of_results,
        out_schema=workflow.out_schema,
    )
    return dry_run(graph, surroundings, results)
