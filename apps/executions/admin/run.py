"""The form that runs an action: a field for each parameter of its schema, or plain JSON."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.actions.models import Action
from apps.core.errors import AttuneError
from apps.core.parameter_text import Parameter, declared_parameters, read_json, text_of, value_of
from apps.executions.api.requests import BEYOND_OWN_ACCESS
from apps.executions.models import Execution
from apps.executions.parameters import parameters_of
from apps.executions.services import ExecutionRequest, request_execution
from apps.identity.callers import Caller
from apps.identity.grants import require_delegation
from apps.workers.environment_names import check_env_vars

LONGEST_SHOWN_DEFAULT = 60
KINDS_AS_TEXT = {
    "integer": "a whole number",
    "number": "a number",
    "array": "a JSON list",
    "object": "a JSON object",
}


def _is_choice(parameter: Parameter) -> bool:
    return bool(parameter.choices) or parameter.kind == "boolean"


def _hint(parameter: Parameter) -> str:
    """Return the line below a field: what it is for, what it may be, what happens when it stays empty."""
    parts = [parameter.description, KINDS_AS_TEXT.get(parameter.kind, "")]
    for keyword, words in (("minimum", "at least {}"), ("maximum", "at most {}"), ("pattern", "matches {}")):
        if keyword in parameter.spec:
            parts.append(words.format(parameter.spec[keyword]))
    if parameter.has_default and not parameter.secret and not _is_choice(parameter):
        default = text_of(parameter.default)
        shown = default if len(default) <= LONGEST_SHOWN_DEFAULT else default[:LONGEST_SHOWN_DEFAULT] + "…"
        parts.append(f"default {shown}" if shown else "default: empty text")
    return " · ".join(part for part in parts if part)


def _widget(parameter: Parameter) -> Any:
    placeholder = text_of(parameter.default) if parameter.has_default and not parameter.secret else ""
    attrs = {"placeholder": placeholder}
    if parameter.secret:
        return UnfoldAdminPasswordWidget(attrs={"autocomplete": "off"})
    if _is_choice(parameter):
        choices = [text_of(choice) for choice in parameter.choices] or ["true", "false"]
        empty = f"{placeholder} (default)" if placeholder else "– not given –"
        return UnfoldAdminSelectWidget(choices=[("", empty), *((choice, choice) for choice in choices)])
    match parameter.kind:
        case "integer" | "number":
            return UnfoldAdminTextInputWidget(attrs={**attrs, "inputmode": "decimal", "autocomplete": "off"})
        case _:
            return UnfoldAdminExpandableTextareaWidget(attrs=attrs)


class ParameterField(forms.CharField):
    """Text that becomes the value the schema asks for; an empty field is a parameter that is not given."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        super().__init__(
            label=parameter.name,
            required=parameter.required and not parameter.has_default,
            strip=False,
            help_text=_hint(parameter),
            widget=_widget(parameter),
        )

    def clean(self, value: Any) -> Any:
        text = super().clean(value).replace("\r\n", "\n")  # how browsers send a line break
        if not text:
            return None
        try:
            return value_of(self.parameter, text)
        except ValueError as error:
            raise ValidationError(f"{self.parameter.name} {error}.") from None


class JsonObjectField(forms.CharField):
    """A JSON object; None when empty."""

    widget = UnfoldAdminExpandableTextareaWidget

    def clean(self, value: Any) -> dict[str, Any] | None:
        text = super().clean(value)
        if not text.strip():
            return None
        try:
            found = read_json(text)
        except ValueError as error:
            raise ValidationError(f"This is not JSON: {error}.") from None
        if not isinstance(found, dict):
            raise ValidationError('This must be a JSON object such as {"message": "hello"}.')
        return found


