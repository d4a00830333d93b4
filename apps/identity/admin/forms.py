"""What people type about identities and permission sets."""

import json
from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
)

from apps.core.api.query import parse_moment
from apps.core.errors import AttuneError
from apps.core.parameter_text import read_json
from apps.identity import protection, rights, services
from apps.identity.callers import Caller
from apps.identity.grants import assigned_sets, problems
from apps.identity.models import Identity, PermissionSet
from apps.identity.services.identities import LONGEST_ROLE


class RoleLines(forms.CharField):
    """Names of roles, one on each line."""

    widget = UnfoldAdminExpandableTextareaWidget(attrs={"rows": 1})

    def to_python(self, value: Any) -> Any:
        roles = [line.strip() for line in (super().to_python(value) or "").splitlines() if line.strip()]
        if any(len(role) > LONGEST_ROLE for role in roles):
            raise forms.ValidationError(f"A role has at most {LONGEST_ROLE} characters.")
        return list(dict.fromkeys(roles))

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else "\n".join(value or ())


class JSONText(forms.CharField):
    """JSON, indented."""

    widget = UnfoldAdminExpandableTextareaWidget(attrs={"rows": 1, "spellcheck": "false"})

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        try:
            return read_json(text) if text else None
        except ValueError as error:
            raise forms.ValidationError(f"Not JSON: {error}") from None


class IdentityForm(forms.ModelForm):
    """A new identity, or another name, password, attributes and rights for one."""

    password = forms.CharField(
        required=False, strip=False, widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="8 to 128 characters.",
    )  # fmt: skip
    password_again = forms.CharField(
        required=False, strip=False, widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
    )
    attributes_text = JSONText(
        required=False, label="Attributes", help_text="A JSON object; grants may ask for one of them."
    )
    permission_sets = forms.ModelMultipleChoiceField(
        PermissionSet.objects.order_by("ref"), required=False, to_field_name="ref",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )  # fmt: skip
    role_names = RoleLines(
        required=False, label="Roles", help_text="One on each line. A role gives the permission sets that name it."
    )

    class Meta:
        model = Identity
        fields = ("login", "display_name")
        widgets = {"login": UnfoldAdminTextInputWidget, "display_name": UnfoldAdminTextInputWidget}

    # Set by the page.
    asked_by: Caller
    left_out: frozenset[str] = frozenset()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self.left_out:
            del self.fields[name]
        if self.instance.pk is None:
            return
        if "password" in self.fields:
            self.fields["password"].help_text = "Leave it empty to keep the password. 8 to 128 characters."
        self.initial["permission_sets"] = [held.ref for held in assigned_sets(self.instance)]
        self.initial["role_names"] = [held.role for held in self.instance.roles.all() if not held.managed]
        self.initial["attributes_text"] = json_text(self.instance.attributes or {})

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
        if self.instance.pk is not None and password:
            self._check("password", lambda: protection.require_power_over(self.instance, by=self.asked_by))
        return given

    def clean_attributes_text(self) -> Any:
        attributes = self.cleaned_data["attributes_text"]
        attributes = {} if attributes is None else attributes
        if not isinstance(attributes, dict):
            raise forms.ValidationError("Must be a JSON object.")
        if self.instance.pk is not None:
            self._check("", lambda: protection.check_attributes(self.instance, attributes, by=self.asked_by))
        return attributes

    def clean_permission_sets(self) -> Any:
        chosen = self.cleaned_data["permission_sets"]
        self._check("", lambda: rights.check_own(self.instance, [held.ref for held in chosen], by=self.asked_by))
        return chosen

    def _check(self, field: str, check: Any) -> None:
        try:
            check()
        except AttuneError as error:
            if not field:
                raise forms.ValidationError(error.message) from None
            self.add_error(field, error.message)


class PermissionSetForm(forms.ModelForm):
    """Other grants for a set, and the roles that give it."""

    grants_text = JSONText(
        required=False,
        label="Grants",
        help_text='A JSON list of {"resource": ..., "actions": [...], "constraints": {...}}.',
    )
    role_names = RoleLines(required=False, label="Given by roles", help_text="One on each line.")

    class Meta:
        model = PermissionSet
        fields = ("label", "description")
        widgets = {
            "label": UnfoldAdminTextInputWidget,
            "description": UnfoldAdminExpandableTextareaWidget(attrs={"rows": 1}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["grants_text"] = json_text(self.instance.grants or [])
        self.initial["role_names"] = [given.role for given in self.instance.roles.all()]

    def clean_grants_text(self) -> Any:
        grants = self.cleaned_data["grants_text"]
        grants = [] if grants is None else grants
        # What came with a pack may say more than a person may write; it is kept as long as nobody changes it.
        if grants != (self.instance.grants or []) and (found := problems(grants)):
            raise forms.ValidationError(found)
        return grants


class IntegrationTokenForm(forms.Form):
    """What ``POST /identities/{id}/integration-tokens`` takes."""

    login = forms.CharField(
        max_length=255, label="Identity", help_text="Its login.", widget=UnfoldAdminTextInputWidget
    )
    label = forms.CharField(max_length=255, help_text="What it is for.", widget=UnfoldAdminTextInputWidget)
    description = forms.CharField(
        required=False, max_length=2000, widget=UnfoldAdminExpandableTextareaWidget(attrs={"rows": 1})
    )
    expires_at = forms.CharField(
        required=False, label="Expires", help_text="UTC, such as 2027-01-31 or 2027-01-31T12:00:00Z; nothing: never.",
        widget=UnfoldAdminTextInputWidget,
    )  # fmt: skip

    def __init__(self, *args: Any, identities: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.identities = identities  # those that the caller may see

    def clean_login(self) -> Identity:
        found: Identity | None = self.identities.filter(login=self.cleaned_data["login"]).first()
        if found is None:
            raise forms.ValidationError("There is no such identity.")
        return found

    def clean_expires_at(self) -> Any:
        text = self.cleaned_data["expires_at"].strip()
        found = parse_moment(text) if text else None
        if text and found is None:
            raise forms.ValidationError("Not a time such as 2027-01-31T12:00:00Z.")
        return found


def json_text(value: Any) -> str:
    """Return JSON as people read it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
