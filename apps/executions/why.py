"""
Why an execution does not run, or why it ended (api.md 13.5): the rules of dispatch, applied to one row.

What an engine runs waits for what its engine says (``engines.py``).
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q

from apps.actions.policies.applying import RATE, current_policies
from apps.core import clock
from apps.executions import engines
from apps.executions.admission import Admission, Full, Place, lines_of, places_now, waiting_lines
from apps.executions.demands import requirements_of
from apps.executions.dispatch import active_counts
from apps.executions.log_versions import STREAMS, log_directory
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.offers import read_offers
from apps.executions.policy_state import MOST_HOLDERS, holders
from apps.executions.states import TERMINAL, UNFINISHED, Status
from apps.workers.fitness import Offer, misfit
from apps.workers.models import EnvironmentStatus, PackEnvironment, WorkerLease

MOST_COUNTED_AHEAD = 10_000
PAUSED_SWEEPS = 3  # so many sweeps passed over something a free worker could take: nobody dispatches
ENDED_BY = {
    "execution_scheduler": "scheduler",
    "execution_timeout_monitor": "worker_lost",
}
Reason = dict[str, Any]


def explain(execution: Execution) -> dict[str, Any]:
    """
    Return what an execution waits for, or why it ended: the ``data`` of api.md 13.5.

    An unfinished one always has at least one reason; the first is the one to act on.
    """
    position: int | None = None
    if execution.status in TERMINAL:
        reasons = [_finished(execution)]
    elif execution.status == Status.REQUESTED:
        reasons, position = _waiting(execution)
    elif execution.status in _BY_ENGINE and (engine := engines.engine_for(execution)) is not None:
        canceling = [_canceling(execution)] if execution.status == Status.CANCELING else []
        reasons = [*canceling, *engine.waits_for(execution)]
    else:
        reasons = [_BY_STATUS[Status(execution.status)](execution)]
    return {
        "execution": execution.pk,
        "status": execution.status,
        "since": clock.as_text(execution.updated),
        "summary": reasons[0]["message"],
        "position": position,
        "next_check_at": None if execution.status in TERMINAL else _next_check(execution, reasons),
        "reasons": reasons,
    }


def _reason(code: str, message: str, begun: datetime | None, /, **details: Any) -> Reason:
    return {"code": code, "message": message, "since": clock.as_text(begun), "details": details}


def _next_check(execution: Execution, reasons: list[Reason]) -> str | None:
    moment = clock.now() + timedelta(seconds=settings.SWEEP_SECONDS)
    if (
        execution.status == Status.REQUESTED
        and execution.not_before is not None
        and execution.not_before > clock.now()
    ):
        moment = execution.not_before
    slots: list[str] = [slot for reason in reasons if (slot := reason["details"].get("next_slot_at")) is not None]
    return min(clock.as_text(moment), *slots) if slots else clock.as_text(moment)


def _waiting(execution: Execution) -> tuple[list[Reason], int | None]:
    if execution.not_before is not None and execution.not_before > clock.now():
        until = clock.as_text(execution.not_before)
        reason = _reason(
            "not_before",
            f"Starts at {until}" + (f" ({execution.retry_reason})" if execution.retry_reason else ""),
            execution.created,
            until=until,
            retry_reason=execution.retry_reason,
        )
        return [reason], None
    if execution.held:
        return [_not_released(execution)], None
    places = _places(execution)
    blocked = [_held_back(execution, full) for full in _full(places)]
    if engines.name_for(execution) is not None:
        return _in_line(execution, [], places, blocked)
    offers = read_offers()
    requirements = execution.demand.requirements if execution.demand else requirements_of(execution.action, execution)
    rejections = [(offer, misfit(requirements, offer)) for offer in offers]
    fitting = [offer for offer, why in rejections if why is None]
    if not fitting:
        return [*blocked, _no_worker(execution, rejections)], None
    return _in_line(execution, fitting, places, blocked)


def _places(execution: Execution) -> tuple[Place, ...]:
    _waiting, policies = waiting_lines()
    return places_now(execution, policies)


def _full(places: tuple[Place, ...]) -> list[Full]:
    if not places:
        return []
    admission = Admission(current_policies(), places)
    admission.count()
    return admission.full(places)


def _held_back(execution: Execution, full: Full) -> Reason:
    """The same that keeps dispatch from handing it over."""
    limit, group = full.place.limit, full.place.group
    key = {"policy_ref": limit.ref, "key": group.shown}
    if full.kind == RATE:
        window = {"max_executions": limit.max_executions, "window_seconds": limit.window_seconds}
        slot = clock.as_text(full.next_slot_at)
        return _reason("policy_rate", full.message, execution.updated, **key, **window, next_slot_at=slot)
    names = [pk for one, pk in holders(current_policies(), limit.id) if one == group]
    held = {"threshold": limit.threshold, "active": full.count, "active_executions": names[:MOST_HOLDERS]}
    return _reason("policy_concurrency", full.message, execution.updated, **key, **held)


def _not_released(execution: Execution) -> Reason:
    task = execution.workflow_task or {}
    siblings = Execution.objects.filter(
        parent=execution.parent_id, workflow_task__task_name=task.get("task_name"), held=False, status__in=UNFINISHED
    )
    running = siblings.count()
    return _reason(
        "not_released",
        f"Task '{task.get('task_name')}' runs {running} of its children now; this one comes when one of them has ended",
        execution.created,
        workflow_execution=task.get("workflow_execution"),
        task_name=task.get("task_name"),
        running=running,
        concurrency=running,
    )


def _no_worker(execution: Execution, rejections: list[tuple[Offer, str | None]]) -> Reason:
    if not rejections:
        message = "No worker is registered; start one with `celery -A attune worker`"
    else:
        named = ", ".join(f"{offer.name} ({why})" for offer, why in rejections[:5])
        message = f"No worker can take it: {named}"
    workers = [{"id": offer.worker_id, "name": offer.name, "rejected_by": why} for offer, why in rejections]
    return _reason("no_worker", message, execution.updated, workers=workers)


def _in_line(
    execution: Execution, fitting: list[Offer], places: tuple[Place, ...], blocked: list[Reason]
) -> tuple[list[Reason], int | None]:
    counts = active_counts([offer.worker_id for offer in fitting])
    busy = [{"id": o.worker_id, "name": o.name, "running": counts[o.worker_id], "max": o.slots} for o in fitting]
    ahead = _ahead(execution, places)
    reasons = list(blocked)
    if fitting and all(counts[offer.worker_id] >= offer.slots for offer in fitting):
        full = ", ".join(f"{worker['name']} {worker['running']}/{worker['max']}" for worker in busy[:5])
        reasons.append(
            _reason("workers_busy", f"All fitting workers are full: {full}", execution.updated, workers=busy)
        )
    elif (
        not ahead
        and not blocked
        and (seconds := (clock.now() - execution.updated).total_seconds()) > _paused_seconds()
    ):
        reasons.append(_paused(execution, seconds))
    if ahead or not reasons:
        text = f"{ahead} executions of higher priority or age are before it" if ahead else "Its turn is next"
        reasons.append(_reason("behind_others", text, execution.updated, ahead=ahead))
    return reasons, ahead + 1


def _paused_seconds() -> float:
    return PAUSED_SWEEPS * settings.SWEEP_SECONDS


def _paused(execution: Execution, seconds: float) -> Reason:
    message = (
        f"A worker is free, but nothing has been dispatched for {seconds:.0f} s; is `manage.py scheduler` running?"
    )
    return _reason("dispatch_paused", message, execution.updated, subsystem="dispatcher", message=message)


def _ahead(execution: Execution, places: tuple[Place, ...]) -> int:
    """Count those before it: in the first of its groups, else in the line of what demands the same."""
    lines = [execution.demand_id]
    if places:
        lines = [*{execution.demand_id, *lines_of(places[0].group)}]
    line = Execution.objects.filter(status=Status.REQUESTED, held=False, demand__in=lines)
    before = Q(priority__gt=execution.priority) | Q(priority=execution.priority) & (
        Q(created__lt=execution.created) | Q(created=execution.created, pk__lt=execution.pk)
    )
    return line.filter(before).order_by("-priority", "created", "id")[:MOST_COUNTED_AHEAD].count()


def _scheduling(execution: Execution) -> Reason:
    return _reason("behind_others", "It is being placed", execution.updated, ahead=0)


def _handed_over(execution: Execution) -> Reason:
    name = execution.worker.name if execution.worker else "its worker"
    return _reason(
        "handed_over",
        f"Handed over to {name}, not claimed yet",
        execution.scheduled_at,
        worker=execution.worker_id,
        since=clock.as_text(execution.scheduled_at),
    )


def _running(execution: Execution) -> Reason:
    lease = WorkerLease.objects.filter(worker=execution.worker_id).first()
    environment = _environment(execution)
    limit = execution.timeout_seconds or settings.TASK_TIMEOUT_SECONDS
    details: dict[str, Any] = {
        "worker": execution.worker_id,
        "lease_expires_at": clock.as_text(lease.expires_at if lease else None),
        "last_output_at": _last_output(execution),
        "timeout_at": clock.as_text(execution.started_at + timedelta(seconds=limit)) if execution.started_at else None,
    }
    name = execution.worker.name if execution.worker else "no worker"
    message = f"Running on {name}"
    if environment is not None:
        details["environment"] = environment
        message = f"{name} prepares the environment of pack {environment['pack_ref']}"
    return _reason("running", message, execution.started_at, **details)


def _last_output(execution: Execution) -> str | None:
    moments = []
    for stream in STREAMS:
        try:
            moments.append((log_directory(execution.pk) / f"{stream}.log").stat().st_mtime)
        except OSError:
            continue
    return clock.as_text(datetime.fromtimestamp(max(moments), UTC)) if moments else None


def _environment(execution: Execution) -> dict[str, Any] | None:
    action = execution.action
    if action is None or action.runtime_id is None:
        return None
    row = PackEnvironment.objects.filter(
        pack=action.pack_id, runtime=action.runtime_id, status=EnvironmentStatus.INSTALLING
    ).first()
    if row is None:
        return None
    return {
        "pack_ref": row.pack_ref,
        "runtime_ref": row.runtime_ref,
        "status": row.status,
        "since": clock.as_text(row.updated),
    }


def _canceling(execution: Execution) -> Reason:
    by = execution.cancelled_by.login if execution.cancelled_by else None
    return _reason(
        "canceling",
        "Being cancelled: "
        + ("its worker stops the process" if execution.worker_id else "what it waits for ends first"),
        execution.cancel_requested_at,
        requested_by=by,
        since=clock.as_text(execution.cancel_requested_at),
        worker=execution.worker_id,
        signal_sent=None,
    )


def _finished(execution: Execution) -> Reason:
    result = execution.result if isinstance(execution.result, dict) else {}
    error = result.get("error")
    message = f"Ended {execution.status}" + (f": {error}" if error else "")
    return _reason(
        "finished",
        message,
        execution.finished_at,
        status=execution.status,
        error=error,
        exit_code=execution.exit_code,
        ended_by=_ended_by(execution, result),
    )


def _ended_by(execution: Execution, result: dict[str, Any]) -> str:
    if str(error := result.get("error") or "").startswith("Execution force-closed by"):
        return "operator"
    for key in ("failed_by", "abandoned_by", "cancelled_by"):
        if result.get(key) in ENDED_BY:
            return "policy" if error.startswith("Execution cancelled by policy") else ENDED_BY[result[key]]
    if execution.status == Status.CANCELLED:
        return "parent" if _cancelled_by_parent(execution) else "user"
    by_its_task = bool((execution.workflow_task or {}).get("timed_out"))
    return "timeout" if execution.status == Status.TIMEOUT or by_its_task else "process"


def _cancelled_by_parent(execution: Execution) -> bool:
    return ExecutionHistory.objects.filter(entity_id=execution.pk, reason__startswith="parent ").exists()


_BY_ENGINE = (Status.RUNNING, Status.CANCELING)
_BY_STATUS: dict[Status, Callable[[Execution], Reason]] = {
    Status.SCHEDULING: _scheduling,
    Status.SCHEDULED: _handed_over,
    Status.RUNNING: _running,
    Status.CANCELING: _canceling,
}
