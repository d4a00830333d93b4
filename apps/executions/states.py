"""The states of an execution and the steps between them (execution.md section 1)."""

from django.db import models


class Status(models.TextChoices):
    REQUESTED = "requested"
    SCHEDULING = "scheduling"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELING = "canceling"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    ABANDONED = "abandoned"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMEOUT, Status.ABANDONED})
UNFINISHED = frozenset(set(Status) - TERMINAL)
ACTIVE = UNFINISHED - {Status.REQUESTED}  # holds the slots of its policies
PENDING = frozenset({Status.REQUESTED, Status.SCHEDULING, Status.SCHEDULED})
ON_A_WORKER = frozenset({Status.SCHEDULED, Status.RUNNING, Status.CANCELING})  # holds a slot of its worker

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.REQUESTED: frozenset(
        {Status.SCHEDULING, Status.FAILED, Status.CANCELLED, Status.TIMEOUT, Status.ABANDONED}
    ),
    Status.SCHEDULING: frozenset(
        {Status.SCHEDULED, Status.RUNNING, Status.REQUESTED, Status.FAILED, Status.CANCELLED, Status.ABANDONED}
    ),
    Status.SCHEDULED: frozenset(
        {Status.RUNNING, Status.REQUESTED, Status.FAILED, Status.CANCELLED, Status.TIMEOUT, Status.ABANDONED}
    ),
    Status.RUNNING: frozenset(
        {Status.COMPLETED, Status.FAILED, Status.TIMEOUT, Status.ABANDONED, Status.CANCELING, Status.CANCELLED}
    ),
    Status.CANCELING: frozenset({Status.CANCELLED, Status.ABANDONED, Status.FAILED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.TIMEOUT: frozenset(),
    Status.ABANDONED: frozenset(),
}


def may_go(source: Status, target: Status) -> bool:
    """Return True when an execution in ``source`` may be moved to ``target``."""
    return target in TRANSITIONS[source]


def sources_of(target: Status) -> frozenset[Status]:
    """Return the states from which ``target`` can be reached in one step."""
    return frozenset(source for source, targets in TRANSITIONS.items() if target in targets)
