"""
The console's pages of keys, by the same grants as the API.

A value is written here and never part of a form that is shown; it has a page of its own, and whoever opens that stays
in the audit trail.
"""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from apps.core import markup
from apps.core.admin import ConsoleAdmin, as_flag, as_time
from apps.core.api.query import parse_moment
from apps.core.cipher import CannotDecrypt
from apps.core.errors import AttuneError
from apps.core.parameter_text import read_json
from apps.core.refs import validate_key_ref
from apps.identity.callers import Caller
from apps.identity.sessions import caller_at
from apps.keys import services
from apps.keys.models import Key, OwnerType
from apps.keys.owners import Owner
from apps.keys.visibility import may, require, require_update, visible_to

if TYPE_CHECKING:  # the theme has no types; its classes stand in for these
    from django.forms import Textarea
else:
    from unfold.widgets import UnfoldAdminExpandableTextareaWidget as Textarea

MODEL = "keys_key"
_PAGES = {OwnerType.PACK: "packs_pack", OwnerType.ACTION: "actions_action", OwnerType.SENSOR: "events_sensor"}


class WriteOnly(Textarea):
    """What was typed is not shown again, not even when something else of the form is wrong."""

    def format_value(self, value: Any) -> None:
        return None


class KeyForm(forms.Form):
    """What ``POST /keys`` and ``PUT /keys/{ref}`` take; the services check it."""

    ref = forms.CharField(
        max_length=255, validators=[validate_key_ref], help_text="Lower case, segments between dots.",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "shop.api_token", "autocomplete": "off"}),
    )  # fmt: skip
    owner_type = forms.ChoiceField(choices=OwnerType.choices, widget=UnfoldAdminSelectWidget)
    owner = forms.CharField(
        required=False, max_length=255, widget=UnfoldAdminTextInputWidget,
        help_text="Ref of the pack, action or sensor, login of the identity; nothing for the system.",
    )  # fmt: skip
    name = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget, help_text="What actions see it as.")
    value = forms.CharField(strip=False, widget=WriteOnly(attrs={"rows": 1, "autocomplete": "off"}))
    is_json = forms.BooleanField(required=False, label="The value is JSON", widget=UnfoldBooleanSwitchWidget)
    encrypted = forms.BooleanField(
        required=False, initial=True, widget=UnfoldBooleanSwitchWidget,
        help_text="Stored encrypted, shown only to who may decrypt it, taken out of what programs print.",
    )  # fmt: skip
    expires_at = forms.CharField(
        required=False, label="Expires", help_text="UTC, such as 2027-01-31 or 2027-01-31T12:00:00Z; nothing: never.",
        widget=UnfoldAdminTextInputWidget,
    )  # fmt: skip

    def __init__(self, data: Any = None, *, key: Key | None) -> None:
        super().__init__(data, initial={} if key is None else _initial(key))
        self.key = key
        if key is not None:
            for name in ("ref", "owner_type", "owner"):
                del self.fields[name]
            self.fields["value"].required = False
            self.fields["value"].help_text = "Nothing keeps the value."

    def clean_expires_at(self) -> Any:
        text = self.cleaned_data["expires_at"].strip()
        found = parse_moment(text) if text else None
        if text and found is None:
            raise forms.ValidationError("Not a time such as 2027-01-31T12:00:00Z.")
        return found

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        if given.get("is_json") and given.get("value"):
            try:
                given["value"] = read_json(given["value"])
            except ValueError as error:
                self.add_error("value", f"Not JSON: {error}")
        return given

    def save(self, caller: Caller) -> Key | None:
        """Create or change the key as this caller; None when it was refused, which the form then says."""
        try:
            return self._create(caller) if self.key is None else self._update(caller, self.key)
        except (AttuneError, CannotDecrypt) as error:
            self.add_error(None, str(error))
            return None

    def _create(self, caller: Caller) -> Key:
        given = self.cleaned_data
        key = services.new_key(
            owner=Owner(owner_type=given["owner_type"], owner=given["owner"] or None),
            **{name: given[name] for name in ("ref", "name", "value", "encrypted", "expires_at")},
        )
        require(caller, "create", key)
        return services.store(key)

    @transaction.atomic
    def _update(self, caller: Caller, found: Key) -> Key:
        given = {name: self.cleaned_data[name] for name in ("name", "encrypted", "expires_at")}
        if self.data.get("value"):
            given["value"] = self.cleaned_data["value"]
        key = services.locked(found.pk)
        require_update(caller, key, given)
        return services.update_key(key, **given)


def _initial(key: Key) -> dict[str, Any]:
    end = f"{key.expires_at:%Y-%m-%dT%H:%M:%SZ}" if key.expires_at else ""
    return {"name": key.name, "encrypted": key.encrypted, "expires_at": end}


