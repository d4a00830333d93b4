"""The question that a task asks: what ``core.ask`` makes of its parameters (workflows.md section 11)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from apps.core.errors import UnprocessableEntity
from apps.core.schemas import check_budget, fill_defaults
from apps.executions.models import Execution
from apps.executions.parameters import parameters_of
from apps.identity.models import Identity

LONGEST_PROMPT = 10_000
DEFAULT_PROMPT = "Approval required"


class BadQuestion(Exception):
    """The parameters make no question; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """``assigned_to`` None: whoever may respond; ``timeout_at`` None: it waits without limit."""

    prompt: str
    response_schema: Mapping[str, Any] | None
    assigned_to: int | None
    timeout_at: datetime | None


def question_of(execution: Execution) -> Question:
    """Return what a running execution of ``core.ask`` asks. Raises BadQuestion."""
    schema = execution.action.param_schema if execution.action is not None else None
    given = fill_defaults(schema, parameters_of(execution.config, schema))
    return Question(
        prompt=_prompt(given.get("prompt")),
        response_schema=_schema(given.get("response_schema")),
        assigned_to=_assignee(given.get("assigned_to")),
        timeout_at=_deadline(execution),
    )


def _prompt(given: Any) -> str:
    if given is None:
        return DEFAULT_PROMPT
    if not isinstance(given, str):
        raise BadQuestion("prompt must be a text")
    if not given.strip():
        raise BadQuestion("prompt must not be empty")
    if len(given) > LONGEST_PROMPT:
        raise BadQuestion(f"prompt has {len(given)} characters, at most {LONGEST_PROMPT} are allowed")
    return given


def _schema(given: Any) -> Mapping[str, Any] | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        raise BadQuestion("response_schema must be an object")
    try:
        check_budget(given)
    except UnprocessableEntity as error:
        raise BadQuestion(f"response_schema: {error.message}") from error
    return given


def _assignee(given: Any) -> int | None:
    if given is None:
        return None
    if type(given) is not int:
        raise BadQuestion("assigned_to must be the id of an identity, a whole number")
    if not (0 < given < 2**63 and Identity.objects.filter(pk=given).exists()):
        raise BadQuestion(f"assigned_to: there is no identity with id {str(given)[:40]}")
    return given


def _deadline(execution: Execution) -> datetime | None:
    """The time limit of the task is the deadline; it runs from the start."""
    limit = (execution.workflow_task or {}).get("timeout_seconds") or execution.timeout_seconds
    if not limit or execution.started_at is None:
        return None
    try:
        return execution.started_at + timedelta(seconds=float(limit))
    except OverflowError:
        raise BadQuestion(f"its deadline, {limit} seconds from now, is beyond any calendar") from None
