"""Rules: the list, the page of one, the form that makes and changes it, and the pages that try it."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.actions.visibility import visible_to as visible_actions
from apps.core import markup
from apps.core.admin import as_time, linked_filter
from apps.core.parameter_text import declared_parameters
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.events.visibility import visible_triggers
from apps.identity.callers import Caller
from apps.identity.grants import narrowed
from apps.rules import services
from apps.rules.admin.rule_form import RuleForm
from apps.rules.admin.rule_page import condition_warnings, rule_page
from apps.rules.admin.trying import BacktestForm, TestForm, newest_event
from apps.rules.models import Rule, RuleDecision
from apps.rules.visibility import readable


def _delete(rule: Rule, _request: HttpRequest) -> bool:
    services.delete_rule(rule.pk)
    return True


VERBS = {
    "enable": RowVerb(
        label="Enable",
        done="is enabled",
        offered=lambda rule: not rule.enabled,
        call=lambda rule, _request: services.enable_rule(rule.pk),
    ),
    "disable": RowVerb(
        label="Disable",
        done="is disabled",
        offered=lambda rule: rule.enabled,
        call=lambda rule, _request: services.disable_rule(rule.pk),
    ),
    "remove": RowVerb(
        label="Delete",
        done="is deleted",
        asks="Its timer stops and it looks at no event any more. What it has decided and started stays.",
        danger=True,
        call=_delete,
    ),
}


@admin.register(Rule)
class RuleAdmin(RowsWithVerbs):
    needs = {
        "view": "rules:read", "add": "rules:create", "edit": "rules:update", "enable": "rules:update", "disable": "rules:update",
        "remove": "rules:delete", "test": "rules:read",
    }  # fmt: skip
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable(caller)))
    verbs = VERBS
    page_template = "admin/rules/rule/page.html"
    list_display = ("ref", "state", "of_trigger", "of_action", "holds_back", "last_decision", as_time("updated"))
    list_filter = (
        "enabled", "pack", "is_adhoc", linked_filter("trigger_ref", "trigger"), linked_filter("action_ref", "action"),
    )  # fmt: skip
    list_defer = ("conditions", "action_params", "trigger_params", "description")
    list_select_related = ("trigger", "action")
    ordering = ("ref",)
    sortable_by = ("ref",)
    search_fields = ("ref", "label", "trigger_ref", "action_ref")
    search_help_text = "Ref, label, trigger or action"

    def has_delete_permission(self, request: HttpRequest, obj: Rule | None = None) -> bool:
        return False  # by the verb, which stops its timer

    def prepare(self, rows: Sequence[Any]) -> None:
        newest = RuleDecision.objects.filter(rule=OuterRef("pk")).newest_first().values("pk")[:1]
        listed = Rule.objects.filter(pk__in=[rule.pk for rule in rows]).order_by()
        last = dict(listed.annotate(last=Subquery(newest)).values_list("pk", "last"))
        decisions = RuleDecision.objects.only("id", "outcome", "created").in_bulk([pk for pk in last.values() if pk])
        for rule in rows:
            rule.last = decisions.get(last.get(rule.pk))

    @admin.display(description="state")
    def state(self, rule: Rule) -> SafeString:
        return markup.badge("enabled" if rule.enabled else "disabled")

    @admin.display(description="when")
    def of_trigger(self, rule: Rule) -> SafeString:
        if rule.trigger is None:
            return markup.joined((rule.trigger_ref, markup.badge("deleted", tone="bad")))
        linked = markup.row_link("events_trigger", rule.trigger_id, rule.trigger_ref)
        return linked if rule.trigger.enabled else markup.joined((linked, markup.badge("disabled")))

    @admin.display(description="then")
    def of_action(self, rule: Rule) -> SafeString:
        if rule.action is None:
            return markup.joined((rule.action_ref, markup.badge("deleted", tone="bad")))
        return markup.row_link("actions_action", rule.action_id, rule.action_ref)

    @admin.display(description="holds back")
    def holds_back(self, rule: Rule) -> SafeString:
        return markup.commas(kind for kind in ("dedupe", "aggregate", "throttle") if getattr(rule, kind))

    @admin.display(description="last decision")
    def last_decision(self, rule: Any) -> SafeString:
        if rule.last is None:
            return markup.EMPTY
        badge = markup.link(markup.page_of("rules_ruledecision", rule.last.pk), markup.badge(rule.last.outcome))
        return format_html('{} <span class="at-note at-muted">{}</span>', badge, markup.relative(rule.last.created))

    # --- The page -----------------------------------------------------------------------------------------------

    def find(self, pk: int) -> Rule | None:
        return Rule.objects.select_related("pack", "trigger", "action", "owner_identity").filter(pk=pk).first()

    def page_context(self, row: Rule, caller: Any) -> dict[str, Any]:
        may_edit = caller.allows(self.needs["edit"], row)
        return {**rule_page(row, caller), "may_edit": may_edit, "may_backtest": caller.covers("events:read")}

    def after_verb(self, name: str, pk: int) -> str:
        return self.address("changelist") if name == "remove" else super().after_verb(name, pk)

    def get_urls(self) -> list[URLPattern]:
        protect = self.admin_site.admin_view
        return [
            path("declared/<str:kind>/", protect(self.declared_view), name=self._name("declared")),
            path("<int:pk>/edit/", protect(self.edit_view), name=self._name("edit")),
            path("<int:pk>/test/", protect(self.test_view), name=self._name("test")),
            path("<int:pk>/backtest/", protect(self.backtest_view), name=self._name("backtest")),
            *super().get_urls(),
        ]

    # --- The form -----------------------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.guard(request, "add")
        known = {name: request.GET[name] for name in ("trigger_ref", "action_ref") if name in request.GET}
        form = RuleForm(request.POST if request.method == "POST" else None, rule=None, initial=known)
        return self._form_page(request, form, "Add a rule", back=self.address("changelist"))

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule = self.found(request, pk)
        if rule is None:
            return self.gone(request, pk)
        self.guard(request, "edit", rule)
        form = RuleForm(request.POST if request.method == "POST" else None, rule=rule)
        return self._form_page(request, form, f"Edit {rule.ref}", back=self.address("change", pk))

    def _form_page(self, request: HttpRequest, form: RuleForm, title: str, *, back: str) -> HttpResponse:
        if form.is_valid() and (saved := form.save(self.caller(request))) is not None:
            self.message_user(request, f"Rule {saved.ref} was saved.", messages.SUCCESS)
            for warning in condition_warnings(saved.conditions):
                self.message_user(request, f"{warning.place}: {warning.message}", messages.WARNING)
            return HttpResponseRedirect(self.address("change", saved.pk))
        return self.page(
            request, "admin/rules/rule/form.html", title,
            original=form.rule, form=form, rule=form.rule, back=back, declared=self.address("declared", "trigger").removesuffix("trigger/"),
            trigger_fields=_declared("trigger", str(form["trigger_ref"].value() or ""), self.caller(request)),
            action_fields=_declared("action", str(form["action_ref"].value() or ""), self.caller(request)),
        )  # fmt: skip

    def declared_view(self, request: HttpRequest, kind: str) -> HttpResponse:
        """What the schema of the trigger or action declares that was just typed in."""
        ref = request.GET.get("trigger_ref" if kind == "trigger" else "action_ref", "")
        return self.page(
            request, "admin/rules/rule/declared.html", "", declared_fields=_declared(kind, ref, self.caller(request))
        )

    # --- Trying -------------------------------------------------------------------------------------------------

    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule = self.found(request, pk)
        if rule is None:
            return self.gone(request, pk)
        caller = self.caller(request)
        event = request.GET.get("event") or (newest_event(rule) if caller.covers("events:read") else None)
        form = TestForm(request.POST if request.method == "POST" else None, rule=rule, initial={"event": event})
        form.asked_by = caller
        tried = form.attempt() if form.is_valid() else None
        return self.page(
            request, "admin/rules/rule/test.html", f"Test {rule.ref}",
            original=rule, rule=rule, form=form, tried=tried, back=self.address("change", pk),
            warnings=condition_warnings(form.cleaned_data["conditions"]) if form.is_valid() else (),
        )  # fmt: skip

    def backtest_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        rule = self.found(request, pk)
        if rule is None:
            return self.gone(request, pk)
        if not self.caller(request).covers("events:read"):
            raise PermissionDenied("Insufficient permissions: events:read")
        form = BacktestForm(request.POST if request.method == "POST" else None, rule=rule)
        past = form.report() if form.is_valid() else None
        return self.page(
            request, "admin/rules/rule/backtest.html", f"Back-test {rule.ref}",
            original=rule, rule=rule, form=form, past=past, back=self.address("change", pk),
            warnings=condition_warnings(form.cleaned_data["conditions"]) if form.is_valid() else (),
        )  # fmt: skip


def _declared(kind: str, ref: str, caller: Caller) -> dict[str, Any]:
    """Return what the form says beside the parameters of a trigger or action, as far as the caller may see it."""
    seen: Any = visible_triggers(caller) if kind == "trigger" else visible_actions(caller)
    row = seen.only("ref", "label", "param_schema").filter(ref=ref).first() if ref and "\x00" not in ref else None
    return {"ref": ref, "row": row, "fields": declared_parameters(row.param_schema) if row is not None else []}
