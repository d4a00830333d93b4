"""Identities: who signs in, with what rights."""

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import ConsoleAdmin, as_json, as_time, linked_filter
from apps.core.errors import AttuneError
from apps.identity import protection, rights, services
from apps.identity.admin.forms import IdentityForm
from apps.identity.grants import narrowed
from apps.identity.models import Identity, IdentityRoleAssignment, PermissionAssignment
from apps.identity.visibility import readable_identities

admin.site.unregister(Group)  # Django's own groups mean nothing here

_NAME, _PASSWORD = ("login", "display_name"), ("password", "password_again")
_RIGHTS = ("permission_sets", "role_names")
_MORE = (*_PASSWORD, "attributes_text", *_RIGHTS)


@admin.register(Identity)
class IdentityAdmin(ConsoleAdmin):
    needs = {"view": "identities:read", "add": "identities:create", "change": "identities:update"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_identities(caller)))
    form = IdentityForm
    list_display = ("login", "display_name", "state", "sets", "roles", "auth_provider",
                    as_time("last_login_at", "last sign-in"), as_time("created"))  # fmt: skip
    list_filter = ("frozen", "auth_provider", linked_filter("roles__role", "role"))
    list_defer = ("password_hash", "attributes")
    ordering = ("login",)
    search_fields = ("login", "display_name")
    search_help_text = "Login or name"
    actions = ("freeze", "unfreeze")
    known = ("state", "sets", "roles", "integration_tokens", "auth_provider", "external_id", as_json("attributes"),
             as_time("last_login_at", "last sign-in"), as_time("created"), "executions")  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Identity]:
        held = PermissionAssignment.objects.select_related("permset").order_by("permset__ref")
        roles = IdentityRoleAssignment.objects.order_by("role")
        rows: QuerySet[Identity] = super().get_queryset(request)
        return rows.prefetch_related(Prefetch("assignments", queryset=held), Prefetch("roles", queryset=roles))

    def has_change_permission(self, request: HttpRequest, obj: Identity | None = None) -> bool:
        if obj is not None and obj.is_built_in:
            return False
        return super().has_change_permission(request, obj)

    # --- The form -----------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Identity | None = None) -> Any:
        may_change = obj is None or self.has_change_permission(request, obj)
        asked = (*_NAME, *(name for name in _MORE if may_change and name not in self._left_out(request, obj)))
        if obj is None:
            return ((None, {"fields": asked}),)
        return ((None, {"fields": asked}), ("What is known", {"fields": self.known}))

    def get_readonly_fields(self, request: HttpRequest, obj: Identity | None = None) -> list[Any]:
        return ["login", *self.known] if obj is not None else []

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.asked_by, form.left_out = self.caller(request), self._left_out(request, obj)
        return form

    def _left_out(self, request: HttpRequest, obj: Identity | None) -> frozenset[str]:
        """Return the fields that are not for this identity, or not for whoever asks."""
        if obj is not None and obj.is_sensor:
            return frozenset({*_PASSWORD, *_RIGHTS})
        return frozenset() if self.caller(request).covers(protection.MANAGE) else frozenset(_RIGHTS)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except AttuneError as error:  # what the form could not know, or not yet
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Identity, form: IdentityForm, change: bool) -> None:
        given, caller = form.cleaned_data, self.caller(request)
        password = given.get("password") or None
        with transaction.atomic():
            if not change:
                caller.require(self.needs["add"], {"ref": given["login"]})
                made = services.create_identity(
                    given["login"],
                    password=password,
                    display_name=given["display_name"],
                    attributes=given["attributes_text"],
                )
                obj.pk = made.pk
            else:
                changes = {"display_name": given["display_name"] or "", "attributes": given["attributes_text"]}
                services.update_identity(obj, {**changes, **({"password": password} if password else {})}, by=caller)
            if "permission_sets" in given:
                rights.hold_exactly(obj, [held.ref for held in given["permission_sets"]], by=caller)
                rights.have_exactly(obj, given["role_names"], by=caller)

    # --- Columns ------------------------------------------------------------------------------------------------

    @admin.display(description="state")
    def state(self, identity: Identity) -> SafeString:
        return markup.badge("frozen") if identity.frozen else markup.badge("active")

    @admin.display(description="permission sets")
    def sets(self, identity: Identity) -> SafeString:
        return markup.commas(
            markup.row_link("identity_permissionset", held.permset_id, held.permset.ref)
            for held in identity.assignments.all()
        )

    @admin.display(description="roles")
    def roles(self, identity: Identity) -> SafeString:
        return markup.commas(
            f"{held.role} ({held.source})" if held.managed else held.role for held in identity.roles.all()
        )

    @admin.display(description="integration tokens")
    def integration_tokens(self, identity: Identity) -> SafeString:
        listed = markup.list_of("identity_integrationtoken", identity=identity.pk)
        links = [markup.link(listed, "Its tokens")]
        if not identity.is_built_in and not identity.is_sensor:
            new = markup.page_named("admin:identity_integrationtoken_add", login=identity.login)
            links.append(markup.link(new, "New token"))
        return markup.commas(links)

    @admin.display(description="executions")
    def executions(self, identity: Identity) -> SafeString:
        return markup.link(markup.list_of("executions_execution", executor=identity.pk), "What it asked for")

    # --- Verbs --------------------------------------------------------------------------------------------------

    @admin.action(description="Freeze: no sign-in, no tokens", permissions=["change"])
    def freeze(self, request: HttpRequest, rows: QuerySet[Identity]) -> HttpResponse | None:
        for identity in rows:
            self.attempt(request, partial(self._freeze, request, identity), f"{identity} is frozen")
        return None

    @admin.action(description="Unfreeze", permissions=["change"])
    def unfreeze(self, request: HttpRequest, rows: QuerySet[Identity]) -> HttpResponse | None:
        for identity in rows:
            self.attempt(request, partial(self._unfreeze, request, identity), f"{identity} may sign in again")
        return None

    def _freeze(self, request: HttpRequest, identity: Identity) -> None:
        self.require(request, "change", identity)
        rights.freeze(identity, by=self.caller(request))

    def _unfreeze(self, request: HttpRequest, identity: Identity) -> None:
        self.require(request, "change", identity)
        rights.unfreeze(identity)
