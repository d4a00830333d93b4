"""What an operator can do with an execution: one table for its page and for the list's actions."""

from collections.abc import Callable
from dataclasses import dataclass

from apps.executions.models import Execution
from apps.executions.services import (
    RetryChanges,
    cancel_execution,
    force_close_execution,
    retry_execution,
    retry_failed_tasks,
    update_execution,
)
from apps.executions.states import TERMINAL, Status
from apps.identity.models import Identity

Call = Callable[[int, Identity, str], Execution]


@dataclass(frozen=True, kw_only=True)
class Verb:
    """``offered`` says whether an execution's page shows it; whether it can be done is the service's to say."""

    name: str
    label: str
    icon: str
    sentence: str
    offered: Callable[[Execution], bool]
    call: Call
    danger: bool = False  # cannot be taken back
    first: bool = False  # what one most likely wants
    title: str = ""  # where the label cannot stand before the execution
    button: str = ""


def _cancel(execution_id: int, by: Identity, reason: str) -> Execution:
    return cancel_execution(execution_id, by=by, reason=reason)


def _force_close(execution_id: int, by: Identity, reason: str) -> Execution:
    return force_close_execution(execution_id, by=by, reason=reason)


def _retry(execution_id: int, by: Identity, reason: str) -> Execution:
    # The page has asked: an execution that completed runs again too.
    return retry_execution(execution_id, by=by, changes=RetryChanges(force=True, reason=reason))


def _rerun(execution_id: int, by: Identity, reason: str) -> Execution:
    return retry_failed_tasks(execution_id, by=by, changes=RetryChanges(force=True, reason=reason))


def _may_rerun(execution: Execution) -> bool:
    return (
        execution.workflow_def is not None
        and execution.status in TERMINAL
        and execution.status != Status.COMPLETED
        and execution.action_id is not None
    )


def _pin(execution_id: int, by: Identity, reason: str) -> Execution:
    return update_execution(execution_id, actor=f"identity:{by.pk}", pinned=True)


def _unpin(execution_id: int, by: Identity, reason: str) -> Execution:
    return update_execution(execution_id, actor=f"identity:{by.pk}", pinned=False)


VERBS: dict[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            name="cancel",
            label="Cancel",
            icon="cancel",
            sentence="What waits is cancelled at once. What runs gets SIGTERM, and SIGKILL a few seconds later; "
            "executions that its program started end with it.",
            offered=lambda execution: execution.status not in (*TERMINAL, Status.CANCELING),
            call=_cancel,
            danger=True,
            first=True,
        ),
        Verb(
            name="force-close",
            label="Force-close",
            icon="block",
            sentence="Ends it in the database now, whatever its worker does, and refuses every late write of the old "
            "run. For executions that nothing else can end: a cancel is the gentler way.",
            offered=lambda execution: execution.status not in TERMINAL,
            call=_force_close,
            danger=True,
        ),
        Verb(
            name="retry",
            label="Retry",
            icon="replay",
            sentence="Makes a new execution of the same action with the same parameters, secrets included. "
            "The old one stays as it is.",
            offered=lambda execution: execution.status in TERMINAL and execution.action_id is not None,
            call=_retry,
            first=True,
        ),
        Verb(
            name="rerun",
            label="Rerun failed tasks",
            title="Rerun failed tasks of",
            button="Rerun failed tasks",
            icon="resume",
            sentence="Makes a new execution of the workflow that runs what failed, and what comes after it. Tasks that "
            "have completed are taken over with their results. The old execution stays as it is.",
            offered=_may_rerun,
            call=_rerun,
            first=True,
        ),
        Verb(
            name="pin",
            label="Pin",
            icon="keep",
            sentence="Retention and the storage budget leave this execution and its logs alone.",
            offered=lambda execution: not execution.pinned,
            call=_pin,
        ),
        Verb(
            name="unpin",
            label="Unpin",
            icon="keep_off",
            sentence="Retention and the storage budget treat this execution like any other again.",
            offered=lambda execution: execution.pinned,
            call=_unpin,
        ),
    )
}
