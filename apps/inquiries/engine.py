"""Runs executions of ``core.ask``: no worker is involved, a person ends them (workflows.md section 11)."""

from typing import Any

from apps.core import clock, sql
from apps.executions.engines import ASK_REF
from apps.executions.models import Execution
from apps.identity.models import Identity
from apps.inquiries import children
from apps.inquiries.models import Inquiry, InquiryStatus
from apps.inquiries.questions import BadQuestion, question_of

OUTSIDE = f"{ASK_REF} works only as a task of a workflow: nothing would wait for the answer here"


class InquiryEngine:
    """The engine (``executions.engines.Engine``) of questions to people."""

    def start(self, execution: Execution) -> None:
        if execution.workflow_task is None:
            children.fail(execution, OUTSIDE)
            return
        try:
            inquiry = _ask(execution)
        except BadQuestion as error:
            children.fail(execution, f"The question cannot be asked: {error}")
            return
        result = {"inquiry_id": inquiry.pk, "status": InquiryStatus.PENDING.value}
        sql.update(Execution, {"result": result, "updated": clock.now()}, "id = %s", [execution.pk])
        execution.result = result

    def cancel(self, execution: Execution, *, by: Identity | None, reason: str) -> None:
        Inquiry.objects.pending().filter(execution=execution.pk).update(status=InquiryStatus.CANCELLED)
        children.cancel(execution, actor="inquiry", reason=reason or None)

    def waits_for(self, execution: Execution) -> list[dict[str, Any]]:
        inquiry = Inquiry.objects.select_related("assigned_to").filter(execution=execution.pk).first()
        who = inquiry.assigned_to.login if inquiry is not None and inquiry.assigned_to is not None else "somebody"
        deadline = inquiry.timeout_at if inquiry is not None else None
        until = f" until {clock.as_text(deadline)}" if deadline is not None else ""
        return [
            {
                "code": "inquiry_pending",
                "message": f"Waits for {who} to answer{until}",
                "since": clock.as_text(inquiry.created if inquiry is not None else execution.started_at),
                "details": {
                    "inquiry": inquiry.pk if inquiry is not None else None,
                    "assigned_to": inquiry.assigned_to_id if inquiry is not None else None,
                    "timeout_at": clock.as_text(deadline),
                },
            }
        ]


def _ask(execution: Execution) -> Inquiry:
    question = question_of(execution)
    return Inquiry.objects.create(
        execution=execution,
        prompt=question.prompt,
        response_schema=question.response_schema,
        assigned_to_id=question.assigned_to,
        timeout_at=question.timeout_at,
    )
