"""Handing waiting executions to workers (execution.md sections 3 and 4)."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.actions.services import update_action
from apps.executions import demands
from apps.executions.dispatch import dispatch_once, dispatch_waiting
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.states import Status
from apps.executions.sweep import put_in_line, sweep
from apps.workers.models import Worker
from tests.factories import make_action, make_execution, make_request, make_runtime, make_worker
from tests.racing import together

pytestmark = pytest.mark.django_db
Announced = list[tuple[int, int, int]]


def steps_of(execution: Execution) -> list[str]:
    rows = ExecutionHistory.objects.filter(entity_id=execution.pk).order_by("id")
    return [row.new_values["status"] for row in rows]


def test_waiting_execution_is_handed_to_the_worker_with_a_free_slot(announced: Announced) -> None:
    worker = make_worker()
    execution = make_request()

    dispatch_waiting()

    execution.refresh_from_db()
    assert (execution.status, execution.worker_id, execution.epoch) == (Status.SCHEDULED, worker.pk, 1)
    assert announced == [(worker.pk, execution.pk, 1)]
    assert steps_of(execution) == ["requested", "scheduling", "scheduled"]
    assert execution.scheduled_at is not None


def test_no_worker_gets_more_than_its_slots_and_order_is_priority_then_age(announced: Announced) -> None:
    make_worker(slots=2)
    action = make_action()
    old, young, urgent = (
        make_request(action=action),
        make_request(action=action),
        make_request(action=action, priority=5),
    )

    dispatch_waiting()

    assert [row[1] for row in announced] == [urgent.pk, old.pk]
    young.refresh_from_db()
    assert young.status == Status.REQUESTED


def test_what_is_running_or_canceling_holds_its_slot(announced: Announced) -> None:
    worker = make_worker(slots=3)
    make_execution(status=Status.RUNNING, worker=worker)
    make_execution(status=Status.CANCELING, worker=worker)
    make_execution(status=Status.COMPLETED, worker=worker)
    make_request(), make_request()

    dispatch_waiting()

    assert len(announced) == 1


def test_blocked_demand_holds_up_nobody(announced: Announced) -> None:
    make_worker(name="plain", slots=5)
    make_worker(name="gpu", slots=5, capabilities={"labels": {"gpu": "1"}}, cordoned=True)
    blocked = make_request(worker_selector={"gpu": "1"}, priority=50)
    free = make_request()

    dispatch_waiting()

    assert [row[1] for row in announced] == [free.pk]
    blocked.refresh_from_db()
    assert blocked.status == Status.REQUESTED


def test_equal_workers_take_turns_and_the_preferred_one_wins(announced: Announced) -> None:
    first, second = make_worker(slots=4), make_worker(slots=4, capabilities={"labels": {"disk": "ssd"}})
    action = make_action()
    for _ in range(4):
        make_request(action=action)
    dispatch_waiting()
    assert sorted(row[0] for row in announced) == sorted([first.pk, second.pk] * 2)

    announced.clear()
    preferred = {"preferred": [{"weight": 10, "preference": {"match_labels": {"disk": "ssd"}}}]}
    make_request(action=action, worker_affinity=preferred), make_request(action=action, worker_affinity=preferred)
    dispatch_waiting()
    assert [row[0] for row in announced] == [second.pk, second.pk]


def test_demand_no_worker_could_ever_meet_fails_at_once(announced: Announced) -> None:
    make_worker(runtimes=("shell",))
    ruby = make_action(runtime=make_runtime(ref="core.ruby"))
    execution = make_request(action=ruby)

    dispatch_waiting()

    execution.refresh_from_db()
    assert execution.status == Status.FAILED
    assert execution.result["error"] == "Execution is unschedulable"
    assert execution.result["message"] == "no worker offers the runtime ruby (available: shell)"
    assert (execution.result["failed_by"], execution.result["action_ref"]) == ("execution_scheduler", ruby.ref)
    assert (execution.result["failed_by"], execution.result["action_ref"]) == ("execution_scheduler", ruby.ref)
    assert steps_of(execution) == ["requested", "failed"]


@pytest.mark.parametrize(
    ("required", "message"),
    [
        ({"Ruby": "*"}, "no worker offers the runtime Ruby (available: nodejs, python, shell)"),
        ({"python": ">=99"}, "no worker offers a version of python that satisfies >=99"),
        ({"python": "*", "nodejs": "*"}, "no worker offers all of the runtimes shell, nodejs, python"),
    ],
)
def test_further_runtime_that_no_worker_offers_is_named(
    announced: Announced, required: dict[str, str], message: str
) -> None:
    make_worker(runtimes=("shell", "python"))
    make_worker(runtimes=("shell", "nodejs"))
    shell = make_runtime(ref="core.shell")
    execution = make_request(action=make_action(runtime=shell, required_worker_runtimes=required))

    dispatch_waiting()

    execution.refresh_from_db()
    assert (execution.status, execution.result["message"]) == (Status.FAILED, message)


def test_further_runtime_goes_by_its_name_its_aliases_and_its_ref(announced: Announced) -> None:
    worker = make_worker(runtimes=("shell", "nodejs"))
    make_runtime(ref="core.nodejs", name="Node.js", aliases=["node", "nodejs", "node.js"])
    shell = make_runtime(ref="core.shell")
    for name in ("Node.js", "NODE", "core.nodejs", "nodejs"):
        make_request(action=make_action(runtime=shell, required_worker_runtimes={name: "*"}))

    dispatch_waiting()

    assert [row[0] for row in announced] == [worker.pk] * 4


@pytest.mark.parametrize(
    "state", [{"lease_seconds": -1}, {"cordoned": True}, {"draining": True}, {"status": "inactive"}, None]
)
def test_outage_of_workers_fails_nothing(announced: Announced, state: dict[str, object] | None) -> None:
    if state is not None:
        make_worker(**state)  # type: ignore[arg-type]  # one keyword of many kinds
    execution = make_request()

    dispatch_waiting()

    execution.refresh_from_db()
    assert (execution.status, announced) == (Status.REQUESTED, [])


def test_execution_whose_time_has_not_come_is_not_in_line(announced: Announced) -> None:
    make_worker()
    later = make_request(not_before=timezone.now() + timedelta(hours=1))
    held = make_execution(held=True)

    dispatch_waiting()

    assert announced == []
    assert (later.demand_id, held.demand_id) == (None, None)


def test_cost_of_a_pass_does_not_grow_with_the_backlog(announced: Announced) -> None:
    worker = make_worker(slots=1)
    action = make_action()
    counts = []
    make_request(action=action)
    dispatch_once()  # what a process reads once is read now
    Execution.objects.filter(worker=worker).update(status=Status.COMPLETED)
    for backlog in (1, 50):
        for _ in range(backlog):
            make_request(action=action)
        with CaptureQueriesContext(connection) as queries:
            dispatch_once()
        counts.append(len(queries))
        Execution.objects.filter(worker=worker).update(status=Status.COMPLETED)
    assert counts[0] == counts[1]


@pytest.mark.django_db(transaction=True)
def test_two_dispatchers_at_once_never_fill_a_slot_twice(announced: Announced) -> None:
    worker = make_worker(slots=7)
    action = make_action()
    for _ in range(30):
        make_request(action=action)
    start = threading.Barrier(4)

    def dispatch_here() -> None:
        start.wait()
        dispatch_once()
        connection.close()

    threads = [threading.Thread(target=dispatch_here) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dispatch_waiting()

    assert Execution.objects.filter(worker=worker, status=Status.SCHEDULED).count() == 7
    assert len({execution_id for _worker, execution_id, _epoch in announced}) == len(announced) == 7


def test_what_waits_follows_an_edit_of_its_action(announced: Announced) -> None:
    gpu = make_worker(name="gpu", capabilities={"labels": {"gpu": "1"}}, cordoned=True)
    plain = make_worker(name="plain")
    action = make_action(worker_selector={"gpu": "1"})
    follows, own = make_request(action=action), make_request(action=action, worker_selector={"gpu": "1"})
    dispatch_waiting()
    assert announced == []

    update_action(action.pk, {"worker_selector": {}})
    put_in_line()
    dispatch_waiting()
    assert announced == [(plain.pk, follows.pk, 1)]

    Worker.objects.filter(pk=gpu.pk).update(cordoned=False)
    dispatch_waiting()
    assert announced == [(plain.pk, follows.pk, 1), (gpu.pk, own.pk, 1)]


@pytest.mark.postgresql  # SQLite lets nobody else write meanwhile
@pytest.mark.django_db(transaction=True)
def test_request_under_way_follows_an_edit_that_it_did_not_see() -> None:
    action = make_action()
    with transaction.atomic():
        execution = make_request(action=action)
        together(lambda: update_action(action.pk, {"worker_selector": {"gpu": "1"}}))
    before = _selector_of(execution)

    sweep()

    assert (before, _selector_of(execution)) == ({}, {"gpu": "1"})


def _selector_of(execution: Execution) -> object:
    execution.refresh_from_db()
    assert execution.demand is not None
    return execution.demand.requirements["selector"]


def test_no_demand_is_left_out_when_those_that_are_remembered_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demands, "_MOST_REMEMBERED", 1)
    made = [demands.demand_id({"selector": {"number": str(number)}}) for number in range(4)]

    for wanted in (made[:3], made, made[1:]):
        assert list(demands.load_demands(wanted)) == wanted
