"""Answers as they are stored: what a response schema calls secret is kept apart (auth.md section 10)."""

from typing import Any

from apps.core.errors import ValidationFailed
from apps.core.markers import holds_marker, marked, restored
from apps.core.schemas import secret_paths, value_violations
from apps.executions.models import Execution
from apps.inquiries.models import Inquiry
from apps.keys import secret_store
from apps.keys.models import SecretSource

INQUIRY_RESPONSE = "inquiry_response"  # entity type of the values kept apart


def check_answer(inquiry: Inquiry, response: Any) -> None:
    """Raise ValidationFailed for a marker, and, where the inquiry wants that, for what its schema does not allow."""
    if holds_marker(response):
        message = "A redaction marker is no value: give the secret itself."
        raise ValidationFailed(details=[{"field": "response", "message": message}])
    if not inquiry.validate_response or inquiry.response_schema is None:
        return
    found = value_violations(inquiry.response_schema, response, subject="response")
    if found:
        raise ValidationFailed(
            "; ".join(violation.message for violation in found),
            details=[
                {"field": f"response.{violation.field}".rstrip("."), "message": violation.message}
                for violation in found
            ],
        )


def keep_answer(inquiry: Inquiry, execution: Execution, response: Any, *, in_result: bool) -> Any:
    """Return the answer with markers for its secrets; they are kept, for the result of its execution as well."""
    shown, values = marked(response, secret_paths(inquiry.response_schema, response))
    source = {"source_kind": SecretSource.RESULT, "source_ref": execution.action_ref}
    if values:
        secret_store.replace(INQUIRY_RESPONSE, inquiry.pk, values, **source)
    if values and in_result:
        in_its_result = {f"/response{place}": value for place, value in values.items()}
        secret_store.replace(secret_store.EXECUTION_RESULT, execution.pk, in_its_result, **source)
    return shown


def real_answer(inquiry: Inquiry) -> Any:
    """Return the answer with its secret values. Raises CannotDecrypt, UnknownKey."""
    if not holds_marker(inquiry.response):
        return inquiry.response
    return restored(inquiry.response, secret_store.get(INQUIRY_RESPONSE, inquiry.pk))


def forget_answer(*, instance: Inquiry, **_signal: Any) -> None:
    """An inquiry's secrets go with it, in the transaction of its deletion."""
    if holds_marker(instance.response):
        secret_store.forget(INQUIRY_RESPONSE, [instance.pk])
