"""
Answer an inquiry, or end it without an answer; the execution that waits for it ends in the same transaction.

Every transaction begins with the lock on the root of the execution's tree, so of two that answer at once one wins.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from django.db import transaction

from apps.core import clock
from apps.core.collisions import despite_others
from apps.executions import trees
from apps.executions.models import Execution
from apps.inquiries import children, rights
from apps.inquiries.answers import check_answer, keep_answer
from apps.inquiries.audited import asked
from apps.inquiries.errors import InquiryNotFound, NotPending, PastDeadline
from apps.inquiries.models import Inquiry, InquiryStatus

if TYPE_CHECKING:
    from apps.identity.callers import Caller

SWEEP = "sweep"


def respond(inquiry_id: int, response: Any, *, caller: "Caller | None") -> Inquiry:
    """
    Store the answer and let the execution that waits for it go on; return the inquiry.

    ``caller`` None: an operator at the shell. Raises InquiryNotFound, Forbidden, NotPending, PastDeadline (the inquiry
    has timed out then), ValidationFailed.
    """
    inquiry = despite_others(partial(_respond, inquiry_id, response, caller))
    if inquiry.status == InquiryStatus.TIMEOUT:  # outside of the transaction, which has said so
        raise PastDeadline(inquiry_id, inquiry.timeout_at)
    return inquiry


@transaction.atomic
def _respond(inquiry_id: int, response: Any, caller: "Caller | None") -> Inquiry:
    inquiry, execution = locked(inquiry_id)
    rights.check_may_respond(caller, inquiry)
    if inquiry.status != InquiryStatus.PENDING:
        raise NotPending(inquiry_id, inquiry.status)
    if inquiry.timeout_at is not None and inquiry.timeout_at <= clock.now():
        time_out(inquiry, execution)
    else:
        answer(inquiry, execution, response, caller=caller)
    return inquiry


def locked(inquiry_id: int) -> tuple[Inquiry, Execution]:
    """Lock the tree, the execution and the inquiry; return the last two as they are then. Raises InquiryNotFound."""
    execution_id = Inquiry.objects.filter(pk=inquiry_id).values_list("execution_id", flat=True).first()
    execution = trees.locked(execution_id) if execution_id is not None else None
    inquiry = Inquiry.objects.select_for_update(no_key=True).filter(pk=inquiry_id).first()
    if execution is None or inquiry is None:
        raise InquiryNotFound(inquiry_id)
    return inquiry, execution


def answer(inquiry: Inquiry, execution: Execution, response: Any, *, caller: "Caller | None") -> None:
    """Make a pending inquiry ``responded``, under its lock. Raises ValidationFailed."""
    check_answer(inquiry, response)
    goes_on = children.is_asking(execution)
    inquiry.set(
        status=InquiryStatus.RESPONDED,
        response=keep_answer(inquiry, execution, response, in_result=goes_on),
        responded_at=clock.now(),
        responded_by_id=caller.identity_id if caller is not None else None,
    )
    if goes_on:
        children.complete(execution, inquiry, actor=actor_of(caller))
    asked("responded", inquiry, by=caller)


def time_out(inquiry: Inquiry, execution: Execution) -> None:
    """Make a pending inquiry ``timeout``, under its lock."""
    inquiry.set(status=InquiryStatus.TIMEOUT)
    if children.is_asking(execution):
        children.time_out(execution, inquiry, actor=SWEEP)


def cancel(inquiry: Inquiry, execution: Execution, *, caller: "Caller | None") -> None:
    """Make a pending inquiry ``cancelled``, under its lock."""
    inquiry.set(status=InquiryStatus.CANCELLED)
    if children.is_asking(execution):
        children.cancel(execution, actor=actor_of(caller))
    asked("cancelled", inquiry, by=caller)


def actor_of(caller: "Caller | None") -> str:
    return "system" if caller is None else f"identity:{caller.identity_id}"
