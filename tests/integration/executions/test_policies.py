"""Executions that policies hold back (execution.md section 17)."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.actions.models import Action, Policy
from apps.actions.services import update_action
from apps.core import clock
from apps.executions.cancelling import cancel_execution, force_close_execution
from apps.executions.dispatch import dispatch_once, dispatch_waiting
from apps.executions.errors import LineFull
from apps.executions.models import AdmissionEntry, AdmissionState, Execution
from apps.executions.retries import repeat_after_end
from apps.executions.settling import take_back_unclaimed
from apps.executions.states import Status
from apps.executions.sweep import put_in_line
from apps.executions.transitions import Step, transition
from tests.factories import (
    make_action,
    make_execution,
    make_identity,
    make_pack,
    make_policy,
    make_request,
    make_worker,
)

pytestmark = pytest.mark.django_db
Announced = list[tuple[int, int, int]]


def started(announced: Announced) -> list[int]:
    """Dispatch, and return what was handed over by it, in order."""
    announced.clear()
    dispatch_waiting()
    return [row[1] for row in announced]


def end(*executions: Execution, status: Status = Status.COMPLETED) -> None:
    for execution in executions:
        execution.refresh_from_db()
        if execution.status == Status.SCHEDULED:
            transition(execution, Step(source=Status.SCHEDULED, target=Status.RUNNING, actor="test"))
        transition(execution, Step(source=Status.RUNNING, target=status, actor="test"))


def requests(action: Action, *parameters: dict[str, Any], **fields: Any) -> list[Execution]:
    return [make_request(action=action, parameters=each, **fields) for each in parameters]


def waiting(action: Action, number: int) -> list[Execution]:
    return requests(action, *({} for _ in range(number)))


def test_no_more_than_the_threshold_run_and_the_next_follows_at_an_end(announced: Announced) -> None:
    make_worker()
    action = make_action()
    make_policy(action=action, threshold=2)
    first, second, third, fourth = waiting(action, 4)
    other = make_request()

    assert started(announced) == [first.pk, second.pk, other.pk]
    assert started(announced) == []
    end(second)
    assert started(announced) == [third.pk]
    end(first, third)
    assert started(announced) == [fourth.pk]


def test_line_is_first_in_first_out_with_priority_first(announced: Announced) -> None:
    make_worker()
    action = make_action()
    make_policy(action=action)
    old, young = waiting(action, 2)
    (urgent,) = requests(action, {}, priority=5)

    order = []
    for _ in range(3):
        (pk,) = started(announced)
        order.append(pk)
        end(Execution.objects.get(pk=pk))
    assert order == [urgent.pk, old.pk, young.pk]


def test_each_group_has_its_own_limit_told_apart_by_value_and_type(announced: Announced) -> None:
    make_worker(slots=50)
    action = make_action(param_schema={"site": {"type": "string", "default": "dev"}})
    make_policy(action=action, parameters=["site"])
    alike = [({"site": "prod"}, {"site": "prod", "x": 1}), ({}, {"site": None}), ({"site": 1}, {"site": 1.0})]
    alone = [
        {"site": "1"},
        {"site": True},
        {"site": ["a"]},
        {"site": {"a": 1}},
        {"site": "x" * 5000},
        {"site": "x" * 5001},
    ]
    pairs = [requests(action, *pair) for pair in alike]
    singles = requests(action, *alone)

    expected = [first.pk for first, _second in pairs] + [each.pk for each in singles]
    assert started(announced) == expected
    assert requests(action, {"parameters": {"site": "prod"}})[0].demand_id == pairs[0][0].demand_id


def test_secret_values_make_groups_and_stand_nowhere(announced: Announced) -> None:
    make_worker()
    action = make_action(param_schema={"token": {"type": "string", "secret": True}})
    make_policy(action=action, parameters=["token"])
    first, same, other = requests(action, {"token": "s3cret-a"}, {"token": "s3cret-a"}, {"token": "s3cret-b"})

    assert started(announced) == [first.pk, other.pk]
    same.refresh_from_db()
    assert same.demand is not None
    assert "s3cret" not in str(same.demand.requirements)
    assert not AdmissionState.objects.filter(group_key__contains="s3cret").exists()


def test_full_group_holds_up_nobody_and_is_not_looked_into(announced: Announced) -> None:
    make_worker()
    action = make_action()
    make_policy(action=action, parameters=["site"])
    requests(action, *({"site": "full"} for _ in range(5)))
    started(announced)
    requests(action, *({"site": "full"} for _ in range(20)), priority=9)
    (free,) = requests(action, {"site": "free"})

    assert started(announced) == [free.pk]
    dispatch_once()
    with CaptureQueriesContext(connection) as queries:
        dispatch_once()
    assert not any("SKIP LOCKED" in query["sql"] or "LIMIT 2" in query["sql"] for query in queries)


def test_most_specific_policy_counts_for_each_kind_of_limit(announced: Announced) -> None:
    make_worker()
    pack = make_pack()
    action, sibling = make_action(pack=pack), make_action(pack=pack)
    make_policy(threshold=1)
    make_policy(pack=pack, threshold=2, max_executions=3, window_seconds=60)
    make_policy(action=action, threshold=4)
    own, siblings, others = waiting(action, 6), waiting(sibling, 6), waiting(make_action(), 3)

    handed = started(announced)

    # The action's own threshold of 4 counts for it, but its pack's rate of 3 does, too, for both actions together.
    assert handed == [own[0].pk, own[1].pk, own[2].pk, others[0].pk]
    assert siblings[0].pk not in handed


@pytest.mark.parametrize("scope", ["action_refs", "semaphore"])
def test_shared_limit_holds_besides(announced: Announced, scope: str) -> None:
    make_worker()
    first, second, third = (make_action(semaphores=["db"]) for _ in range(3))
    limits: dict[str, Any] = (
        {"action_refs": [first.ref, second.ref]} if scope == "action_refs" else {"semaphore": "db"}
    )
    make_policy(threshold=2, **limits)
    make_policy(action=first, threshold=1)
    rows = [make_request(action=action) for action in (first, first, second, second, third)]

    handed = started(announced)

    assert handed == [rows[0].pk, rows[2].pk] + ([rows[4].pk] if scope == "action_refs" else [])


def test_semaphores_of_an_action_may_change(announced: Announced) -> None:
    make_worker()
    action = make_action()
    make_policy(semaphore="db")
    first, second = waiting(action, 2)
    Action.objects.get(pk=action.pk).set(semaphores=["db"])
    assert started(announced) == [first.pk]
    Action.objects.get(pk=action.pk).set(semaphores=[])
    assert started(announced) == [second.pk]


def test_method_cancel_ends_what_is_over_the_limit(announced: Announced) -> None:
    make_worker()
    action = make_action()
    policy = make_policy(action=action, method="cancel", parameters=["site"])
    first, over, other = requests(action, {"site": "a"}, {"site": "a"}, {"site": "b"})

    assert started(announced) == [first.pk, other.pk]

    over.refresh_from_db()
    assert over.status == Status.CANCELLED
    assert over.result.pop("cancelled_at")
    assert over.result == {
        "error": "Execution cancelled by policy",
        "message": f"Policy {policy.ref}: 1 of 1 running for site=a",
        "action_ref": action.ref,
        "cancelled_by": "execution_scheduler",
        "succeeded": False,
    }


def test_rate_lets_so_many_start_in_any_window(announced: Announced) -> None:
    make_worker()
    action = make_action()
    make_policy(action=action, max_executions=2, window_seconds=60)
    rows = waiting(action, 5)
    assert started(announced) == [rows[0].pk, rows[1].pk]
    end(rows[0], rows[1])
    assert started(announced) == []

    AdmissionEntry.objects.filter(execution=rows[0]).update(admitted_at=clock.now() - timedelta(seconds=61))
    assert started(announced) == [rows[2].pk]
    assert started(announced) == []
    made = dispatch_once()
    oldest = AdmissionEntry.objects.get(execution=rows[1])
    assert made.next_slot_at == oldest.admitted_at + timedelta(seconds=60)


def test_start_that_was_taken_back_counts_once_as_the_newest(announced: Announced) -> None:
    worker = make_worker()
    action = make_action()
    make_policy(action=action, max_executions=3, window_seconds=60)
    (first,) = waiting(action, 1)
    started(announced)
    take_back_unclaimed(worker, actor="test")
    assert started(announced) == [first.pk]
    assert list(AdmissionEntry.objects.values_list("execution", "sequence")) == [(first.pk, 2)]


@pytest.mark.parametrize("way", ["end", "cancel", "force-close", "taken back"])
def test_slot_is_free_after_every_end(announced: Announced, way: str) -> None:
    worker = make_worker()
    action = make_action()
    make_policy(action=action)
    first, second = waiting(action, 2)
    assert started(announced) == [first.pk]
    match way:
        case "end":
            end(first, status=Status.FAILED)
        case "cancel":
            cancel_execution(first.pk, by=None)
        case "force-close":
            force_close_execution(first.pk, by=make_identity())
        case _:
            take_back_unclaimed(worker, actor="test")
    assert started(announced) == [first.pk if way == "taken back" else second.pk]


def test_canceling_holds_its_slot(announced: Announced) -> None:
    make_worker()
    action = make_action()
    make_policy(action=action)
    first, _second = waiting(action, 2)
    started(announced)
    transition(first, Step(source=Status.REQUESTED, target=Status.CANCELLED, actor="t"))  # is elsewhere: no effect
    first.refresh_from_db()
    transition(first, Step(source=Status.SCHEDULED, target=Status.RUNNING, actor="test"))
    cancel_execution(first.pk, by=None)
    assert started(announced) == []


def test_policy_holds_at_once_for_what_waits_and_counts_what_runs(announced: Announced) -> None:
    make_worker(slots=1)
    action = make_action(param_schema={"site": {"default": "a"}})
    running, *rest = requests(action, {}, {"site": "a"}, {"site": "b"}, {"site": "b"})
    assert started(announced) == [running.pk]
    make_worker(slots=9)
    policy = make_policy(action=action, parameters=["site"])

    assert started(announced) == [rest[1].pk]
    assert started(announced) == []
    Policy.objects.get(pk=policy.pk).set(threshold=2)
    assert started(announced) == [rest[0].pk, rest[2].pk]


@pytest.mark.parametrize("change", ["deleted", "disabled", "raised", "grouped"])
def test_what_waits_goes_when_its_policy_does(announced: Announced, change: str) -> None:
    make_worker()
    action = make_action()
    policy = make_policy(action=action)
    first, second, third = requests(action, {"site": "a"}, {"site": "b"}, {"site": "b"})
    assert started(announced) == [first.pk]
    match change:
        case "deleted":
            policy.delete()
        case "disabled":
            policy.set(enabled=False)
        case "raised":
            policy.set(threshold=3)
        case _:
            policy.set(parameters=["site"])
    assert started(announced) == ([second.pk] if change == "grouped" else [second.pk, third.pk])


def test_more_specific_policy_takes_over_what_waits(announced: Announced) -> None:
    make_worker()
    pack = make_pack()
    action, sibling = make_action(pack=pack), make_action(pack=pack)
    make_policy(pack=pack)
    first, second = make_request(action=sibling), make_request(action=action)
    assert started(announced) == [first.pk]
    make_policy(action=action)
    assert started(announced) == [second.pk]


def test_order_holds_while_a_line_is_put_in_anew(announced: Announced) -> None:
    make_worker(slots=3)
    action = make_action()
    old = waiting(action, 7)
    make_policy(action=action)
    young = waiting(action, 2)
    order = []
    for _ in range(9):
        (pk,) = started(announced)
        order.append(pk)
        end(Execution.objects.get(pk=pk))
    assert order == [row.pk for row in (*old, *young)]


def test_one_that_no_worker_can_take_does_not_hold_up_its_group(announced: Announced) -> None:
    make_worker()
    make_worker(capabilities={"labels": {"gpu": "1"}}, cordoned=True)
    action = make_action()
    make_policy(action=action)
    make_request(action=action, worker_selector={"gpu": "1"}, priority=9)
    (second,) = waiting(action, 1)
    assert started(announced) == [second.pk]


def test_delayed_one_joins_its_group_when_its_time_has_come(announced: Announced) -> None:
    make_worker()
    action = make_action(max_retries=1)
    make_policy(action=action)
    first, second = waiting(action, 2)
    assert started(announced) == [first.pk]
    end(first, status=Status.FAILED)
    attempt = repeat_after_end(first)
    assert attempt is not None
    assert attempt.demand_id is None
    assert started(announced) == [second.pk]
    Execution.objects.filter(pk=attempt.pk).update(not_before=clock.now() - timedelta(seconds=1))
    put_in_line()
    assert started(announced) == []
    end(second)
    assert started(announced) == [attempt.pk]


def test_full_line_refuses_or_cancels(announced: Announced) -> None:
    make_worker()
    action = make_action()
    policy = make_policy(action=action, threshold=1, max_waiting=2, parameters=["site"])
    requests(action, {"site": "a"})
    started(announced)
    requests(action, {"site": "a"}, {"site": "a"}, {"site": "b"})
    message = f"Policy {policy.ref}: 2 of 2 waiting for site=a"

    with pytest.raises(LineFull, match=message), transaction.atomic():
        requests(action, {"site": "a"}, refuse_when_full=True)
    (over,) = requests(action, {"site": "a"})

    over.refresh_from_db()
    assert (over.status, over.result["error"]) == (Status.CANCELLED, "Execution cancelled by policy")
    assert over.result["message"] == message
    assert Execution.objects.filter(status=Status.REQUESTED).count() == 3


def test_edit_of_the_action_keeps_the_groups(announced: Announced) -> None:
    make_worker(capabilities={"labels": {"gpu": "1"}})
    action = make_action()
    make_policy(action=action, parameters=["site"])
    requests(action, {"site": "a"})
    started(announced)
    full, free = requests(action, {"site": "a"}, {"site": "b"})
    update_action(action.pk, {"worker_selector": {"gpu": "1"}})
    full.refresh_from_db()
    assert full.demand is not None
    assert full.demand.requirements["selector"] == {"gpu": "1"}
    assert started(announced) == [free.pk]


def test_row_that_plain_sql_wrote_is_counted(announced: Announced) -> None:
    worker = make_worker()
    action = make_action()
    make_policy(action=action)
    make_execution(action=action, status=Status.RUNNING, worker=worker, config={"a": 1})
    waiting(action, 1)
    assert started(announced) == []
    row = Execution.objects.get(status=Status.RUNNING)
    assert row.demand is not None
    assert row.demand.is_limited


def test_no_policy_costs_no_query(announced: Announced) -> None:
    make_worker()
    action = make_action()
    counts = []
    for number in range(3):
        make_request(action=action)
        with CaptureQueriesContext(connection) as queries:
            dispatch_once()
        counts.append(len(queries))
        if number == 1:
            make_policy(action=make_action())
            dispatch_once()
            make_request(action=action)
            dispatch_once()  # reads the policies
    assert counts[1] == counts[2]
