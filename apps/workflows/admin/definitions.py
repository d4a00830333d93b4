"""Workflow definitions: the list, and the page of one with its graph."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from apps.actions.admin import RUN_PAGE
from apps.actions.visibility import visible_to as visible_actions
from apps.core import markup
from apps.core.admin import as_time
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.identity.grants import narrowed
from apps.workflows import services
from apps.workflows.checks import checked
from apps.workflows.companions import companion_of
from apps.workflows.definition.parsing import parse
from apps.workflows.definition.problems import InvalidDefinition
from apps.workflows.definition.source import UnreadableSource, entries, read_source
from apps.workflows.definition.writing import in_usual_order, yaml_text
from apps.workflows.models import WorkflowDefinition
from apps.workflows.picture import picture_of
from apps.workflows.visibility import readable


def _delete(workflow: WorkflowDefinition, _request: HttpRequest) -> bool:
    services.delete_workflow(workflow.pk)
    return True


@admin.register(WorkflowDefinition)
class WorkflowDefinitionAdmin(RowsWithVerbs):
    needs = {"view": "actions:read", "remove": "actions:delete", "run": "actions:execute"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable(caller)))
    open_to_all = True  # filtered: whoever may execute a workflow sees it, too
    verbs = {
        "remove": RowVerb(
            label="Delete",
            done="is deleted",
            asks="Its action goes with it, and rules that run it stop firing. What is running goes on.",
            danger=True,
            call=_delete,
        )
    }
    page_template = "admin/workflows/definition/page.html"
    list_display = ("ref", "label", "version", "of_pack", "made_by", "runs_link", as_time("updated"))
    list_filter = ("pack", "is_adhoc")
    list_select_related = ("pack",)
    list_defer = ("definition", "param_schema", "out_schema", "description")
    ordering = ("ref",)
    sortable_by = ("ref",)
    search_fields = ("ref", "label", "description")
    search_help_text = "Ref, label or description"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # definitions are written in files, or sent by programs

    def has_delete_permission(self, request: HttpRequest, obj: WorkflowDefinition | None = None) -> bool:
        return False  # by the verb, which takes the action along

    @admin.display(description="pack", ordering="pack_ref")
    def of_pack(self, row: WorkflowDefinition) -> SafeString:
        return markup.row_link("packs_pack", row.pack_id, row.pack_ref)

    @admin.display(description="defined by")
    def made_by(self, row: WorkflowDefinition) -> str:
        return row.source_file or "the API"

    @admin.display(description="")
    def runs_link(self, row: WorkflowDefinition) -> SafeString:
        return markup.link(_runs(row), "Runs")

    # --- The page -----------------------------------------------------------------------------------------------

    def find(self, pk: int) -> WorkflowDefinition | None:
        return WorkflowDefinition.objects.select_related("pack").filter(pk=pk).first()

    def page_context(self, row: WorkflowDefinition, caller: Any) -> dict[str, Any]:
        action = companion_of(row)
        may_run = action is not None and caller.allows(self.needs["run"], action)
        text = yaml_text(in_usual_order(row.definition))
        return {
            "runs": _runs(row),
            "run_url": reverse(RUN_PAGE, args=[action.pk]) if action is not None and may_run else None,
            "warnings": _warnings(row, text, caller),
            "definition": markup.code_block(text),
            "parameters": markup.json_block(row.param_schema) if row.param_schema else "",
            "output": markup.json_block(row.out_schema) if row.out_schema else "",
            "facts": [
                ("Action", markup.row_link("actions_action", action.pk, action.ref) if action else markup.EMPTY),
                ("Pack", markup.row_link("packs_pack", row.pack_id, row.pack_ref)),
                ("Version", row.version),
                ("Defined by", row.source_file or "the API"),
                ("Tags", markup.commas(row.tags)),
                ("Created", markup.when(row.created)),
                ("Updated", markup.when(row.updated)),
            ],
            **_graph(row),
        }

    def after_verb(self, name: str, pk: int) -> str:
        return self.address("changelist")


def _runs(row: WorkflowDefinition) -> str:
    return markup.list_of("executions_execution", action_ref=row.ref)


def _graph(row: WorkflowDefinition) -> dict[str, Any]:
    try:
        graph = parse(row.definition)
    except InvalidDefinition as error:
        return {"picture": None, "unusable": f"It cannot be run: {error}"}
    return {"picture": picture_of(graph), "unusable": "", "task_count": len(graph.tasks)}


def _warnings(row: WorkflowDefinition, text: str, caller: Any) -> list[Any]:
    """Return what is doubtful about a definition, with the lines of the text on the page."""
    found = checked(row.definition, among=visible_actions(caller))
    try:
        source = read_source(text)
    except UnreadableSource:
        source = None
    return entries(found.problems, source)
