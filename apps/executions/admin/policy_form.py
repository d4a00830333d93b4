"""The form that makes and changes a policy; the service checks it, and its complaints go to the fields they are about."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.actions.models import Policy, PolicyMethod
from apps.actions.policies import services
from apps.actions.policies.access import Scope, require_update, scope_of
from apps.core.errors import AttuneError
from apps.core.refs import validate_policy_ref
from apps.identity.callers import Caller

_ONCE = ("ref", "action_ref", "pack_ref", "semaphore")  # never change


class NamesField(forms.CharField):
    """Names parted by commas."""

    widget = UnfoldAdminTextInputWidget

    def clean(self, value: Any) -> list[str]:
        return [name.strip() for name in super().clean(value).split(",") if name.strip()]

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value


def _number(label: str, help_text: str = "", most: int = 2**31 - 1) -> forms.IntegerField:
    return forms.IntegerField(
        label=label, required=False, min_value=1, max_value=most, widget=UnfoldAdminIntegerFieldWidget,
        help_text=help_text,
    )  # fmt: skip


def _text(label: str, help_text: str = "", *, required: bool = False, **options: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=required,
        max_length=255,
        widget=UnfoldAdminTextInputWidget,
        help_text=help_text,
        **options,
    )


class PolicyForm(forms.Form):
    """What ``POST /policies`` and ``PUT /policies/{ref}`` take."""

    ref = _text("Ref", required=True, validators=[validate_policy_ref])
    name = _text("Name", required=True)
    description = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget)
    enabled = forms.BooleanField(required=False, initial=True, widget=UnfoldBooleanSwitchWidget)
    action_ref = _text("Action", "One of these four at most; without any it limits everything.")
    pack_ref = _text("Pack")
    action_refs = NamesField(label="Several actions", required=False, help_text="Refs, parted by commas.")
    semaphore = _text("Semaphore", "All actions that list this name.")
    threshold = _number("At the same time")
    max_executions = _number("Starts")
    window_seconds = _number("in so many seconds", most=2_592_000)
    max_waiting = _number("Waiting", "Beyond it requests are refused.")
    parameters = NamesField(
        label="For each value of", required=False,
        help_text="Parameters, parted by commas: each combination of their values has the limits for itself.",
    )  # fmt: skip
    method = forms.ChoiceField(
        label="What is over the limit", widget=UnfoldAdminSelectWidget, initial="enqueue",
        choices=[(PolicyMethod.ENQUEUE, "waits"), (PolicyMethod.CANCEL, "is cancelled")],
    )  # fmt: skip
    tags = NamesField(label="Tags", required=False)

    def __init__(self, data: Any = None, *, policy: Policy | None, initial: dict[str, Any] | None = None) -> None:
        names = [name for name in self.base_fields if name not in _ONCE]
        known = {name: getattr(policy, name) for name in names} if policy is not None else {}
        super().__init__(data, initial={**(initial or {}), **known})
        self.policy = policy
        if policy is not None:
            for name in _ONCE if policy.action_refs else (*_ONCE, "action_refs"):
                del self.fields[name]

    def save(self, caller: Caller) -> Policy | None:
        """Make or change the policy as this caller; None when it is refused, which the form then says."""
        try:
            return self._save(caller)
        except AttuneError as error:
            for detail in error.details or [{"field": "", "message": error.message}]:
                self.add_error(detail["field"] if detail["field"] in self.fields else None, detail["message"])
        except ValidationError as error:  # of the row's own fields
            for name, problems in error.message_dict.items():
                for problem in problems:
                    self.add_error(name if name in self.fields else None, problem)
        return None

    def _save(self, caller: Caller) -> Policy:
        values = {**self.cleaned_data, "description": self.cleaned_data["description"] or None}
        if self.policy is not None:
            require_update(caller, scope_of(self.policy))
            if values.get("action_refs"):
                require_update(caller, Scope(action_refs=tuple(values["action_refs"])))
            return services.update_policy(self.policy.pk, values)
        scope = Scope(
            action_ref=values.pop("action_ref") or None,
            pack_ref=values.pop("pack_ref") or None,
            action_refs=tuple(values.pop("action_refs")),
            semaphore=values.pop("semaphore") or None,
        )
        require_update(caller, scope)
        return services.create_policy(scope=scope, **values)
