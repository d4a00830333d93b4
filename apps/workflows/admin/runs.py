"""Runs of workflows: the list; the page of one is that of its execution, to which a section is added."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import CreatedFilter, MachineRows, as_badge, linked_filter
from apps.executions.admin import sections
from apps.executions.models import Execution
from apps.executions.visibility import readable
from apps.identity.grants import narrowed, under
from apps.workflows.admin.runs_graph import EXECUTIONS
from apps.workflows.admin.runs_section import section_of_run
from apps.workflows.models import WorkflowExecution

sections.register(section_of_run)


@admin.register(WorkflowExecution)
class WorkflowExecutionAdmin(MachineRows):
    needs = {"view": "executions:read"}
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, under("execution", Execution.objects.all(), readable(caller)))
    )
    open_to_all = True  # filtered: one's own everybody sees
    list_display = ("name", as_badge("status"), "ran", "of_parent", "error", "created")
    list_display_links = None  # the first column holds the links
    list_filter = ("status", CreatedFilter, linked_filter("workflow_def", "workflow"))
    list_select_related = ("execution",)
    list_defer = ("task_graph", "variables", "execution__config", "execution__env_vars", "execution__result")
    ordering = ("-id",)
    search_fields = ("execution__action_ref",)
    search_help_text = "Ref of the workflow"

    @admin.display(description="Run")
    def name(self, run: WorkflowExecution) -> SafeString:
        return format_html(
            '<a class="at-strong" href="{}">{}</a> <span class="at-muted at-number">#{}</span>',
            markup.page_of(EXECUTIONS, run.execution_id), run.execution.action_ref, run.execution_id,
        )  # fmt: skip

    @admin.display(description="Ran for")
    def ran(self, run: WorkflowExecution) -> str:
        execution = run.execution
        begun = execution.started_at or run.created
        return markup.seconds_text(((execution.finished_at or timezone.now()) - begun).total_seconds())

    @admin.display(description="Part of")
    def of_parent(self, run: WorkflowExecution) -> SafeString:
        parent = run.execution.parent_id
        return markup.row_link(EXECUTIONS, parent, parent and f"#{parent}")

    @admin.display(description="Error")
    def error(self, run: WorkflowExecution) -> SafeString:
        return markup.cut(run.error_message, 80)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Refs as they are, by their index."""
        term = search_term.strip()
        return (queryset.filter(execution__action_ref=term) if term else queryset), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"title": "Workflow runs", **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A run is shown on the page of its execution."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        run = self.get_object(request, object_id)
        if run is None or not self.has_view_permission(request, run):
            return self.gone(request, object_id)
        return HttpResponseRedirect(str(markup.page_of(EXECUTIONS, run.execution_id)))
