"""People, deadlines and cancels that come at once: one of them wins, and the execution ends as it says."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from apps.core.errors import AttuneError
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.services import cancel_execution
from apps.inquiries import deadlines
from apps.inquiries.models import Inquiry
from apps.inquiries.services import delete_inquiry, respond
from attune.scheduler import Scheduler
from tests.clients import signed_in
from tests.factories import make_admin
from tests.integration.inquiries.asking import make_asking
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = 8


def together(*works: Callable[[], Any]) -> list[Any]:
    """Do these at once, each in a thread of its own; return what each returned or raised, in order."""
    start = threading.Barrier(len(works))
    came: list[Any] = [None] * len(works)

    def run(number: int) -> None:
        start.wait(10)
        try:
            came[number] = works[number]()
        except Exception as error:
            came[number] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return came


def ends_of(execution: Execution) -> int:
    """How often it was ended."""
    ends = ExecutionHistory.objects.filter(entity_id=execution.pk, changed_fields__isnull=False)
    return sum((row.new_values or {}).get("status") in ("completed", "timeout", "cancelled") for row in ends)


def test_of_many_answers_at_once_one_is_kept():
    for _round in range(ROUNDS):
        child = make_asking()
        inquiry = child.inquiry

        def give(number: int, pk: int = inquiry.pk) -> Any:
            return respond(pk, number, caller=None)

        came = together(*(lambda number=number: give(number) for number in range(4)))

        child.refresh_from_db()
        won = [number for number, answer in enumerate(came) if isinstance(answer, Inquiry)]
        lost = [answer for answer in came if not isinstance(answer, Inquiry)]
        assert len(won) == 1
        assert [getattr(error, "status", error) for error in lost] == [400] * 3
        assert child.result["response"] == Inquiry.objects.get(pk=inquiry.pk).response == won[0]
        assert ends_of(child) == 1


def test_two_answers_over_http_at_once():
    child = make_asking()
    admin = make_admin()
    path = f"/api/v1/inquiries/{child.inquiry.pk}/respond"

    came = together(*(lambda: signed_in(admin).post(path, {"response": 1}, format="json") for _each in range(3)))

    assert sorted(answer.status_code for answer in came) == [200, 400, 400]
    assert ends_of(child) == 1


@pytest.mark.parametrize("other", ["deadline", "cancel", "delete"])
def test_an_answer_against_what_ends_it_otherwise(other: str):
    seen = set()
    for _round in range(ROUNDS):
        child = make_asking(timeout_seconds=60)
        inquiry = child.inquiry
        if other == "deadline":  # its end and the answer meet at this moment
            inquiry.set(timeout_at=timezone.now() + timedelta(milliseconds=5))
        against = {
            "deadline": lambda: (wait_until(lambda: not deadlines.next_due()), deadlines.expire_due()),
            "cancel": lambda pk=child.pk: cancel_execution(pk, by=None),
            "delete": lambda pk=inquiry.pk: delete_inquiry(pk, caller=None),
        }[other]

        came = together(lambda pk=inquiry.pk: respond(pk, "yes", caller=None), against)

        child.refresh_from_db()
        assert not [each for each in came if isinstance(each, Exception) and not isinstance(each, AttuneError)]
        won = isinstance(came[0], Inquiry)
        ended = {"deadline": "timeout", "cancel": "cancelled", "delete": "cancelled"}[other]
        assert child.status == ("completed" if won else ended)
        assert ends_of(child) == 1
        seen.add(won)
    assert seen


def test_a_scheduler_finds_deadlines_by_itself():
    child = make_asking(timeout_seconds=1)
    scheduler = Scheduler()
    scheduler.start()
    try:
        wait_until(lambda: Execution.objects.get(pk=child.pk).status == "timeout")
        # One that is made while nothing is due, too.
        later = make_asking(timeout_seconds=1)
        wait_until(lambda: Execution.objects.get(pk=later.pk).status == "timeout")
    finally:
        scheduler.ask_to_stop()
        assert scheduler.join(20)
