"""The form that makes and changes a rule; the service checks it, and its complaints go to the fields they are about."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.actions.models import Action
from apps.core.errors import AttuneError
from apps.events.models import Trigger
from apps.identity.callers import Caller
from apps.identity.grants import require_delegation
from apps.packs.models import Pack
from apps.rules import services
from apps.rules.admin.fields import ConditionsField, HoldingForm, ObjectField, as_text
from apps.rules.admin.hiding import hide, restore
from apps.rules.api.rules import BEYOND_OWN_ACCESS
from apps.rules.models import Rule

if TYPE_CHECKING:  # the theme has no types; its classes stand in for these
    from django.forms import TextInput
else:
    from unfold.widgets import UnfoldAdminTextInputWidget as TextInput

MOST_OFFERED = 500  # refs in a list of suggestions
NO_RIGHTS = "none"


class SuggestingInput(TextInput):
    """A text field that suggests refs while one types."""

    template_name = "admin/rules/suggesting_input.html"

    def __init__(self, model: Any, **attrs: str) -> None:
        super().__init__(attrs={"autocomplete": "off", "spellcheck": "false", **attrs})
        self.model = model

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, value, {**(attrs or {}), "list": f"{name}_known"})
        context["known"] = list(self.model.objects.order_by("ref").values_list("ref", flat=True)[:MOST_OFFERED])
        return context


class RightsField(forms.CharField):
    """Refs of permission sets parted by commas; nothing: the action's (null), ``none``: no token (an empty list)."""

    def clean(self, value: Any) -> list[str] | None:
        text = super().clean(value).strip()
        if not text:
            return None
        return [] if text == NO_RIGHTS else [ref.strip() for ref in text.split(",") if ref.strip()]

    @staticmethod
    def text_of(refs: list[str] | None) -> str:
        return "" if refs is None else (", ".join(refs) or NO_RIGHTS)


