"""Alerts about executions that stay where they are: after one and two hours, each once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.events import stuck
from apps.events.models import Event, Trigger
from apps.executions.models import Execution
from apps.executions.states import Status
from tests.factories import make_action, make_execution, make_policy, make_request, make_trigger, make_worker

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def alert() -> Trigger:
    return make_trigger(ref="core.alert")


def aged(execution: Execution, **by: float) -> Execution:
    """Let it be so much older, as far as anybody can see."""
    moved = timedelta(**by)
    started = {} if execution.started_at is None else {"started_at": execution.started_at - moved}
    Execution.objects.filter(pk=execution.pk).update(updated=execution.updated - moved, **started)
    execution.refresh_from_db()
    return execution


def running(**fields: Any) -> Execution:
    return make_execution(status=Status.RUNNING, started_at=clock.now(), **fields)


def told() -> list[tuple[str, str, int]]:
    return [
        (e.payload["failure_type"], e.payload["severity"], e.payload["component_id"])
        for e in Event.objects.order_by("id")
    ]


@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.CANCELING])
def test_each_hour_is_told_once(status: Status) -> None:
    execution = aged(make_execution(status=status), minutes=59)
    stuck.look()
    assert told() == []

    for minutes in (1, 30, 30, 600):
        aged(execution, minutes=minutes)
        stuck.look()

    assert told() == [("execution_stuck", "warning", execution.pk), ("execution_stuck", "error", execution.pk)]


def test_its_own_limit_is_granted() -> None:
    long, short = running(timeout_seconds=7200), running(timeout_seconds=10)
    aged(long, hours=2, minutes=50), aged(short, hours=1, minutes=1)

    stuck.look()
    assert told() == [("execution_stuck", "warning", short.pk)]

    aged(long, minutes=15)
    stuck.look()
    assert told()[1:] == [("execution_stuck", "warning", long.pk)]


def _workflow_with_a_child() -> None:
    parent = aged(running(workflow_def=1), hours=5)
    running(parent=parent)


def _held() -> None:
    aged(make_execution(held=True), hours=5)


def _of_an_alert() -> None:
    aged(make_execution(status=Status.SCHEDULED, trigger_ref="core.alert"), hours=5)


def _at_its_time() -> None:
    aged(make_request(not_before=clock.now() - timedelta(minutes=5)), hours=5)


def _behind_a_policy() -> None:
    action = make_action()
    make_policy(action=action)
    running(action=action)
    aged(make_request(action=action), hours=5)


def _question() -> None:
    aged(running(action=make_action(ref="core.ask")), hours=5)


def _ended() -> None:
    aged(make_execution(status=Status.COMPLETED), hours=5)


@pytest.mark.parametrize(
    "make", [_workflow_with_a_child, _held, _of_an_alert, _at_its_time, _behind_a_policy, _question, _ended]
)
def test_what_waits_as_it_should_is_left_alone(make: Callable[[], None]) -> None:
    make_worker()
    make()

    stuck.look()

    assert told() == []


def test_a_workflow_without_children_is_stuck() -> None:
    execution = aged(running(workflow_def=1), hours=1)

    stuck.look()

    assert told() == [("execution_stuck", "warning", execution.pk)]


def test_a_backlog_is_one_case() -> None:
    make_execution(status=Status.RUNNING, worker=make_worker(slots=1))
    action = make_action()
    first, second = (aged(make_request(action=action), hours=1) for _ in range(2))
    stuck.look()
    Execution.objects.filter(pk=first.pk).update(status=Status.CANCELLED)
    stuck.look()

    assert told() == [("execution_stuck", "warning", first.pk)]
    assert second.status == Status.REQUESTED


def test_a_line_that_nobody_can_take_is_told_after_a_minute() -> None:
    action = make_action()
    first = aged(make_request(action=action), seconds=59)
    aged(make_request(action=action), seconds=30)
    stuck.look()
    assert told() == []

    aged(first, seconds=2)
    for _ in range(2):
        stuck.look()

    assert told() == [("no_worker", "warning", first.pk)]
    assert "no worker is registered" in Event.objects.get().payload["summary"]


def test_a_worker_that_is_drained_comes_back() -> None:
    make_worker(draining=True)
    aged(make_request(), minutes=5)

    stuck.look()

    assert told() == []


def test_a_round_takes_as_many_queries_for_one_case_as_for_many(django_assert_num_queries: Any) -> None:
    for _ in range(20):
        aged(running(), minutes=30)
    with django_assert_num_queries(2):
        stuck.look()
