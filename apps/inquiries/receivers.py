"""News from executions."""

from typing import Any

from apps.executions.engines import ASK_REF
from apps.executions.models import Execution
from apps.inquiries.models import Inquiry, InquiryStatus


def on_execution_finished(*, execution: Execution, **_signal: Any) -> None:
    """Nobody has to answer any more what an execution asked that was ended otherwise (force-closed)."""
    if execution.action_ref == ASK_REF:
        Inquiry.objects.pending().filter(execution=execution.pk).update(status=InquiryStatus.CANCELLED)