@admin.register(Key)
class KeyAdmin(ConsoleAdmin):
    list_display = ("ref", "name", "of_owner", as_flag("encrypted"), "version", as_time("expires_at", "expires"),
                    as_time("updated"))  # fmt: skip
    list_filter = ("owner_type", "encrypted")
    list_defer = ("value",)
    ordering = ("ref",)
    sortable_by = ("ref",)
    search_fields = ("ref", "name")
    search_help_text = "Ref or name"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Key]:
        return visible_to(caller_at(request))

    def has_view_permission(self, request: HttpRequest, obj: Key | None = None) -> bool:
        caller = caller_at(request)
        return caller.allows("keys:read") if obj is None else may(caller, "read", obj)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may_enter(request) and self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: Key | None = None) -> bool:
        return caller_at(request).allows("keys:create")

    def has_change_permission(self, request: HttpRequest, obj: Key | None = None) -> bool:
        return obj is not None and may(caller_at(request), "update", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Key | None = None) -> bool:
        return False  # by the page of its own

    @admin.display(description="owner", ordering="owner_type")
    def of_owner(self, key: Key) -> SafeString:
        if key.owner_identity is not None:
            return markup.joined(
                (key.owner_type, markup.row_link("identity_identity", key.owner_identity_id, key.owner_identity))
            )
        if (page := _PAGES.get(OwnerType(key.owner_type))) is None:
            return markup.joined((key.owner_type,))
        ref = getattr(key, f"owner_{key.owner_type}_ref")
        return markup.joined((key.owner_type, markup.row_link(page, int(key.owner), ref)))

    # --- Pages --------------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        protect = self.admin_site.admin_view
        own = [
            path(f"<int:pk>/{name}/", protect(view), name=f"{MODEL}_{name}")
            for name, view in (("edit", self.edit_view), ("value", self.value_view), ("remove", self.remove_view))
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of one key; there is nothing to save on it."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=403)
        key = self._find(request, int(object_id)) if object_id.isdecimal() and len(object_id) < 19 else None
        if key is None:
            return self.gone(request, object_id)
        caller = caller_at(request)
        return self.page(
            request, "admin/keys/key/page.html", key.ref,
            row=key, original=key, owner=self.of_owner(key), expires=markup.when(key.expires_at),
            updated=markup.when(key.updated), created=markup.when(key.created),
            may_edit=may(caller, "update", key), may_remove=may(caller, "delete", key),
            may_see=not key.encrypted or may(caller, "decrypt", key),
        )  # fmt: skip

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            return self._refused(request, "create keys", _page("changelist"))
        return self._form_page(request, None, "Add a key", back=_page("changelist"))

    def edit_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        key = self._find(request, pk)
        if key is None:
            return self.gone(request, pk)
        if not may(caller_at(request), "update", key):
            return self._refused(request, "change this key", _page("change", pk))
        return self._form_page(request, key, f"Edit {key.ref}", back=_page("change", pk))

    def value_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        key = self._find(request, pk)
        if key is None:
            return self.gone(request, pk)
        if key.encrypted and not may(caller_at(request), "decrypt", key):
            return self._refused(request, "decrypt this key", _page("change", pk))
        try:
            value = services.read_value(key, decrypt=True)
        except CannotDecrypt as error:
            self.message_user(request, f"It cannot be decrypted. {error}", messages.ERROR)
            return HttpResponseRedirect(_page("change", pk))
        shown = markup.code_block(value) if isinstance(value, str) else markup.json_block(value)
        return self.page(
            request, "admin/keys/key/value.html", f"Value of {key.ref}",
            row=key, original=key, value=shown, back=_page("change", pk),
        )  # fmt: skip

    def remove_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        key = self._find(request, pk)
        if key is None:
            return self.gone(request, pk)
        if not may(caller_at(request), "delete", key):
            return self._refused(request, "delete this key", _page("change", pk))
        return self.confirm(
            request, [key], title=f"Delete: {key.ref}", sentence="What needs it does not find it any more.",
            button="Delete", back=_page("change", pk), verb=lambda row, _reason: _deleted(row), with_reason=False,
            done="is deleted", then=lambda _answer: _page("changelist"),
        )  # fmt: skip

    def _find(self, request: HttpRequest, pk: int) -> Key | None:
        return visible_to(caller_at(request)).filter(pk=pk).first()

    def _refused(self, request: HttpRequest, what: str, back: str) -> HttpResponse:
        self.message_user(request, f"You may not {what}.", messages.ERROR)
        return HttpResponseRedirect(back)

    def _form_page(self, request: HttpRequest, key: Key | None, title: str, *, back: str) -> HttpResponse:
        form = KeyForm(request.POST if request.method == "POST" else None, key=key)
        if form.is_valid() and (saved := form.save(caller_at(request))) is not None:
            self.message_user(request, f"Key {saved.ref} was saved.", messages.SUCCESS)
            return HttpResponseRedirect(_page("change", saved.pk))
        return self.page(
            request, "admin/keys/key/form.html", title,
            original=key, form=form, back=back,
        )  # fmt: skip


def _page(name: str, *args: Any) -> str:
    return reverse(f"admin:{MODEL}_{name}", args=args)


def _deleted(key: Key) -> bool:
    services.delete_key(key)
    return True
