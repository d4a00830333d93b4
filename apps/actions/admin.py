"""The console's pages of what can be run."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.actions.models import Action
from apps.actions.visibility import readable
from apps.core import markup
from apps.core.admin import MachineRows, as_json, as_text, page_button
from apps.core.parameter_text import Parameter, declared_parameters, text_of
from apps.identity.grants import narrowed

# Its page is the executions app's, which stands above this one: known here by name only.
RUN_PAGE = "admin:executions_execution_run"


def _row(parameter: Parameter) -> SafeString:
    marks = [
        parameter.kind,
        "required" if parameter.required else "",
        "secret" if parameter.secret else "",
        f"one of {', '.join(map(text_of, parameter.choices))}" if parameter.choices else "",
        f"default {text_of(parameter.default)}" if parameter.has_default and not parameter.secret else "",
    ]
    return format_html(
        '<span class="at-strong">{}</span> <span class="at-muted">{}</span> {}',
        parameter.name, ", ".join(mark for mark in marks if mark), parameter.description,
    )  # fmt: skip


@admin.register(Action)
class ActionAdmin(MachineRows):
    needs = {"view": "actions:read", "run": "actions:execute"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable(caller)))
    open_to_all = True  # filtered: whoever may execute an action sees it, too
    list_display = ("ref", "label", "of_pack", "of_runtime", "is_adhoc", "updated", "run_link")
    list_filter = ("is_adhoc", "pack", "runtime")
    list_select_related = ("pack", "runtime")
    list_defer = ("entrypoint", "param_schema", "out_schema", "description", "limits", "worker_affinity")
    ordering = ("ref",)
    search_fields = ("ref", "label", "description")
    search_help_text = "Ref, label or description"
    actions_detail = ("run", "executions", "policies")
    fieldsets = (
        (None, {"fields": ("ref", "label", "description", "of_pack", "of_runtime", "parameters", as_text("entrypoint"))}),
        ("How it runs", {"classes": ("tab",), "fields": (
            "is_adhoc", "runtime_version_constraint", "parameter_delivery", "parameter_format", "output_format",
            "timeout_seconds", "max_retries", "on_worker_lost", "max_lost_attempts", "priority", "strict_parameters",
            "limits", "semaphores",
        )}),
        ("Where it runs", {"classes": ("tab",), "fields": (
            "required_worker_runtimes", "worker_selector", "worker_tolerations",
            "worker_affinity",
        )}),
        ("Schemas", {"classes": ("tab",), "fields": (as_json("param_schema", "parameters"), as_json("out_schema", "output"))}),
        ("Rights and retention", {"classes": ("tab",), "fields": (
            as_json("default_execution_permission_set_refs", "rights of its token"), "ambient_keys",
            "accesses_mcp", "log_retention_policy", "log_retention_limit", "artifact_retention_policy",
            "artifact_retention_limit", "created", "updated",
        )}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Action]:
        rows: QuerySet[Action] = super().get_queryset(request)
        return rows.select_related("pack", "runtime")

    @admin.display(description="pack", ordering="pack_ref")
    def of_pack(self, row: Action) -> SafeString:
        return markup.row_link("packs_pack", row.pack_id, row.pack_ref)

    @admin.display(description="runtime")
    def of_runtime(self, row: Action) -> SafeString:
        return markup.row_link("workers_runtime", row.runtime_id, row.runtime)

    @admin.display(description="parameters")
    def parameters(self, row: Action) -> SafeString:
        return markup.lines(map(_row, declared_parameters(row.param_schema)))

    @admin.display(description="")
    def run_link(self, row: Action) -> SafeString:
        return markup.link(reverse(RUN_PAGE, args=[row.pk]), "Run")

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        return [name for name in super().get_list_display(request) if name != "run_link" or self.may(request, "run")]

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """The buttons of an action's page."""
        found: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]  # the theme's
        number = int(object_id) if str(object_id).isdecimal() and len(str(object_id)) < 19 else 0
        row = Action.objects.filter(pk=number).first()
        may_run = row is not None and self.may(request, "run", row)
        return [button for button in found if button.path != "run" or may_run]

    @page_button("Run", icon="play_arrow", primary=True)
    def run(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse(RUN_PAGE, args=[object_id]))

    @page_button("Executions", icon="list")
    def executions(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = Action.objects.only("ref").filter(pk=object_id).first()
        filters: dict[str, Any] = {"action_ref": row.ref} if row is not None else {}
        return HttpResponseRedirect(markup.list_of("executions_execution", **filters))

    @page_button("Policies", icon="speed")
    def policies(self, request: HttpRequest, object_id: str) -> HttpResponse:
        row = Action.objects.only("ref").filter(pk=object_id).first()
        filters: dict[str, Any] = {"action_ref": row.ref} if row is not None else {}
        return HttpResponseRedirect(markup.list_of("actions_policy", **filters))
