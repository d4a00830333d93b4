"""Several dispatchers, requests and changes at once (execution.md section 17)."""

import random
import threading
from collections.abc import Callable

import pytest
from django.db import DatabaseError, connection, transaction

from apps.executions.dispatch import dispatch_once, dispatch_waiting
from apps.executions.errors import LineFull
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.states import TERMINAL, Status
from apps.executions.transitions import Step, transition
from tests.factories import make_action, make_policy, make_request, make_worker

pytestmark = pytest.mark.django_db(transaction=True)
Announced = list[tuple[int, int, int]]


def at_once(*calls: Callable[[], object]) -> None:
    """Run each in a thread of its own, from the same moment."""
    start = threading.Barrier(len(calls))
    failures: list[BaseException] = []

    def run(call: Callable[[], object]) -> None:
        start.wait()
        try:
            call()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def end_one() -> bool:
    """End some execution that holds a slot, as its worker would."""
    with transaction.atomic():
        rows = Execution.objects.select_for_update(skip_locked=True).filter(status=Status.SCHEDULED)
        row = rows.order_by("?").first()
        if row is None:
            return False
        transition(row, Step(source=Status.SCHEDULED, target=Status.RUNNING, actor="test"))
        transition(row, Step(source=Status.RUNNING, target=Status.COMPLETED, actor="test"))
    return True


def drain() -> None:
    """Dispatch and end by turns until nothing is left, whatever others do meanwhile."""
    for _ in range(400):
        try:
            dispatch_once()
            end_one()
        except DatabaseError:
            continue  # the sweep tries again
        if not Execution.objects.exclude(status__in=TERMINAL).exists():
            return


def most_at_once(group_of: dict[int, str]) -> int:
    """Return how many of one group held a slot at the same time, by the order in which it was written."""
    holding: dict[str, set[int]] = {}
    most = 0
    rows = (
        ExecutionHistory.objects.filter(entity_id__in=group_of).order_by("id").values_list("entity_id", "new_values")
    )
    for pk, new in rows:
        held = holding.setdefault(group_of[pk], set())
        if new["status"] == "scheduled":
            held.add(pk)
            most = max(most, len(held))
        elif new["status"] in TERMINAL:
            held.discard(pk)
    return most


def test_never_two_of_a_group_and_first_in_first_out(announced: Announced) -> None:
    make_worker(slots=20)
    action = make_action()
    make_policy(action=action, parameters=["site"])
    make_policy(threshold=3, action_refs=[action.ref])
    rows = [make_request(action=action, parameters={"site": random.choice("abcd")}) for _ in range(60)]
    group_of = {row.pk: row.config["site"] for row in rows}

    at_once(*([drain] * 4))

    assert Execution.objects.filter(status=Status.COMPLETED).count() == 60
    assert most_at_once(group_of) == 1
    assert most_at_once(dict.fromkeys(group_of, "all")) <= 3
    admitted = ExecutionHistory.objects.filter(new_values__status="scheduled").order_by("id").values_list("entity_id")
    for site in "abcd":
        order = [pk for (pk,) in admitted if group_of[pk] == site]
        assert order == sorted(order)


def test_rate_is_never_exceeded(announced: Announced) -> None:
    make_worker(slots=20)
    action = make_action()
    make_policy(action=action, max_executions=5, window_seconds=3600)
    for _ in range(20):
        make_request(action=action)

    at_once(*([dispatch_waiting] * 2), *([lambda: [dispatch_once() for _ in range(5)]] * 4))

    assert Execution.objects.filter(status=Status.SCHEDULED).count() == 5


def test_line_is_never_longer_than_it_may_be(announced: Announced) -> None:
    action = make_action()
    make_policy(action=action, max_waiting=5)

    def ask() -> None:
        for _ in range(5):
            try:
                make_request(action=action, refuse_when_full=True)
            except LineFull:
                continue

    at_once(*([ask] * 4))

    assert Execution.objects.filter(status=Status.REQUESTED).count() == 5


def test_policy_that_comes_and_goes_leaves_nothing_behind(announced: Announced) -> None:
    make_worker(slots=20)
    action = make_action()
    for number in range(40):
        make_request(action=action, parameters={"site": number % 3})

    def change() -> None:
        for number in range(6):
            policy = make_policy(action=action, parameters=["site"] if number % 2 else [])
            dispatch_waiting()
            policy.delete()
            dispatch_waiting()

    at_once(drain, drain, change)

    assert Execution.objects.filter(status=Status.COMPLETED).count() == 40
