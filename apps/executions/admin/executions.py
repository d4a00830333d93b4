"""The list of executions, the page of one, and the verbs on both."""

import uuid
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.actions.models import Action
from apps.actions.visibility import visible_to as actions_seen
from apps.core import markup
from apps.core.admin import SHOWN_CHOICES, CreatedFilter, MachineRows, as_badge, linked_filter
from apps.core.errors import Forbidden
from apps.executions.admin.page import MODEL, execution_page
from apps.executions.admin.run import RunForm, run_action
from apps.executions.admin.verbs import VERBS
from apps.executions.api.requests import BEYOND_OWN_ACCESS
from apps.executions.models import Execution
from apps.executions.visibility import is_own, readable
from apps.identity.grants import Facts, narrowed, require_delegation
from apps.identity.sessions import person_of
from apps.packs.models import Pack
from apps.packs.visibility import visible_to as packs_seen

_EXECUTING = ("retry", "rerun")  # verbs that take what running the action takes
MATCHED_ACTIONS = 50  # a search for a word that more actions contain is too wide to be of use


class PackFilter(admin.SimpleListFilter):
    title = "pack"
    parameter_name = "pack_ref"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        packs = packs_seen(model_admin.caller(request))
        return [(ref, ref) for ref in packs.values_list("ref", flat=True)[:SHOWN_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Execution]) -> QuerySet[Execution]:
        ref = (self.value() or "").replace("\x00", "\ufffd")  # which no text of a database holds
        return queryset.filter(pack_ref=ref) if ref else queryset


