"""
Tell operators of executions that stay where they are (execution.md sections 3 and 20).

Time that an execution has been granted by its own limit, or waits for by ``not_before``, a policy or an inquiry does
not count; nor does that of a workflow whose children go on: they are looked at themselves. Of those that wait in one
line only the oldest is looked at, and an action is told of once a day: a backlog is one case, not thousands.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from django.conf import settings
from django.db.models import Exists, Min, OuterRef, Q, QuerySet

from apps.core import clock
from apps.events.alerts import ALERT_TRIGGER, Alert, raise_alert
from apps.executions import engines
from apps.executions.models import Execution
from apps.executions.offers import read_offers
from apps.executions.states import UNFINISHED, Status
from apps.executions.why import explain
from apps.workers.fitness import Offer, misfit

LEVELS: tuple[tuple[timedelta, Literal["warning", "error"]], ...] = (
    (timedelta(hours=2), "error"),
    (timedelta(hours=1), "warning"),
)
NO_WORKER_AFTER = timedelta(seconds=60)
MOST_AT_ONCE = 500  # rows of one kind in one round
_MOST_NAMED = 5
_AS_WANTED = frozenset({"not_before", "policy_concurrency", "policy_rate", "not_released", "inquiry_pending"})


class _Line(NamedTuple):
    """Those that demand the same; its oldest."""

    demand_id: int
    requirements: dict[str, Any]
    oldest: Execution


def look() -> None:
    """Make one round."""
    now = clock.now()
    for execution in _placed(now):
        _judge(execution, now, f"execution:{execution.pk}:stuck:{execution.status}")
    lines = list(_lines(now - NO_WORKER_AFTER))
    offers = read_offers() if lines else []
    for line in lines:
        _look_at_line(line, offers, now)


def _candidates(before: datetime) -> "QuerySet[Execution]":
    """Return what has not changed since; what an alert has started raises none itself."""
    rows = Execution.objects.filter(updated__lte=before)
    return rows.filter(Q(trigger_ref__isnull=True) | ~Q(trigger_ref=ALERT_TRIGGER))


def _placed(now: datetime) -> Iterator[Execution]:
    """Yield what is placed, runs or is stopped for too long, as far as nobody else is to be looked at instead."""
    children = Execution.objects.filter(parent=OuterRef("pk"), status__in=UNFINISHED)
    rows = _candidates(now - LEVELS[-1][0]).filter(status__in=sorted(UNFINISHED - {Status.REQUESTED}))
    rows = rows.exclude(Q(workflow_def__isnull=False) & Exists(children)).exclude(
        status=Status.RUNNING, action_ref=engines.ASK_REF
    )
    yield from rows.defer("config", "result", "env_vars").order_by("updated", "id")[:MOST_AT_ONCE]


def _lines(before: datetime) -> Iterator[_Line]:
    """Yield the lines in which somebody has waited since."""
    rows = _candidates(before).filter(status=Status.REQUESTED, held=False, demand__isnull=False)
    oldest = dict(rows.order_by().values_list("demand").annotate(first=Min("pk")).order_by("first")[:MOST_AT_ONCE])
    found = Execution.objects.select_related("action", "demand").in_bulk(list(oldest.values()))
    for demand_id, pk in oldest.items():
        if pk in found:
            demand = found[pk].demand
            yield _Line(demand_id, demand.requirements if demand is not None else {}, found[pk])


def _look_at_line(line: _Line, offers: list[Offer], now: datetime) -> None:
    if "engine" not in line.requirements:
        rejections = {offer.name: misfit(line.requirements, offer) for offer in offers}
        if not {None, "draining"} & set(rejections.values()):
            _tell_no_worker(line, rejections)
    if now - line.oldest.updated >= LEVELS[-1][0] and not _waits_as_wanted(line.oldest):
        _judge(line.oldest, now, f"action:{line.oldest.action_ref}:waiting:{now:%Y-%m-%d}")


def _waits_as_wanted(execution: Execution) -> bool:
    return any(reason["code"] in _AS_WANTED for reason in explain(execution)["reasons"])


def _tell_no_worker(line: _Line, rejections: dict[str, str | None]) -> None:
    """While nobody takes anything from the line, its oldest stays: the same alert."""
    execution = line.oldest
    named = ", ".join(f"{name} ({why})" for name, why in list(rejections.items())[:_MOST_NAMED])
    why = f"no worker can take it: {named}" if named else "no worker is registered"
    raise_alert(
        Alert(
            severity="warning",
            category="execution",
            failure_type="no_worker",
            component_type="execution",
            component_id=execution.pk,
            component_ref=execution.action_ref,
            worker_role="action",
            summary=f"Execution {execution.pk} of {execution.action_ref} waits: {why}"[:1000],
            details={"status": str(execution.status), "since": clock.as_text(execution.updated)},
            correlation_id=f"demand:{line.demand_id}:no_worker:{execution.pk}",
        )
    )


def _judge(execution: Execution, now: datetime, case: str) -> None:
    """Tell that an execution stays where it is, when it has for so long."""
    since = _counted_since(execution)
    for least, severity in LEVELS:
        if now - since >= least:
            hours = int(least.total_seconds() // 3600)
            raise_alert(
                Alert(
                    severity=severity,
                    category="execution",
                    failure_type="execution_stuck",
                    component_type="execution",
                    component_id=execution.pk,
                    component_ref=execution.action_ref,
                    worker_role="action",
                    summary=f"Execution {execution.pk} of {execution.action_ref} has been '{execution.status}' "
                    f"{hours} h longer than it may",
                    details={
                        "status": str(execution.status),
                        "since": clock.as_text(execution.updated),
                        "rule_ref": execution.rule_ref,
                    },
                    correlation_id=f"{case}:{hours}h",
                )
            )
            return


def _counted_since(execution: Execution) -> datetime:
    """Return since when the time counts that it stays in its status."""
    since = execution.updated
    if execution.status == Status.REQUESTED and execution.not_before is not None:
        return max(since, execution.not_before)
    if execution.status == Status.RUNNING and execution.started_at is not None:
        by_engine = engines.name_for(execution) is not None
        limit = execution.timeout_seconds or (0 if by_engine else settings.TASK_TIMEOUT_SECONDS)
        return max(since, execution.started_at + timedelta(seconds=limit))
    return since
