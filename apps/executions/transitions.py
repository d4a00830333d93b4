"""
Every change of an execution's status goes through here (execution.md section 1).

A transition is one conditional UPDATE, one history row for each step, and news after the commit. One that finds
another status changes nothing and says so. Call inside ``transaction.atomic``.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction

from apps.core import clock, sql
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.signals import execution_changed, execution_finished
from apps.executions.states import TERMINAL, Status, may_go

logger = logging.getLogger(__name__)

# The columns whose changes the history shows (model.md 8.1); never the parameters or the result.
TRACKED = (
    "status",
    "worker",
    "epoch",
    "attempt",
    "priority",
    "not_before",
    "held",
    "started_at",
    "finished_at",
    "cancel_requested_at",
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of an execution: from where to where, by whom, and what else is written with it."""

    source: Status
    target: Status
    actor: str  # identity:<id>, worker:<id>, dispatch, sweep, workflow, policy
    reason: str | None = None
    epoch: int | None = None  # the epoch it must have; None: whatever it has


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A further condition of the UPDATE, as SQL with its parameters (a worker's claim: its lease)."""

    text: str
    parameters: tuple[Any, ...]


def transition(
    execution: Execution, step: Step, *, guard: Guard | None = None, repeated: bool = False, **fields: Any
) -> bool:
    """
    Move one execution and return True, or change nothing and return False when it is not where ``step`` starts.

    ``fields`` are written with it, by column: a reference is given as its id. The instance is brought up to date.
    Writes the history row, and tells the apps above; ``repeated``: the caller makes a further attempt of it next.
    """
    assert may_go(step.source, step.target), step
    now = clock.now()
    values = {"status": step.target.value, "updated": now, **fields}
    if step.target in TERMINAL:
        values.setdefault("finished_at", now)
    where, parameters = "id = %s AND status = %s", [execution.pk, step.source.value]
    if step.epoch is not None:
        where, parameters = f"{where} AND epoch = %s", [*parameters, step.epoch]
    if guard is not None:
        where, parameters = f"{where} AND {guard.text}", [*parameters, *guard.parameters]
    if not sql.update(Execution, values, where, parameters):
        return False
    tracked = [name for name in TRACKED if name in values]
    old = {name: _plain(getattr(execution, _attribute(name))) for name in tracked} | {"status": step.source.value}
    for name, value in values.items():
        setattr(execution, _attribute(name), value)
    new = {name: _plain(values[name]) for name in tracked}
    row = history_row(execution.pk, execution.action_ref, step, now, old=old, new=new)
    sql.insert(ExecutionHistory, [{**row, "epoch": execution.epoch}])
    announce(execution, step.target, repeated=repeated)
    return True


def announce(execution: Execution, target: Status, *, repeated: bool = False) -> None:
    """Tell the apps above: of an end at once, in a savepoint; of any change after the commit."""
    if target in TERMINAL and execution_finished.receivers:
        try:
            with transaction.atomic():
                execution_finished.send(sender=Execution, execution=execution, repeated=repeated)
        except Exception:  # a fault above must never undo the end of an execution
            logger.exception("A receiver failed at the end of execution %s", execution.pk)
    if execution_changed.receivers:
        transaction.on_commit(partial(notify_changed, execution.pk, target), robust=True)


def notify_changed(execution_id: int, status: str) -> None:
    """Send ``execution_changed``; receivers that fail are logged, the others still hear it."""
    for _receiver, answer in execution_changed.send_robust(
        sender=Execution, execution_id=execution_id, status=str(status)
    ):
        if isinstance(answer, Exception):
            logger.error("A receiver failed on execution %s", execution_id, exc_info=answer)


def record_step(execution_id: int, action_ref: str, step: Step, at: datetime, /, **changed: Any) -> None:
    """Write the history row of a step that a statement of its own has made; ``changed``: tracked columns, new values."""
    new = {"status": step.target.value, **{name: _plain(value) for name, value in changed.items()}}
    old = {"status": step.source.value, **dict.fromkeys(changed)}
    sql.insert(ExecutionHistory, [history_row(execution_id, action_ref, step, at, old=old, new=new)])
    if execution_changed.receivers:
        transaction.on_commit(partial(notify_changed, execution_id, step.target), robust=True)


def history_row(
    execution_id: int, action_ref: str, step: Step, at: datetime, /, *, old: dict[str, Any], new: dict[str, Any]
) -> dict[str, Any]:
    """Return the history row of one step, by column."""
    return {
        "time": at,
        "operation": "UPDATE",
        "entity_id": execution_id,
        "entity_ref": action_ref,
        "changed_fields": sorted(name for name in new if old.get(name) != new[name]),
        "old_values": old,
        "new_values": new,
        "actor": step.actor,
        "reason": step.reason,
        "epoch": step.epoch,
    }


def record_created(execution: Execution, *, actor: str, reason: str | None = None) -> None:
    """Write the first history row of a new execution."""
    record_all_created([(execution, reason)], actor=actor)


def record_all_created(created: Sequence[tuple[Execution, str | None]], *, actor: str) -> None:
    """Write the first history rows of new executions, each with its reason."""
    rows = [
        {
            "time": execution.created,
            "operation": "INSERT",
            "entity_id": execution.pk,
            "entity_ref": execution.action_ref,
            "changed_fields": ["status"],
            "new_values": _first_values(execution),
            "actor": actor,
            "reason": reason or None,
            "epoch": execution.epoch,
        }
        for execution, reason in created
    ]
    sql.insert(ExecutionHistory, rows)


def record_change(execution: Execution, *, old: dict[str, Any], new: dict[str, Any], actor: str) -> None:
    """Write the history row of a change that is no transition (priority, not_before, held)."""
    changed = sorted(name for name in new if old.get(name) != new[name])
    if changed:
        ExecutionHistory.objects.create(
            time=clock.now(),
            operation="UPDATE",
            entity_id=execution.pk,
            entity_ref=execution.action_ref,
            changed_fields=changed,
            old_values={name: _plain(old[name]) for name in changed},
            new_values={name: _plain(new[name]) for name in changed},
            actor=actor,
            epoch=execution.epoch,
        )


def _first_values(execution: Execution) -> dict[str, Any]:
    values: dict[str, Any] = {"status": execution.status}
    if execution.priority:
        values["priority"] = execution.priority
    if execution.attempt > 1:
        values["attempt"] = execution.attempt
    if execution.not_before is not None:
        values["not_before"] = _plain(execution.not_before)
        if execution.retry_of_id is not None:
            values["retry_at"] = _plain(execution.not_before)
    return values


def _attribute(column: str) -> str:
    """Return the attribute of the model that holds a column."""
    return _ATTRIBUTES[column]


_ATTRIBUTES = {str(field.column): field.attname for field in Execution._meta.concrete_fields}


def _plain(value: Any) -> Any:
    return clock.as_text(value) if isinstance(value, datetime) else value
