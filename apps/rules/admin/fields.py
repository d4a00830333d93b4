"""Form fields for what rules are made of: JSON, conditions, the settings that hold matches back."""

import json
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.core.parameter_text import read_json
from apps.rules.holding import holding_problems

LONGEST_WINDOW_SECONDS = 604_800


def as_text(value: Any) -> str:
    """Return JSON as one edits it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


class JsonField(forms.CharField):
    """Any JSON value; ``NOTHING`` when empty, since null is a value."""

    NOTHING: ClassVar[Any] = object()
    widget = UnfoldAdminExpandableTextareaWidget

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text.strip():
            return self.NOTHING
        try:
            return read_json(text)
        except ValueError as error:
            raise ValidationError(f"This is not JSON: {error}.") from None


class ObjectField(JsonField):
    """A JSON object, an empty one when empty."""

    def clean(self, value: Any) -> dict[str, Any]:
        found = super().clean(value)
        if found is self.NOTHING:
            return {}
        if not isinstance(found, dict):
            raise ValidationError('This must be a JSON object such as {"message": "hello"}.')
        return found


class ConditionsField(forms.CharField):
    """Conditions: an expression as it is, or the JSON of a list or of a combination."""

    widget = UnfoldAdminExpandableTextareaWidget

    @staticmethod
    def text_of(conditions: Any) -> str:
        """Return conditions as the field shows them."""
        if not conditions:
            return ""
        if isinstance(conditions, dict) and conditions.keys() == {"expression"}:
            expression = conditions["expression"]
            if isinstance(expression, str) and expression.strip() and not _looks_like_json(expression):
                return expression
        return as_text(conditions)

    def clean(self, value: Any) -> Any:
        text = super().clean(value).strip().replace("\r\n", "\n")
        if not text:
            return {}
        if not _looks_like_json(text):
            return {"expression": text}
        try:
            found = read_json(text)
        except ValueError as error:
            raise ValidationError(
                f"This is not JSON: {error}. Write an expression as it is, without brackets."
            ) from None
        if not isinstance(found, dict | list):
            raise ValidationError("This must be an expression, or a JSON object or list.")
        return found


def _looks_like_json(text: str) -> bool:
    text = text.lstrip()
    return text.startswith("[") or (text.startswith("{") and not text.startswith("{{"))


# --- Dedupe, aggregate, throttle ---------------------------------------------------------------------------------


def _key(help_text: str) -> forms.CharField:
    return forms.CharField(
        label="Key", required=False, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "{{ event.payload.host }}"}),
        help_text=help_text,
    )  # fmt: skip


def _number(label: str, lowest: int, highest: int = 2**31 - 1, help_text: str = "") -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        required=False,
        min_value=lowest,
        max_value=highest,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text=help_text,
    )


def _seconds() -> forms.IntegerField:
    return _number("Within seconds", 1, LONGEST_WINDOW_SECONDS)


class HoldingForm(forms.Form):
    """The fields of dedupe, aggregate and throttle; an object none of whose fields is filled in is null."""

    dedupe_key = _key("An event whose key came already within this time is dropped.")
    dedupe_window_seconds = _seconds()
    dedupe_extend = forms.BooleanField(
        label="A dropped event starts the time again", required=False, widget=UnfoldBooleanSwitchWidget
    )
    aggregate_count = _number("Events", 2, 10_000, "It fires with the last of so many.")
    aggregate_window_seconds = _seconds()
    aggregate_key = _key("Events with the same key count together.")
    throttle_max = _number("At most", 1, help_text="So many times in any such span.")
    throttle_window_seconds = _seconds()
    throttle_key = _key("Each key has its own limit.")
    throttle_on_limit = forms.ChoiceField(
        label="Above the limit",
        required=False,
        choices=[("", "drop"), ("delay", "delay")],
        widget=UnfoldAdminSelectWidget,
    )
    throttle_max_delayed = _number("Delay at most", 0, help_text="More are dropped; 1000 when empty.")

    HOLDING: ClassVar[dict[str, tuple[str, ...]]] = {
        "dedupe": ("key", "window_seconds", "extend"),
        "aggregate": ("count", "window_seconds", "key"),
        "throttle": ("max", "window_seconds", "key", "on_limit", "max_delayed"),
    }
    TITLES: ClassVar[dict[str, str]] = {
        "dedupe": "Drop repetitions",
        "aggregate": "Wait for several events",
        "throttle": "Limit how often it fires",
    }

    def holding_groups(self) -> list[dict[str, Any]]:
        """Return the fields as the template lays them out."""
        return [
            {"title": self.TITLES[kind], "fields": [self[f"{kind}_{name}"] for name in names]}
            for kind, names in self.HOLDING.items()
        ]

    @property
    def holds_back(self) -> bool:
        """Whether one of the fields is filled in or wrong, so that they should be seen."""
        names = [f"{kind}_{name}" for kind, names in self.HOLDING.items() for name in names]
        return any(self[name].value() not in (None, "", False) or self[name].errors for name in names)

    def holding(self) -> dict[str, dict[str, Any] | None]:
        """Return the three objects, null where nothing is filled in."""
        return {kind: self._object(kind, names) for kind, names in self.HOLDING.items()}

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        for kind, settings in self.holding().items():
            for field, problem in holding_problems(kind, settings):
                name = field.replace(".", "_")
                if name not in self.errors:
                    self.add_error(name, problem)
        return given

    def _object(self, kind: str, names: tuple[str, ...]) -> dict[str, Any] | None:
        given = {name: self.cleaned_data.get(f"{kind}_{name}") for name in names}
        return {name: value for name, value in given.items() if value not in (None, "", False)} or None

    @classmethod
    def holding_initial(cls, rule: Any) -> dict[str, Any]:
        """Return what the fields show of a rule."""
        return {
            f"{kind}_{name}": (getattr(rule, kind) or {}).get(name)
            for kind, names in cls.HOLDING.items()
            for name in names
        }
