"""
Who may answer an inquiry (auth.md 6.4): the one it is assigned to; else whoever may respond. Nobody approves himself.

``caller`` None is an operator at the shell: of what is assigned to somebody not even that one may dispose.
"""

from typing import TYPE_CHECKING

from django.conf import settings

from apps.executions.models import Execution
from apps.executions.visibility import descends
from apps.identity.denials import refused
from apps.identity.grants.lineage import Origin
from apps.inquiries.models import Inquiry

if TYPE_CHECKING:
    from apps.identity.callers import Caller

_MOST_LEVELS = 60  # executions are nested 50 deep at most


def check_may_respond(caller: "Caller | None", inquiry: Inquiry) -> None:
    """Raise Forbidden, which the audit trail hears of, unless the caller may answer."""
    check_no_loop(caller, inquiry)
    if inquiry.assigned_to_id is not None:
        if caller is None or caller.identity_id != inquiry.assigned_to_id:
            raise refused(f"Inquiry {inquiry.pk} is assigned to another identity", inquiry)
    elif caller is not None and not _is_open_to(caller):
        caller.require("inquiries:respond", inquiry)


def check_no_loop(caller: "Caller | None", inquiry: Inquiry) -> None:
    """Raise Forbidden for the token of an execution that would answer a question of its own, or of its workflow run."""
    if caller is None or caller.execution_id is None:
        return
    run = _run_of(inquiry.execution_id)
    if caller.execution_id == run or descends(caller.execution_id, Origin(execution_id=run)):
        raise refused(
            "Privilege loop: an execution cannot answer an inquiry of its own, or of the workflow run it belongs to",
            inquiry,
        )


def may_respond(caller: "Caller", inquiry: Inquiry) -> bool:
    """Whether the caller may answer, as far as pages must know: nothing is recorded."""
    if inquiry.assigned_to_id is not None:
        return caller.identity_id == inquiry.assigned_to_id
    return _is_open_to(caller) or caller.allows("inquiries:respond", inquiry)


def _is_open_to(caller: "Caller") -> bool:
    return bool(settings.INQUIRIES_OPEN_TO_ALL) and caller.token_type == "access"


def _run_of(execution_id: int) -> int:
    """Return the execution itself, of a task the outermost workflow run that it is part of."""
    for _level in range(_MOST_LEVELS):
        row = Execution.objects.filter(pk=execution_id).values_list("parent_id", "workflow_task").first()
        if row is None or row[0] is None or row[1] is None:
            break
        execution_id = row[0]
    return execution_id