class RuleForm(HoldingForm):
    """What ``POST /rules`` and ``PUT /rules/{ref}`` take."""

    ref = forms.CharField(
        max_length=255, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "pack.name", "autocomplete": "off"})
    )
    pack_ref = forms.ChoiceField(label="Pack", widget=UnfoldAdminSelectWidget)
    label = forms.CharField(max_length=255, widget=UnfoldAdminTextInputWidget)
    description = forms.CharField(required=False, widget=UnfoldAdminExpandableTextareaWidget(attrs={"rows": 1}))
    enabled = forms.BooleanField(required=False, initial=True, widget=UnfoldBooleanSwitchWidget)

    trigger_ref = forms.CharField(label="Trigger", max_length=255, widget=SuggestingInput(Trigger))
    trigger_params = ObjectField(
        label="Settings of the trigger", required=False, help_text="JSON. Taken as it is: nothing is rendered."
    )
    conditions = ConditionsField(
        required=False,
        help_text="An expression such as event.payload.level >= 3 and 'prod' in event.payload.tags, or the JSON of a list of "
        '{"field", "operator", "value"}. Empty: always.',
    )
    action_ref = forms.CharField(label="Action", max_length=255, widget=SuggestingInput(Action))
    action_params = ObjectField(
        label="Parameters of the action", required=False,
        help_text='JSON. Templates are filled in from the event: {"message": "{{ event.payload.message }}"}',
    )  # fmt: skip

    priority = forms.IntegerField(
        required=False, min_value=-100, max_value=100, widget=UnfoldAdminIntegerFieldWidget,
        help_text="-100 to 100, higher starts first; empty: the action's",
    )  # fmt: skip
    permission_set_refs = RightsField(
        label="Rights of its executions", required=False, widget=UnfoldAdminTextInputWidget,
        help_text="Permission sets, parted by commas. Empty: the action's. none: no API token.",
    )  # fmt: skip
    alert_on_failure = forms.BooleanField(
        label="Raise an alert when an execution of this rule fails", required=False, widget=UnfoldBooleanSwitchWidget
    )

    FIRST = ("ref", "pack_ref", "label", "description", "enabled")
    WHEN = ("trigger_ref", "trigger_params", "conditions")
    THEN = ("action_ref", "action_params")
    HOW = ("priority", "permission_set_refs", "alert_on_failure")

    def __init__(self, data: Any = None, *, rule: Rule | None, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, initial={**(initial or {}), **(initial_of(rule) if rule is not None else {})})
        self.rule = rule
        packs = Pack.objects.order_by("ref").values_list("ref", flat=True)
        self.fields["pack_ref"].choices = [(ref, ref) for ref in packs]  # type: ignore[attr-defined]
        for name in ("conditions", "trigger_params", "action_params"):
            self.fields[name].widget.attrs["spellcheck"] = "false"
        if rule is not None:
            del self.fields["ref"], self.fields["pack_ref"]  # they never change

    def group(self, names: tuple[str, ...]) -> list[forms.BoundField]:
        return [self[name] for name in names if name in self.fields]

    def first(self) -> list[forms.BoundField]:
        return self.group(self.FIRST)

    def when(self) -> list[forms.BoundField]:
        return self.group(self.WHEN)

    def then(self) -> list[forms.BoundField]:
        return self.group(self.THEN)

    def how(self) -> list[forms.BoundField]:
        return self.group(self.HOW)

    @property
    def how_is_used(self) -> bool:
        return any(self[name].value() not in (None, "", False) or self[name].errors for name in self.HOW)

    # --- Saving -------------------------------------------------------------------------------------------------

    def save(self, caller: Caller) -> Rule | None:
        """Make or change the rule as this caller; None when the service refuses it, which the form then says."""
        try:
            return self._save(caller)
        except AttuneError as error:
            self._complain(error)
        except ValidationError as error:  # of the row's own fields
            for name, problems in error.message_dict.items():
                for problem in problems:
                    self.add_error(name if name in self.fields else None, problem)
        return None

    def _save(self, caller: Caller) -> Rule:
        given = {name: value for name, value in self.cleaned_data.items() if not self._is_holding(name)}
        values = {**given, **self.holding(), "description": given["description"] or None, **self._with_secrets(given)}
        self._check_rights(caller, values)
        if self.rule is None:
            return services.create_rule(**values, owner=caller.identity)
        return services.update_rule(self.rule.pk, values)

    def _check_rights(self, caller: Caller, values: dict[str, Any]) -> None:
        """Raise Forbidden for a rule the caller may not make, and for rights that it cannot pass on."""
        if self.rule is None:
            caller.require("rules:create", values)
        if self.rule is None or values["permission_set_refs"] != self.rule.permission_set_refs:
            require_delegation(caller, values["permission_set_refs"], BEYOND_OWN_ACCESS)

    def _is_holding(self, name: str) -> bool:
        kind, _, rest = name.partition("_")
        return rest in self.HOLDING.get(kind, ())

    def _with_secrets(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters with what was shown as stars as it is kept."""
        if self.rule is None:
            return {}
        trigger = Trigger.objects.filter(ref=given["trigger_ref"]).first()
        action = Action.objects.filter(ref=given["action_ref"]).first()
        return {
            "trigger_params": restore(
                trigger and trigger.param_schema, given["trigger_params"], self.rule.trigger_params
            ),
            "action_params": restore(action and action.param_schema, given["action_params"], self.rule.action_params),
        }

    def _complain(self, error: AttuneError) -> None:
        for detail in error.details or []:
            first, _, rest = detail["field"].partition(".")
            both = f"{first}_{rest}"
            name = both if both in self.fields else first
            self.add_error(name if name in self.fields else None, detail["message"])
        if not error.details:
            noun = error.message.partition(" ")[0].lower()
            name = {"trigger": "trigger_ref", "action": "action_ref", "rule": "ref"}.get(noun, "")
            self.add_error(name if name in self.fields else None, error.message)


def initial_of(rule: Rule) -> dict[str, Any]:
    """Return what the form shows of a rule."""
    trigger_schema = rule.trigger.param_schema if rule.trigger is not None else None
    action_schema = rule.action.param_schema if rule.action is not None else None
    plain = ("label", "description", "enabled", "trigger_ref", "action_ref", "priority", "alert_on_failure")
    return {
        **{name: getattr(rule, name) for name in plain},
        "conditions": ConditionsField.text_of(rule.conditions),
        "trigger_params": as_text(hide(trigger_schema, rule.trigger_params)) if rule.trigger_params else "",
        "action_params": as_text(hide(action_schema, rule.action_params)) if rule.action_params else "",
        "permission_set_refs": RightsField.text_of(rule.permission_set_refs),
        **HoldingForm.holding_initial(rule),
    }
