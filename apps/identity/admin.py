"""The console's pages of who may sign in and what they may do; a password hash is on none of them."""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
)

from apps.core import markup
from apps.core.admin import ConsoleAdmin, CreatedFilter, MachineRows, as_badge, as_json, as_time, linked_filter
from apps.core.errors import AttuneError
from apps.identity import audit, rights, services
from apps.identity.callers import Caller
from apps.identity.grants import assigned_sets
from apps.identity.models import (
    AuditEvent,
    IdempotencyRecord,
    Identity,
    PermissionAssignment,
    PermissionSet,
    SignInFailures,
)
from apps.identity.sessions import caller_at

admin.site.unregister(Group)  # Django's own groups mean nothing here

MODEL = "identity_identity"


class IdentityForm(forms.ModelForm):
    """A new identity, or another name, password and rights for one."""

    password = forms.CharField(
        required=False, strip=False, widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="8 to 128 characters.",
    )  # fmt: skip
    password_again = forms.CharField(
        required=False, strip=False, widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
    )
    permission_sets = forms.ModelMultipleChoiceField(
        PermissionSet.objects.order_by("ref"), required=False, to_field_name="ref",
        widget=UnfoldAdminCheckboxSelectMultipleWidget, help_text="Until permissions are finer, only core.admin gives access.",
    )  # fmt: skip

    class Meta:
        model = Identity
        fields = ("login", "display_name")
        widgets = {"login": UnfoldAdminTextInputWidget, "display_name": UnfoldAdminTextInputWidget}

    asked_by: Caller  # set by the page

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields["password"].help_text = "Leave it empty to keep the password. 8 to 128 characters."
            self.initial["permission_sets"] = [held.ref for held in assigned_sets(self.instance)]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        password = given.get("password") or ""
        if password != (given.get("password_again") or ""):
            self.add_error("password_again", "The two passwords differ.")
        try:
            if password:
                services.check_password(password)
            if self.instance.pk is None and "login" in given:
                services.check_login(given["login"])
        except AttuneError as error:
            for detail in error.details or []:
                self.add_error(detail["field"], detail["message"])
        return given

    def clean_permission_sets(self) -> Any:
        chosen = self.cleaned_data["permission_sets"]
        try:
            rights.check_own(self.instance, [held.ref for held in chosen], by=self.asked_by)
        except AttuneError as error:
            raise forms.ValidationError(error.message) from None
        return chosen


@admin.register(Identity)
class IdentityAdmin(ConsoleAdmin):
    form = IdentityForm
    list_display = ("login", "display_name", "state", "sets", "auth_provider", as_time("last_login_at", "last sign-in"),
                    as_time("created"))  # fmt: skip
    list_filter = ("frozen", "auth_provider")
    list_defer = ("password_hash", "attributes")
    ordering = ("login",)
    search_fields = ("login", "display_name")
    search_help_text = "Login or name"
    actions = ("freeze", "unfreeze")
    add_fieldsets = ((None, {"fields": ("login", "display_name", "password", "password_again", "permission_sets")}),)
    fieldsets = (
        (None, {"fields": ("login", "display_name", "password", "password_again", "permission_sets")}),
        ("What is known", {"fields": ("state", "auth_provider", "external_id", as_json("attributes"),
                                      as_time("last_login_at", "last sign-in"), as_time("created"), "executions")}),
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Identity]:
        held = PermissionAssignment.objects.select_related("permset").order_by("permset__ref")
        rows: QuerySet[Identity] = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("assignments", queryset=held))

    def get_readonly_fields(self, request: HttpRequest, obj: Identity | None = None) -> list[Any]:
        shown = self.fieldsets[1][1]["fields"]
        return ["login", *shown] if obj is not None else []

    def has_delete_permission(self, request: HttpRequest, obj: Identity | None = None) -> bool:
        return False  # what it did keeps its name; freezing takes the access away

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.asked_by = caller_at(request)
        return form

    def save_model(self, request: HttpRequest, obj: Identity, form: IdentityForm, change: bool) -> None:
        given = form.cleaned_data
        with transaction.atomic():
            if not change:
                made = services.create_identity(
                    given["login"], password=given["password"] or None, display_name=given["display_name"]
                )
                obj.pk = made.pk
            else:
                services.change_profile(obj, display_name=given["display_name"])
                if given["password"]:
                    services.set_password(obj, given["password"])
            rights.hold_exactly(obj, [held.ref for held in given["permission_sets"]], by=caller_at(request))

    @admin.display(description="state")
    def state(self, identity: Identity) -> SafeString:
        return markup.badge("frozen") if identity.frozen else markup.badge("active")

    @admin.display(description="permission sets")
    def sets(self, identity: Identity) -> SafeString:
        return markup.commas(held.permset.ref for held in identity.assignments.all())

    @admin.display(description="executions")
    def executions(self, identity: Identity) -> SafeString:
        return markup.link(markup.list_of("executions_execution", executor=identity.pk), "What it asked for")

    @admin.action(description="Freeze: no sign-in, no tokens")
    def freeze(self, request: HttpRequest, rows: QuerySet[Identity]) -> None:
        for identity in rows:
            self.attempt(request, partial(rights.freeze, identity, by=caller_at(request)), f"{identity} is frozen")

    @admin.action(description="Unfreeze")
    def unfreeze(self, request: HttpRequest, rows: QuerySet[Identity]) -> None:
        for identity in rows:
            self.attempt(request, partial(rights.unfreeze, identity), f"{identity} may sign in again")