class SchemaForm(forms.Form):
    """A field for each value that a schema declares; or all of them as JSON, which is taken instead."""

    as_json: forms.CharField = JsonObjectField(
        label="All parameters as JSON", required=False,
        help_text="When this is filled in, the fields above are ignored.",
    )  # fmt: skip

    def __init__(self, data: Any = None, *, schema: Any, given: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        self.names: dict[str, str] = {}  # field -> parameter: a parameter's name may be anything
        left = dict(given or {})
        for number, parameter in enumerate(declared_parameters(schema)):
            field = f"parameter_{number}"
            self.names[field] = parameter.name
            self.fields[field] = ParameterField(parameter)
            value = left.pop(parameter.name, None)
            if value is not None and not parameter.secret:
                self.initial[field] = text_of(value)
        self.fields["as_json"].widget.attrs["placeholder"] = '{"name": "value"}'
        # What no field stands for can only be given as JSON.
        if left:
            self.initial["as_json"] = text_of(given)

    def parameter_fields(self) -> Iterator[forms.BoundField]:
        return (self[field] for field in self.names)

    def parameters(self) -> dict[str, Any]:
        """Return what was given; a field left empty was not."""
        if (whole := self.cleaned_data["as_json"]) is not None:
            return dict(whole)
        values = {name: self.cleaned_data[field] for field, name in self.names.items()}
        return {name: value for name, value in values.items() if value is not None}

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]  # the stubs leave it out
        if self.cleaned_data.get("as_json") is not None:
            for field in self.names:  # the JSON replaces them, so what they hold does not matter
                self.errors.pop(field, None)


class RunForm(SchemaForm):
    """What ``POST /executions/execute`` takes, as far as people set it by hand."""

    env_vars = JsonObjectField(
        label="Environment variables",
        required=False,
        help_text='As JSON: {"NAME": "value"}. They are not shown again.',
    )
    priority = forms.IntegerField(
        required=False, min_value=-100, max_value=100, widget=UnfoldAdminIntegerFieldWidget,
        help_text="-100 to 100, higher starts first",
    )  # fmt: skip
    timeout_seconds = forms.IntegerField(
        label="Time limit", required=False, min_value=1, max_value=604_800, widget=UnfoldAdminIntegerFieldWidget,
        help_text="In seconds",
    )  # fmt: skip
    delay_seconds = forms.IntegerField(
        label="Start after", required=False, min_value=0, max_value=2_592_000, widget=UnfoldAdminIntegerFieldWidget,
        help_text="In seconds from now",
    )  # fmt: skip
    validate = forms.BooleanField(
        label="Check the parameters against the schema first", required=False, initial=True,
        widget=UnfoldBooleanSwitchWidget,
    )  # fmt: skip

    def __init__(self, data: Any = None, *, action: Action, earlier: Execution | None = None) -> None:
        given = parameters_of(earlier.config, action.param_schema) if earlier is not None else {}
        super().__init__(data, schema=action.param_schema, given=given)
        self.action = action
        self.fields["priority"].widget.attrs["placeholder"] = str(action.priority)
        self.fields["timeout_seconds"].widget.attrs["placeholder"] = str(action.timeout_seconds or "")

    def clean_env_vars(self) -> dict[str, str] | None:
        given: dict[str, Any] | None = self.cleaned_data["env_vars"]
        problems = [f"{name} {problem}." for name, problem in check_env_vars(given or {}).items()]
        if problems:
            raise ValidationError(problems)
        return given


def run_action(form: RunForm, caller: Caller) -> Execution | None:
    """Ask for the execution that a valid form describes; None when it is refused, which the form then says."""
    given = form.cleaned_data
    delay = given["delay_seconds"]
    try:
        require_delegation(caller, form.action.default_execution_permission_set_refs, BEYOND_OWN_ACCESS)
        return request_execution(
            ExecutionRequest(
                action=form.action,
                parameters=form.parameters(),
                env_vars=given["env_vars"],
                executor=caller.identity,
                priority=given["priority"],
                timeout_seconds=given["timeout_seconds"],
                not_before=timezone.now() + timedelta(seconds=delay) if delay else None,
                validate=given["validate"],
                refuse_when_full=True,
            )
        )
    except AttuneError as error:
        form.add_error(None, error.message)
        return None
