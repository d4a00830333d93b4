"""Permission sets, who holds them, and what roles give."""

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import ConsoleAdmin, MachineRows, as_flag, as_json, as_time, linked_filter
from apps.core.errors import AttuneError
from apps.identity import protection, rights
from apps.identity.admin.forms import PermissionSetForm
from apps.identity.grants import narrowed
from apps.identity.models import (
    IdentityRoleAssignment,
    PermissionAssignment,
    PermissionSet,
    PermissionSetRoleAssignment,
)
from apps.identity.visibility import readable_assignments, readable_sets


@admin.register(PermissionSet)
class PermissionSetAdmin(ConsoleAdmin):
    needs = {"view": "permissions:read", "change": protection.MANAGE}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_sets(caller)))
    form = PermissionSetForm
    list_display = ("ref", "label", "pack_ref", "grant_count", "given_by", as_time("updated"))
    ordering = ("ref",)
    list_defer = ("description",)
    search_fields = ("ref", "label")
    known = ("ref", "note", "holders", as_time("created"), as_time("updated"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[PermissionSet]:
        roles = PermissionSetRoleAssignment.objects.order_by("role")
        rows: QuerySet[PermissionSet] = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("roles", queryset=roles))

    def get_fieldsets(self, request: HttpRequest, obj: PermissionSet | None = None) -> Any:
        may_change = obj is not None and self.has_change_permission(request, obj)
        rights_shown = ("grants_text", "role_names") if may_change else (as_json("grants"), "given_by")
        return (
            (None, {"fields": ("label", "description", *rights_shown)}),
            ("What is known", {"fields": self.known}),
        )

    def get_readonly_fields(self, request: HttpRequest, obj: PermissionSet | None = None) -> list[Any]:
        return [*self.known, as_json("grants"), "given_by"]

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except AttuneError as error:  # what the form could not know, or not yet
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: PermissionSet, form: PermissionSetForm, change: bool) -> None:
        given = form.cleaned_data
        texts = ("label", "description")
        changes: dict[str, Any] = {name: given[name] or None for name in texts if name in form.changed_data}
        if given["grants_text"] != obj.grants:
            changes["grants"] = given["grants_text"]
        with transaction.atomic():
            rights.update_set(obj, changes)
            rights.give_by_exactly(obj, given["role_names"])

    @admin.display(description="grants")
    def grant_count(self, permset: PermissionSet) -> int:
        return len(permset.grants or [])

    @admin.display(description="given by roles")
    def given_by(self, permset: PermissionSet) -> SafeString:
        return markup.commas(given.role for given in permset.roles.all())

    @admin.display(description="held by")
    def holders(self, permset: PermissionSet) -> SafeString:
        return markup.link(
            markup.list_of("identity_permissionassignment", permset=permset.pk), "Who holds it directly"
        )

    @admin.display(description="origin")
    def note(self, permset: PermissionSet) -> str:
        if permset.pack_ref is None:
            return "No pack brings it."
        return f"It comes with the pack {permset.pack_ref}, which sets its grants again whenever it is registered."


class _Held(MachineRows):
    """Who holds what: read here, changed on the pages of identities and permission sets."""

    needs = {"view": "permissions:read"}


@admin.register(PermissionAssignment)
class PermissionAssignmentAdmin(_Held):
    list_display = ("who", "which", as_time("created", "since"))
    list_filter = (linked_filter("identity", "identity"), linked_filter("permset", "permission set"))
    list_select_related = ("identity", "permset")
    ordering = ("id",)
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_assignments(caller)))

    @admin.display(description="identity")
    def who(self, held: PermissionAssignment) -> str:
        return held.identity.login

    @admin.display(description="permission set")
    def which(self, held: PermissionAssignment) -> SafeString:
        return markup.row_link("identity_permissionset", held.permset_id, held.permset.ref)


@admin.register(IdentityRoleAssignment)
class IdentityRoleAssignmentAdmin(_Held):
    list_display = ("role", "who", "source", as_flag("managed"), as_time("created", "since"))
    list_filter = (linked_filter("role", "role"), linked_filter("identity", "identity"))
    list_select_related = ("identity",)
    ordering = ("role", "id")
    search_fields = ("role__startswith", "identity__login__exact")
    search_help_text = "Role (its beginning) or login (whole)"

    @admin.display(description="identity")
    def who(self, held: IdentityRoleAssignment) -> SafeString:
        return markup.row_link("identity_identity", held.identity_id, held.identity.login)


@admin.register(PermissionSetRoleAssignment)
class PermissionSetRoleAssignmentAdmin(_Held):
    list_display = ("role", "which", as_time("created", "since"))
    list_filter = (linked_filter("role", "role"), linked_filter("permset", "permission set"))
    list_select_related = ("permset",)
    ordering = ("role", "id")
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_assignments(caller)))
    search_fields = ("role__startswith", "permset__ref__exact")
    search_help_text = "Role (its beginning) or ref of the set (whole)"

    @admin.display(description="gives")
    def which(self, given: PermissionSetRoleAssignment) -> SafeString:
        return markup.row_link("identity_permissionset", given.permset_id, given.permset.ref)