@admin.register(PermissionSet)
class PermissionSetAdmin(MachineRows):
    list_display = ("ref", "label", "pack_ref", "grant_count", as_time("updated"))
    ordering = ("ref",)
    list_defer = ("description",)
    search_fields = ("ref", "label")

    @admin.display(description="grants")
    def grant_count(self, held: PermissionSet) -> int:
        return len(held.grants or [])


@admin.register(PermissionAssignment)
class PermissionAssignmentAdmin(MachineRows):
    list_display = ("who", "which", as_time("created", "since"))
    list_filter = (linked_filter("identity", "identity"), linked_filter("permset", "permission set"))
    list_select_related = ("identity", "permset")
    ordering = ("id",)

    @admin.display(description="identity")
    def who(self, held: PermissionAssignment) -> str:
        return held.identity.login

    @admin.display(description="permission set")
    def which(self, held: PermissionAssignment) -> SafeString:
        return markup.row_link("identity_permissionset", held.permset_id, held.permset.ref)


@admin.register(IdempotencyRecord)
class IdempotencyRecordAdmin(MachineRows):
    list_display = ("key", "scope", "response_status", "resource_type", "resource_id", as_time("created"),
                    as_time("expires_at", "expires"))  # fmt: skip
    hidden_fields = ("response_body", "request_hash")  # an answer may hold what only its caller may see
    list_defer = hidden_fields
    ordering = ("-id",)
    search_fields = ("key__exact",)
    search_help_text = "The whole key"


@admin.register(AuditEvent)
class AuditEventAdmin(MachineRows):
    """The audit trail; whoever looks at it is in it."""

    list_display = ("created", "event_type", as_badge("outcome"), "actor", "actor_ip", "resource", "of_request", "took")
    list_display_links = ("created",)
    list_filter = (
        "category", "outcome", CreatedFilter, linked_filter("event_type", "event type"),
        linked_filter("actor_identity", "actor"), linked_filter("request_id", "request"),
        linked_filter("resource_type", "kind of resource"), linked_filter("resource_id", "id of the resource"),
    )  # fmt: skip
    list_defer = ("details", "correlation_chain", "actor_user_agent")
    ordering = ("-created", "-id")
    search_fields = ("event_type__startswith", "request_id__exact", "actor_login__exact", "actor_ip__exact")
    search_help_text = "Type (its beginning); request id, login or address (whole)"
    fields = (
        as_time("created"), "event_type", "category", as_badge("outcome"), "actor", "actor_token_type", "actor_ip",
        "actor_user_agent", "resource", "of_request", "request_id", "same_request", "took", as_json("details"),
        as_json("correlation_chain", "what led to it"),
    )  # fmt: skip

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        audit.record("audit_log.read", details={"page": "list", "filters": dict(request.GET.items())})
        return super().changelist_view(request, extra_context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        audit.record("audit_log.read", details={"page": "event", "event": object_id})
        answer: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return answer

    @admin.display(description="actor")
    def actor(self, event: AuditEvent) -> str:
        return event.actor_login or (f"identity {event.actor_identity}" if event.actor_identity else markup.EMPTY)

    @admin.display(description="resource")
    def resource(self, event: AuditEvent) -> str:
        named = (event.resource_type, event.resource_ref or event.resource_id)
        return " ".join(str(part) for part in named if part is not None) or markup.EMPTY

    @admin.display(description="request")
    def of_request(self, event: AuditEvent) -> str:
        parts = (event.http_method, event.http_path, event.http_status)
        return " ".join(str(part) for part in parts if part is not None) or markup.EMPTY

    @admin.display(description="took")
    def took(self, event: AuditEvent) -> str:
        return markup.EMPTY if event.duration_ms is None else f"{event.duration_ms} ms"

    @admin.display(description="same request")
    def same_request(self, event: AuditEvent) -> SafeString | str:
        if event.request_id is None:
            return markup.EMPTY
        return markup.link(markup.list_of("identity_auditevent", request_id=event.request_id), "All events of it")


@admin.register(SignInFailures)
class SignInFailuresAdmin(MachineRows):
    list_display = ("short_key", "failures", as_time("since"))
    ordering = ("-since",)

    @admin.display(description="login and address (hashed)")
    def short_key(self, row: SignInFailures) -> str:
        return row.key[:16]
