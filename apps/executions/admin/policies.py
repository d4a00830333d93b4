"""Policies: the list, the page of one with the state of its groups, and the form that makes and changes one."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from apps.actions.models import Policy
from apps.actions.policies import services
from apps.actions.policies.access import may_update, readable, scope_of
from apps.core import markup
from apps.core.admin import as_time, linked_filter
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.executions.admin.policy_form import PolicyForm
from apps.executions.policy_state import MOST_GROUPS, GroupState, groups_of

_MOST_HOLDERS = 5  # that a row of the page names


def _delete(policy: Policy, _request: HttpRequest) -> bool:
    services.delete_policy(policy.pk)
    return True


VERBS = {
    "enable": RowVerb(
        label="Enable",
        done="is enabled",
        offered=lambda policy: not policy.enabled,
        call=lambda policy, _request: services.update_policy(policy.pk, {"enabled": True}),
    ),
    "disable": RowVerb(
        label="Disable",
        done="is disabled",
        offered=lambda policy: policy.enabled,
        asks="What waits for it may start at once.",
        call=lambda policy, _request: services.update_policy(policy.pk, {"enabled": False}),
    ),
    "remove": RowVerb(
        label="Delete",
        done="is deleted",
        asks="What waits for it may start at once; what runs goes on.",
        danger=True,
        call=_delete,
    ),
}


@admin.register(Policy)
class PolicyAdmin(RowsWithVerbs):
    needs = {"view": "actions:read", **dict.fromkeys(("add", "edit", *VERBS), "actions:update")}
    visible = staticmethod(readable)
    verbs = VERBS
    page_template = "admin/actions/policy/page.html"
    list_display = ("ref", "state", "of_scope", "limits", "by", "method", as_time("updated"))
    list_filter = (
        "enabled", "method", linked_filter("action_ref", "action"), linked_filter("pack_ref", "pack"),
    )  # fmt: skip
    list_select_related = ("action", "pack")
    ordering = ("ref",)
    sortable_by = ("ref",)
    search_fields = ("ref", "name", "action_ref", "pack_ref", "semaphore")
    search_help_text = "Ref, name, action, pack or semaphore"

    def has_delete_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        return False  # by the verb

    def may(self, request: HttpRequest, what: str, row: Any = None) -> bool:
        """A policy is about the actions it limits: to see it takes one of them, to change it all."""
        if row is None or not self.may_enter(request) or what not in self.needs:
            return super().may(request, what, row)
        caller = self.caller(request)
        if what == "view":
            return readable(caller, Policy.objects.filter(pk=row.pk)).exists()
        return may_update(caller, scope_of(row))

    @admin.display(description="state")
    def state(self, policy: Policy) -> SafeString:
        return markup.badge("enabled" if policy.enabled else "disabled")

    @admin.display(description="limits")
    def of_scope(self, policy: Policy) -> SafeString:
        if policy.action_refs:
            return markup.commas(policy.action_refs)
        if policy.semaphore:
            return markup.joined(("semaphore", policy.semaphore))
        if policy.action_ref:
            return markup.row_link("actions_action", policy.action_id, policy.action_ref)
        if policy.pack_ref:
            return markup.joined(("pack", markup.row_link("packs_pack", policy.pack_id, policy.pack_ref)))
        return markup.joined(("everything",))

    @admin.display(description="to")
    def limits(self, policy: Policy) -> SafeString:
        return markup.commas(_limits_of(policy))

    @admin.display(description="for each")
    def by(self, policy: Policy) -> SafeString:
        return markup.commas(policy.parameters)

    # --- The page and the form ----------------------------------------------------------------------------------

    def find(self, pk: int) -> Policy | None:
        return Policy.objects.select_related("pack", "action").filter(pk=pk).first()

    def page_context(self, row: Policy, caller: Any) -> dict[str, Any]:
        groups = groups_of(row)
        return {
            "state": self.state(row),
            "scope": self.of_scope(row),
            "limits": _limits_of(row),
            "groups": [_shown(group) for group in groups],
            "is_cut": len(groups) == MOST_GROUPS,
            "may_edit": may_update(caller, scope_of(row)),
        }

    def after_verb(self, name: str, pk: int) -> str:
        return self.address("changelist") if name == "remove" else super().after_verb(name, pk)

    def get_urls(self) -> list[URLPattern]:
        edit = self.admin_site.admin_view(self.edit_view)
        return [path("<int:pk>/edit/", edit, name=self._name("edit")), *super().get_urls()]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.guard(request, "add")
        known = {name: request.GET[name] for name in ("action_ref", "pack_ref") if name in request.GET}
        form = PolicyForm(request.POST if request.method == "POST" else None, policy=None, initial=known)
        return self._form_page(request, form, "Add a policy", back=self.address("changelist"))

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        policy = self.found(request, pk)
        if policy is None:
            return self.gone(request, pk)
        self.guard(request, "edit", policy)
        form = PolicyForm(request.POST if request.method == "POST" else None, policy=policy)
        return self._form_page(request, form, f"Edit {policy.ref}", back=self.address("change", pk))

    def _form_page(self, request: HttpRequest, form: PolicyForm, title: str, *, back: str) -> HttpResponse:
        if form.is_valid() and (saved := form.save(self.caller(request))) is not None:
            self.message_user(request, f"Policy {saved.ref} was saved.", messages.SUCCESS)
            return HttpResponseRedirect(self.address("change", saved.pk))
        return self.page(
            request, "admin/actions/policy/form.html", title,
            original=form.policy, form=form, policy=form.policy, back=back,
        )  # fmt: skip


def _limits_of(policy: Policy) -> list[str]:
    told = []
    if policy.threshold is not None:
        told.append(f"{policy.threshold} at once")
    if policy.max_executions is not None and policy.window_seconds is not None:
        told.append(f"{policy.max_executions} starts in {markup.seconds_text(policy.window_seconds)}")
    if policy.max_waiting is not None:
        told.append(f"{policy.max_waiting} waiting")
    return told


def _shown(state: GroupState) -> Mapping[str, Any]:
    links = [markup.row_link("executions_execution", pk, f"#{pk}") for pk in state.holders[:_MOST_HOLDERS]]
    return {
        "told": state.group.told.removeprefix(" for ") or "all",
        "active": len(state.holders),
        "holders": markup.commas(links),
        "waiting": state.waiting,
        "oldest": markup.when(state.oldest_waiting_since),
        "started": state.started_in_window,
        "next_slot": markup.when(state.next_slot_at),
    }
