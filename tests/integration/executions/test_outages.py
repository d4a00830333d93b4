"""Executions that nobody can take: what fails, what waits, and for how long (execution.md section 3)."""

from datetime import timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.executions import outages
from apps.executions.dispatch import dispatch_waiting
from apps.executions.models import Execution
from apps.executions.states import Status
from tests.factories import make_request, make_worker

pytestmark = pytest.mark.django_db
Announced = list[tuple[int, int, int]]


def age(execution: Execution, *, seconds: float) -> None:
    """Let it, and what this process has seen, be so much older."""
    Execution.objects.filter(pk=execution.pk).update(updated=clock.now() - timedelta(seconds=seconds))
    for absence in outages._absences.values():
        absence.since -= seconds


@pytest.mark.parametrize(
    ("worker", "message"),
    [
        ({"lease_seconds": -1}, "every worker that fits is offline"),
        ({"cordoned": True}, "every worker that fits is cordoned"),
        ({"worker_role": "sensor"}, "no worker runs actions"),
        (None, "no worker is registered"),
    ],
)
def test_an_outage_fails_it_only_after_the_grace(
    announced: Announced, settings: Any, worker: dict[str, Any] | None, message: str
) -> None:
    settings.UNSCHEDULABLE_GRACE_SECONDS = 60
    if worker is not None:
        make_worker(**worker)
    execution = make_request()

    dispatch_waiting()
    age(execution, seconds=59)
    dispatch_waiting()
    execution.refresh_from_db()
    assert execution.status == Status.REQUESTED

    age(execution, seconds=60)
    dispatch_waiting()
    execution.refresh_from_db()
    assert (execution.status, execution.result["message"]) == (Status.FAILED, message)
    assert execution.result["error"] == "Execution is unschedulable"


def test_one_that_came_late_has_its_own_grace(announced: Announced, settings: Any) -> None:
    settings.UNSCHEDULABLE_GRACE_SECONDS = 60
    old = make_request()
    dispatch_waiting()
    age(old, seconds=61)
    young = make_request(action=old.action)

    dispatch_waiting()

    assert [Execution.objects.get(pk=row.pk).status for row in (old, young)] == [Status.FAILED, Status.REQUESTED]


def test_a_break_begins_the_grace_anew(announced: Announced, settings: Any) -> None:
    settings.UNSCHEDULABLE_GRACE_SECONDS = 60
    execution = make_request()
    dispatch_waiting()
    age(execution, seconds=61)
    for absence in outages._absences.values():
        absence.seen -= 1000  # nobody looked for a while

    dispatch_waiting()

    execution.refresh_from_db()
    assert execution.status == Status.REQUESTED


@pytest.mark.parametrize("worker", [{"draining": True}, {"slots": 0}])
def test_workers_that_are_full_or_draining_are_waited_for(
    announced: Announced, settings: Any, worker: dict[str, Any]
) -> None:
    settings.UNSCHEDULABLE_GRACE_SECONDS = 60
    make_worker(**worker)
    execution = make_request()
    dispatch_waiting()
    age(execution, seconds=1000)

    dispatch_waiting()

    execution.refresh_from_db()
    assert execution.status == Status.REQUESTED


def test_a_worker_for_sensors_alone_fails_nothing(announced: Announced) -> None:
    make_worker(worker_role="sensor")
    execution = make_request()

    dispatch_waiting()

    execution.refresh_from_db()
    assert execution.status == Status.REQUESTED
