"""Decisions and judgements as pages show them: criterion by criterion, with what came of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.safestring import SafeString

from apps.core import markup
from apps.executions.models import Execution
from apps.executions.visibility import visible_to
from apps.identity.callers import Caller
from apps.rules.judging import Judgement
from apps.rules.models import Enforcement, RuleDecision

LONGEST_SHOWN = 300
MARKS = {True: "holds", False: "fails", None: "open"}
WORDS = {True: "holds", False: "does not hold", None: "not evaluated"}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One criterion: whether it held, what it says, and what was found."""

    mark: str
    word: str
    criterion: str
    found: Sequence[tuple[str, str]]
    error: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What one rule made, or would make, of one event."""

    outcome: str
    badge: SafeString
    reason: str
    error: str
    key: str
    steps: Sequence[Step]
    warnings: Sequence[str]
    took: str = ""


def shown_decision(decision: RuleDecision) -> Shown:
    return Shown(
        outcome=decision.outcome,
        badge=markup.badge(decision.outcome),
        reason=decision.reason or "",
        error=_error(decision.error, decision.reason),
        key=decision.key or "",
        steps=_steps(decision.criteria),
        warnings=_warnings(decision.params_warnings),
        took=f"{decision.duration_us / 1000:.1f} ms",
    )


def shown_judgement(judgement: Judgement) -> Shown:
    return Shown(
        outcome=str(judgement.outcome),
        badge=markup.badge(str(judgement.outcome)),
        reason=judgement.reason or "",
        error=_error(judgement.error, judgement.reason),
        key=judgement.key or "",
        steps=_steps(judgement.steps),
        warnings=_warnings(judgement.params_warnings),
    )


def short(value: Any) -> str:
    """Return a value as JSON, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def enforcements_of(decisions: Iterable[RuleDecision]) -> dict[int, Enforcement]:
    """Return the enforcements that decisions led to, by id."""
    ids = [decision.enforcement_id for decision in decisions if decision.enforcement_id is not None]
    return Enforcement.objects.only("id", "status", "resolved_at").in_bulk(ids) if ids else {}


def executions_of(enforcements: Iterable[int], caller: Caller) -> dict[int, list[Execution]]:
    """Return the executions that enforcements asked for and the caller may see, by enforcement, oldest first."""
    wanted = list(enforcements)
    found: dict[int, list[Execution]] = {}
    if wanted:
        columns = ("id", "action_ref", "status", "enforcement", "created", "duration_ms")
        for execution in visible_to(caller).filter(enforcement__in=wanted).only(*columns).order_by("pk"):
            found.setdefault(execution.enforcement or 0, []).append(execution)
    return found


def execution_marks(executions: Iterable[Execution]) -> SafeString:
    """Return links to executions, each with its status."""
    return markup.lines(
        markup.joined(
            (
                markup.link(markup.page_of("executions_execution", execution.pk), f"#{execution.pk}"),
                markup.badge(execution.status),
            )
        )
        for execution in executions
    )


def _error(error: str | None, reason: str | None) -> str:
    return "" if error is None or error in (reason or "") else error


def _steps(criteria: Any) -> list[Step]:
    return [_step(step) for step in criteria if isinstance(step, Mapping)] if isinstance(criteria, Sequence) else []


def _step(step: Mapping[str, Any]) -> Step:
    result = step.get("result")
    result = result if isinstance(result, bool) else None
    found: list[tuple[str, str]] = []
    match step.get("kind"):
        case "field":
            compares = step.get("operator") not in ("exists", "not_exists")
            criterion = f"{step.get('field')} {step.get('operator')}" + (
                f" {short(step.get('value'))}" if compares else ""
            )
            if compares and step.get("error") is None:
                found = [(str(step.get("field")), short(step.get("actual")))]
        case "expression":
            criterion = str(step.get("expression"))
            found = [
                (str(read.get("path")), short(read.get("value")))
                for read in step.get("operands") or ()
                if isinstance(read, Mapping) and step.get("error") is None
            ]
        case _:
            criterion = "nothing to check: always"
    return Step(
        mark=MARKS[result], word=WORDS[result], criterion=criterion, found=found, error=str(step.get("error") or "")
    )


def _warnings(found: Any) -> list[str]:
    return [
        f"{warning.get('path')}: {warning.get('error')}"
        + (f" (in {warning['template']})" if warning.get("template") else "")
        for warning in found or ()
        if isinstance(warning, Mapping)
    ]
