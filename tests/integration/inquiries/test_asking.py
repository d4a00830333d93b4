"""core.ask: what becomes of the task that asks (workflows.md section 11)."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.core import clock
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution, ExecutionHistory
from apps.executions.requests import ExecutionRequest, request_execution
from apps.executions.services import cancel_execution, explain, force_close_execution
from apps.inquiries import deadlines
from apps.inquiries.models import Inquiry
from apps.inquiries.services import respond
from tests.factories import make_execution, make_identity
from tests.integration.inquiries.asking import make_ask, make_asking, make_inquiry, make_run, start

pytestmark = pytest.mark.django_db


def test_a_task_that_asks_runs_at_once_and_has_one_pending_inquiry():
    anna = make_identity()
    schema = {"approved": {"type": "boolean", "required": True}}

    child = make_asking(
        config={"prompt": "Deploy?", "response_schema": schema, "assigned_to": anna.pk}, timeout_seconds=60
    )

    inquiry = Inquiry.objects.get()
    assert (child.status, child.result) == ("running", {"inquiry_id": inquiry.pk, "status": "pending"})
    assert (inquiry.execution_id, inquiry.status, inquiry.prompt) == (child.pk, "pending", "Deploy?")
    assert (inquiry.response_schema, inquiry.assigned_to_id) == (schema, anna.pk)
    assert inquiry.timeout_at == child.started_at + timedelta(seconds=60)


def test_without_parameters_it_asks_for_an_approval_without_limit():
    make_asking()

    inquiry = Inquiry.objects.get()
    assert (inquiry.prompt, inquiry.response_schema, inquiry.assigned_to_id, inquiry.timeout_at) == (
        "Approval required", None, None, None,
    )  # fmt: skip


def test_dispatch_starts_it_without_a_worker():
    run = make_run()
    request = ExecutionRequest(
        action=make_ask(), parent=run, workflow_task={"workflow_execution": 1, "task_name": "ask"}
    )
    child = request_execution(request)

    assert start_by_engine(child.pk)

    child.refresh_from_db()
    assert (child.status, child.worker_id, child.started_at is not None) == ("running", None, True)
    assert Inquiry.objects.get().execution_id == child.pk


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"prompt": ""}, "prompt must not be empty"),
        ({"prompt": 5}, "prompt must be a text"),
        ({"prompt": "x" * 10_001}, "prompt has 10001 characters, at most 10000 are allowed"),
        ({"response_schema": [1]}, "response_schema must be an object"),
        ({"response_schema": {"a": {"enum": ["x" * 300_000]}}}, "response_schema: The schema is larger than 256 KiB"),
        ({"assigned_to": "anna"}, "assigned_to must be the id of an identity, a whole number"),
        ({"assigned_to": True}, "assigned_to must be the id of an identity, a whole number"),
        ({"assigned_to": 10**30}, f"assigned_to: there is no identity with id {10**30}"),
        ({"assigned_to": 999_999}, "assigned_to: there is no identity with id 999999"),
    ],
)
def test_what_makes_no_question_fails_with_the_reason(config: dict[str, Any], words: str):
    child = make_asking(config=config)

    assert (child.status, child.result) == (
        "failed", {"error": f"The question cannot be asked: {words}", "succeeded": False},
    )  # fmt: skip
    assert not Inquiry.objects.exists()


def test_a_deadline_beyond_any_calendar_fails():
    child = make_asking(timeout_seconds=10**15)

    assert (child.status, child.result["error"]) == (
        "failed", f"The question cannot be asked: its deadline, {10**15} seconds from now, is beyond any calendar",
    )  # fmt: skip


def test_outside_of_a_workflow_it_fails_plainly():
    execution = start(make_execution(action=make_ask(), status="running", started_at=timezone.now()))

    assert execution.status == "failed"
    assert execution.result["error"].startswith("core.ask works only as a task of a workflow")
    assert not Inquiry.objects.exists()


def test_the_answer_completes_it():
    child = make_asking()
    inquiry = Inquiry.objects.get()

    respond(inquiry.pk, {"approved": True}, caller=None)

    child.refresh_from_db()
    inquiry.refresh_from_db()
    assert (child.status, child.succeeded, child.finished_at) == ("completed", True, child.updated)
    assert child.result == {
        "response": {"approved": True},
        "__inquiry_id": inquiry.pk,
        "responded_by": None,
        "responded_at": clock.as_text(inquiry.responded_at),
        "succeeded": True,
    }
    assert child.duration_ms is not None
    assert (inquiry.status, inquiry.response) == ("responded", {"approved": True})
    steps = ExecutionHistory.objects.filter(entity_id=child.pk).values_list("actor", "new_values__status")
    assert list(steps) == [("system", "completed")]


def test_the_deadline_times_both_out():
    child = make_asking(timeout_seconds=1, started_at=timezone.now() - timedelta(seconds=2))

    assert deadlines.expire_due() == 1
    assert deadlines.expire_due() == 0

    child.refresh_from_db()
    inquiry = Inquiry.objects.get()
    assert (inquiry.status, inquiry.responded_at) == ("timeout", None)
    assert (child.status, child.succeeded) == ("timeout", False)
    assert child.result == {"error": "inquiry timed out", "__inquiry_id": inquiry.pk, "succeeded": False}
    assert child.workflow_task["timed_out"] is True


def test_a_deadline_that_has_not_come_is_left_alone():
    child = make_asking(timeout_seconds=60)
    make_inquiry()

    assert deadlines.expire_due() == 0

    child.refresh_from_db()
    assert child.status == "running"
    assert 50 < (deadlines.next_due() or 0) <= 60


def test_no_deadline_is_due_where_nothing_is_pending():
    make_inquiry(status="cancelled", timeout_at=timezone.now())
    make_inquiry()

    assert deadlines.next_due() is None
    assert deadlines.expire_due() == 0


def test_the_deadline_of_an_ordinary_execution_touches_nothing_but_the_inquiry():
    inquiry = make_inquiry(execution=make_execution(status="running"), timeout_at=timezone.now())

    assert deadlines.next_due() == 0
    assert deadlines.expire_due() == 1

    inquiry.refresh_from_db()
    assert (inquiry.status, Execution.objects.get().status) == ("timeout", "running")


def test_a_cancel_of_the_execution_cancels_the_inquiry():
    by = make_identity()
    child = make_asking()

    cancel_execution(child.pk, by=by)

    child.refresh_from_db()
    assert (child.status, child.cancelled_by_id, child.result["cancelled"]) == ("cancelled", by.pk, True)
    assert Inquiry.objects.get().status == "cancelled"
    statuses = ExecutionHistory.objects.filter(entity_id=child.pk).order_by("id").values_list("new_values__status")
    assert [status for (status,) in statuses] == ["canceling", "cancelled"]


def test_a_forced_end_of_the_execution_cancels_the_inquiry():
    child = make_asking()

    force_close_execution(child.pk, by=make_identity())

    assert (Execution.objects.get(pk=child.pk).status, Inquiry.objects.get().status) == ("abandoned", "cancelled")


def test_why_says_for_whom_it_waits():
    anna = make_identity(login="anna")
    child = make_asking(config={"assigned_to": anna.pk}, timeout_seconds=60)
    inquiry = Inquiry.objects.get()

    reason = explain(child)["reasons"][0]

    assert reason["code"] == "inquiry_pending"
    assert reason["message"].startswith("Waits for anna to answer until ")
    assert reason["details"] == {
        "inquiry": inquiry.pk, "assigned_to": anna.pk, "timeout_at": clock.as_text(inquiry.timeout_at),
    }  # fmt: skip


def test_an_answer_never_changes_a_finished_result():
    execution = make_execution(status="completed", result={"data": 1, "succeeded": True})
    inquiry = make_inquiry(execution=execution)

    respond(inquiry.pk, "yes", caller=None)

    execution.refresh_from_db()
    assert (execution.status, execution.result) == ("completed", {"data": 1, "succeeded": True})
    assert Inquiry.objects.get().response == "yes"