@admin.register(Execution)
class ExecutionAdmin(MachineRows):
    needs = {
        "view": "executions:read", "cancel": "executions:cancel", "force-close": "executions:update", "retry": "actions:execute",
        "rerun": "actions:execute",
        "pin": "executions:update", "unpin": "executions:update",
    }  # fmt: skip
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable(caller)))
    open_to_all = True  # filtered: one's own everybody sees
    list_display = ("name", as_badge("status"), "asked_by", "on_worker", "created", "duration", "exit")
    list_display_links = None  # the first column holds the links
    list_filter = (
        "status",
        CreatedFilter,
        PackFilter,
        "worker",
        linked_filter("action_ref", "action"),
        linked_filter("executor", "identity"),
        linked_filter("parent", "parent"),
        linked_filter("correlation_id", "correlation"),
    )
    list_select_related = ("worker", "executor")
    list_defer = ("config", "env_vars", "result", "limits", "workflow_task")
    ordering = ("-created", "-id")
    search_fields = ("id",)  # how it searches stands below
    search_help_text = "Id, action ref, or a part of it"
    actions = ("cancel_selected", "force_close_selected", "retry_selected")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Execution], search_term: str
    ) -> tuple[QuerySet[Execution], bool]:
        """Look things up by their indexes: a row's text is never scanned."""
        term = search_term.strip().removeprefix("#")
        if not term:
            return queryset, False
        if term.isdecimal():
            return queryset.filter(pk=term) if len(term) < 19 else queryset.none(), False
        try:
            return queryset.filter(correlation_id=uuid.UUID(term)), False
        except ValueError:
            pass  # no UUID
        if Pack.objects.filter(ref=term).exists():
            return queryset.filter(pack_ref=term), False
        known = Action.objects.filter(ref__icontains=term).order_by("ref").values_list("ref", flat=True)
        refs = list(known[:MATCHED_ACTIONS])
        # One ref alone comes newest first from its index; several have to be sorted.
        return queryset.filter(action_ref__in=refs) if refs and term not in refs else queryset.filter(
            action_ref=term
        ), False

    @admin.display(description="Execution")
    def name(self, execution: Execution) -> SafeString:
        return format_html(
            '<a class="at-strong" href="{}">{}</a> <span class="at-muted at-number">#{}</span>',
            markup.page_of(MODEL, execution.pk), execution.action_ref, execution.pk,
        )  # fmt: skip

    @admin.display(description="Asked for by")
    def asked_by(self, execution: Execution) -> SafeString:
        return markup.row_link("identity_identity", execution.executor_id, execution.executor)

    @admin.display(description="Worker")
    def on_worker(self, execution: Execution) -> SafeString:
        return markup.row_link("workers_worker", execution.worker_id, execution.worker)

    @admin.display(description="Ran for")
    def duration(self, execution: Execution) -> SafeString:
        if execution.duration_ms is None and execution.started_at and not execution.is_finished:
            running = (timezone.now() - execution.started_at).total_seconds()
            return format_html('<span class="at-muted at-number">{} so far</span>', markup.seconds_text(running))
        return markup.milliseconds(execution.duration_ms)

    @admin.display(description="Exit")
    def exit(self, execution: Execution) -> SafeString:
        return markup.EMPTY if execution.exit_code is None else format_html("{}", execution.exit_code)

    def may(self, request: HttpRequest, what: str, row: Execution | None = None) -> bool:
        """One's own are cancelled without a grant; running one again takes what running its action takes."""
        if what == "cancel" and (row is None or is_own(self.caller(request), row)):
            return self.may_enter(request)
        return super().may(request, what, action_facts(row) if what in _EXECUTING and row is not None else row)

    # --- Pages of our own ---------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        protect = self.admin_site.admin_view
        verbs = [
            path(f"<int:execution_id>/{name}/", protect(partial(self.verb_view, name=name)), name=f"{MODEL}_{name}")
            for name in VERBS
        ]
        return [
            path("run/<int:action_id>/", protect(self.run_view), name=f"{MODEL}_run"),
            path("<int:execution_id>/live/", protect(self.live_view), name=f"{MODEL}_live"),
            *verbs,
            *super().get_urls(),
        ]

    def _execution(self, request: HttpRequest, execution_id: int) -> Execution | None:
        rows = Execution.objects.select_related("worker", "executor", "cancelled_by", "action")
        return self.readable(request, rows).filter(pk=execution_id).first()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one execution; there is nothing to save on it."""
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        execution = self._execution(request, int(object_id)) if object_id.isdecimal() and len(object_id) < 19 else None
        if execution is None:
            return self.gone(request, object_id)
        return self.page(
            request, "admin/executions/execution/page.html", str(execution),
            original=execution, **self._page_of(request, execution),
        )  # fmt: skip

    def live_view(self, request: HttpRequest, execution_id: int) -> HttpResponse:
        """The page's body alone, fetched anew while the execution goes on."""
        execution = self._execution(request, execution_id)
        if execution is None:  # retention, or a delete of its rows; the page stays as it is
            return HttpResponse(status=204)
        context = self._page_of(request, execution)
        return TemplateResponse(request, "admin/executions/execution/live.html", context)

    def verb_view(self, request: HttpRequest, execution_id: int, name: str) -> HttpResponse:
        verb, execution = VERBS[name], self._execution(request, execution_id)
        if execution is None:
            return self.gone(request, execution_id)

        self.guard(request, name, execution)
        return self.confirm(
            request, [execution], title=f"{verb.title or verb.label} {execution}", sentence=verb.sentence,
            button=verb.button or f"{verb.label} execution",
            danger=verb.danger, verb=lambda row, reason: self._call(request, name, row, reason), back=reverse(f"admin:{MODEL}_change", args=[execution_id]),
            then=lambda row: reverse(f"admin:{MODEL}_change", args=[row.pk]),
        )  # fmt: skip

    def _page_of(self, request: HttpRequest, execution: Execution) -> dict[str, Any]:
        offered = [
            verb for verb in VERBS.values() if verb.offered(execution) and self.may(request, verb.name, execution)
        ]
        return execution_page(execution, self.caller(request), offered)

    def _call(self, request: HttpRequest, name: str, execution: Execution, reason: str) -> Execution:
        if not self.may(request, name, execution):
            raise Forbidden(f"Insufficient permissions: {self.needs[name]}")
        if name in _EXECUTING:
            require_delegation(self.caller(request), execution.permission_set_refs, BEYOND_OWN_ACCESS)
        return VERBS[name].call(execution.pk, person_of(request), reason)

    def run_view(self, request: HttpRequest, action_id: int) -> HttpResponse:
        """The form that runs an action."""
        chosen = Action.objects.select_related("pack", "runtime").filter(pk=action_id).first()
        if chosen is None or not actions_seen(self.caller(request)).filter(pk=action_id).exists():
            self.message_user(request, "This action no longer exists.", messages.ERROR)
            return HttpResponseRedirect(reverse("admin:actions_action_changelist"))
        if not self.caller(request).allows("actions:execute", chosen):
            raise PermissionDenied("Insufficient permissions: actions:execute")
        earlier = None
        if (number := request.GET.get("from", "")).isdecimal():
            earlier = self.readable(request, Execution.objects.filter(pk=number, action=chosen)).first()
        form = RunForm(request.POST if request.method == "POST" else None, action=chosen, earlier=earlier)
        if form.is_valid() and (execution := run_action(form, self.caller(request))) is not None:
            self.message_user(request, f"{execution} was asked for.")
            return HttpResponseRedirect(reverse(f"admin:{MODEL}_change", args=[execution.pk]))
        return self.page(
            request, "admin/executions/execution/run.html", f"Run {chosen.ref}",
            action=chosen, form=form, earlier=earlier, back=reverse("admin:actions_action_change", args=[chosen.pk]),
        )  # fmt: skip

    # --- Actions of the list ------------------------------------------------------------------------------------

    def _selected(self, request: HttpRequest, rows: QuerySet[Execution], name: str, action_name: str) -> HttpResponse:
        verb = VERBS[name]
        chosen = rows.select_related(None).defer(*self.list_defer)
        title = f"{verb.label} {len(chosen)} execution{'s' if len(chosen) != 1 else ''}"
        return self.confirm_selected(
            request, chosen, action_name, title=title, sentence=verb.sentence, button=title,
            danger=verb.danger, verb=lambda row, reason: self._call(request, name, row, reason),
        )  # fmt: skip

    @admin.action(description="Cancel")
    def cancel_selected(self, request: HttpRequest, rows: QuerySet[Execution]) -> HttpResponse:
        return self._selected(request, rows, "cancel", "cancel_selected")

    @admin.action(description="Force-close")
    def force_close_selected(self, request: HttpRequest, rows: QuerySet[Execution]) -> HttpResponse:
        return self._selected(request, rows, "force-close", "force_close_selected")

    @admin.action(description="Retry")
    def retry_selected(self, request: HttpRequest, rows: QuerySet[Execution]) -> HttpResponse:
        return self._selected(request, rows, "retry", "retry_selected")


def action_facts(execution: Execution) -> Any:
    """Return what running its action again is asked about."""
    return execution.action or Facts(ref=execution.action_ref, pack_ref=execution.pack_ref)
