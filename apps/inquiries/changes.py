"""Make, change, cancel and delete inquiries by hand (api.md section 15)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.core.errors import Detail, UnprocessableEntity
from apps.core.schemas import check_budget, value_violations
from apps.executions.errors import ExecutionNotFound
from apps.executions.models import Execution
from apps.identity.models import Identity
from apps.inquiries import responding, rights
from apps.inquiries.audited import asked
from apps.inquiries.errors import AlreadyAsked
from apps.inquiries.models import Inquiry, InquiryStatus

if TYPE_CHECKING:
    from apps.identity.callers import Caller


@dataclass(frozen=True, kw_only=True)
class NewInquiry:
    """A question about an execution; ``assigned_to`` is the id of an identity."""

    execution: int
    prompt: str
    response_schema: Mapping[str, Any] | None = None
    assigned_to: int | None = None
    timeout_at: datetime | None = None
    validate_response: bool = False


@transaction.atomic
def create_inquiry(new: NewInquiry, *, caller: "Caller | None") -> Inquiry:
    """
    Ask a question about an execution, which goes on meanwhile.

    Raises ExecutionNotFound, AlreadyAsked, UnprocessableEntity for an unknown assignee or a schema that cannot be used.
    """
    if not Execution.objects.filter(pk=new.execution).exists():
        raise ExecutionNotFound(new.execution)
    if Inquiry.objects.filter(execution=new.execution).exists():
        raise AlreadyAsked(new.execution)
    _check_schema(new)
    _check_assignee(new.assigned_to)
    inquiry = Inquiry.objects.create(
        execution_id=new.execution,
        prompt=new.prompt,
        response_schema=new.response_schema,
        assigned_to_id=new.assigned_to,
        timeout_at=new.timeout_at,
        validate_response=new.validate_response,
    )
    asked("created", inquiry, by=caller)
    return inquiry


@transaction.atomic
def update_inquiry(inquiry_id: int, changes: Mapping[str, Any], *, caller: "Caller | None") -> Inquiry:
    """
    Change ``assigned_to``, ``status`` or ``response``; what is missing stays.

    A new status has the same effect as what it usually comes from: an answer, a deadline, a cancel; a response alone is
    an answer. Whoever gives it so must be one who may respond. Only a pending inquiry gets another status or an answer. Raises
    InquiryNotFound, Forbidden, UnprocessableEntity, ValidationFailed for the answer.
    """
    inquiry, execution = responding.locked(inquiry_id)
    if changes.get("assigned_to", inquiry.assigned_to_id) != inquiry.assigned_to_id:
        rights.check_no_loop(caller, inquiry)  # else it chose who says yes
        _check_assignee(changes["assigned_to"])
        inquiry.set(assigned_to_id=changes["assigned_to"])
        asked("updated", inquiry, by=caller, assigned_to=changes["assigned_to"])
    target = changes.get("status", InquiryStatus.RESPONDED if "response" in changes else inquiry.status)
    if target == inquiry.status and "response" not in changes:
        return inquiry
    _check_open(inquiry)
    if "response" in changes and target != InquiryStatus.RESPONDED:
        raise UnprocessableEntity("A response belongs to the status 'responded'")
    match target:
        case InquiryStatus.RESPONDED:
            rights.check_may_respond(caller, inquiry)
            responding.answer(inquiry, execution, changes.get("response"), caller=caller)
        case InquiryStatus.CANCELLED:
            responding.cancel(inquiry, execution, caller=caller)
        case _:
            responding.time_out(inquiry, execution)
    return inquiry


@transaction.atomic
def cancel_inquiry(inquiry_id: int, *, caller: "Caller | None") -> Inquiry:
    """Cancel a pending inquiry and the execution that waits for it. Raises InquiryNotFound, UnprocessableEntity."""
    inquiry, execution = responding.locked(inquiry_id)
    _check_open(inquiry)
    responding.cancel(inquiry, execution, caller=caller)
    return inquiry


@transaction.atomic
def delete_inquiry(inquiry_id: int, *, caller: "Caller | None") -> None:
    """Delete an inquiry; one that an execution waits for is cancelled first. Raises InquiryNotFound."""
    inquiry, execution = responding.locked(inquiry_id)
    if inquiry.status == InquiryStatus.PENDING:
        responding.cancel(inquiry, execution, caller=caller)
    asked("deleted", inquiry, by=caller)
    inquiry.delete()


def _check_open(inquiry: Inquiry) -> None:
    if inquiry.status != InquiryStatus.PENDING:
        raise UnprocessableEntity(f"Inquiry {inquiry.pk} is in status '{inquiry.status}' and stays so")


def _check_schema(new: NewInquiry) -> None:
    """A schema that answers are held against must be usable; one that only forms are made of must be small."""
    check_budget(new.response_schema)
    if new.validate_response:
        value_violations(new.response_schema, {})


def _check_assignee(identity_id: int | None) -> None:
    if identity_id is not None and not Identity.objects.filter(pk=identity_id).exists():
        message = f"There is no identity with id {identity_id}"
        raise UnprocessableEntity(message, details=[Detail(field="assigned_to", message=message)])
