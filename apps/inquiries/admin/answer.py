"""The form that answers an inquiry: a field for each value of its schema, or any JSON."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminExpandableTextareaWidget

from apps.core.parameter_text import read_json
from apps.core.schemas import fill_defaults
from apps.executions.admin.run import SchemaForm
from apps.inquiries.models import Inquiry

# What the buttons of a question without a schema say.
VERDICTS = {"approve": {"approved": True}, "deny": {"approved": False}}


class JsonField(forms.CharField):
    """Any JSON; None when empty."""

    widget = UnfoldAdminExpandableTextareaWidget

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return read_json(text) if text.strip() else None
        except ValueError as error:
            raise ValidationError(f"This is not JSON: {error}.") from None


class AnswerForm(SchemaForm):
    """An answer to one inquiry; ``response`` is it, once the form is valid."""

    as_json = JsonField(
        label="The answer as JSON", required=False,
        help_text='Any JSON, a text in quotation marks; it goes before everything else here.',
    )  # fmt: skip

    def __init__(self, data: Any = None, *, inquiry: Inquiry) -> None:
        super().__init__(data, schema=inquiry.response_schema)
        self.schema = inquiry.response_schema
        self.fields["as_json"].widget.attrs["placeholder"] = '{"approved": true}'

    def clean(self) -> dict[str, Any]:
        cleaned = dict(super().clean() or {})
        verdict = None if self.names else VERDICTS.get(str(self.data.get("verdict")))
        if cleaned.get("as_json") is None and verdict is None and not self.names and "as_json" not in self.errors:
            self.add_error("as_json", "Give an answer.")
        self.verdict = verdict
        return cleaned

    @property
    def response(self) -> Any:
        if (whole := self.cleaned_data["as_json"]) is not None:
            return whole
        return self.verdict or fill_defaults(self.schema, self.parameters())
