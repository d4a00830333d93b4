"""Workflows that ask people: what the answer, or its absence, comes to (workflows.md sections 11, 12 and 14)."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.actions.models import Action
from apps.executions.cancelling import cancel_execution
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution
from apps.executions.secrets import real_config
from apps.inquiries import deadlines
from apps.inquiries.models import Inquiry
from apps.inquiries.services import respond
from tests.clients import with_execution_token
from tests.factories import make_action, make_set
from tests.integration.inquiries.asking import make_ask
from tests.integration.workflows.test_engine_against_model import running_children
from tests.workflow_runs import children_of, make_workflow, start_workflow, tasks_of

pytestmark = pytest.mark.django_db


def asking(*follows: dict[str, Any], **task: Any) -> dict[str, Any]:
    """A task that asks; ``follows``: its transitions."""
    return {"name": "ask", "action": make_ask().ref, "input": {"prompt": "Go?"}, "next": list(follows), **task}


def begun(workflow: Action) -> Execution:
    """Start a workflow and all that engines run of it."""
    execution = start_workflow(workflow)
    pending = [execution.pk]
    while pending:
        assert start_by_engine(pending[0])
        pending = [
            child.pk
            for child in Execution.objects.filter(status="requested").order_by("pk")
            if child.workflow_def is not None or child.action_ref == "core.ask"
        ]
    execution.refresh_from_db()
    return execution


def approval(**definition: Any) -> Execution:
    action = make_action()
    follows = (
        {"when": "{{ result().response.approved }}", "do": ["yes"]},
        {"when": "{{ succeeded() and not result().response.approved }}", "do": ["no"]},
        {"when": "{{ timed_out() }}", "do": ["late"]},
    )
    others = [{"name": name, "action": action.ref} for name in ("yes", "no", "late")]
    return begun(make_workflow([asking(*follows, timeout=60), *others], **definition))


@pytest.mark.parametrize(("approved", "branch"), [(True, "yes"), (False, "no")])
def test_the_answer_chooses_the_branch(approved: bool, branch: str) -> None:
    execution = approval()

    respond(Inquiry.objects.get().pk, {"approved": approved}, caller=None)

    assert tasks_of(execution) == {"ask": "completed", branch: "running"}


def expire() -> None:
    Inquiry.objects.update(timeout_at=timezone.now() - timedelta(seconds=1))
    assert deadlines.expire_due() == 1


def test_nobody_answered_in_time() -> None:
    execution = approval()

    expire()

    assert tasks_of(execution) == {"ask": "completed", "late": "running"}


def test_nobody_answered_in_time_and_nobody_cares() -> None:
    execution = begun(make_workflow([asking(timeout=60)]))

    expire()

    execution.refresh_from_db()
    assert (execution.status, execution.result["failed_tasks"][0]["error"]) == ("failed", "inquiry timed out")


@pytest.mark.parametrize("policy", ["allow_finish", "cancel_running"])
@pytest.mark.parametrize("levels", [1, 3])
def test_questions_end_with_their_workflow(policy: str, levels: int) -> None:
    workflow = make_workflow([asking()], cancellation_policy=policy)
    for _level in range(levels - 1):
        workflow = make_workflow([{"name": "inner", "action": workflow.ref}], cancellation_policy=policy)
    execution = begun(workflow)

    cancel_execution(execution.pk, by=None)

    assert set(Execution.objects.values_list("status", flat=True)) == {"cancelled"}
    assert Inquiry.objects.get().status == "cancelled"


def test_an_answer_three_levels_below_completes_them_all() -> None:
    workflow = make_workflow([asking()], output_map={"said": "{{ task.ask.response.word }}"})
    for _level in range(2):
        task = {"name": "inner", "action": workflow.ref}
        workflow = make_workflow([task], output_map={"said": "{{ task.inner.said }}"})
    execution = begun(workflow)

    respond(Inquiry.objects.get().pk, {"word": "yes"}, caller=None)

    execution.refresh_from_db()
    assert (execution.status, execution.result) == ("completed", {"said": "yes", "succeeded": True})


def test_a_secret_answer_reaches_secret_parameters_alone() -> None:
    takes = make_action(param_schema={"password": {"type": "string", "secret": True}, "text": {"type": "string"}})
    schema = {"word": {"type": "string", "secret": True}}
    said = "{{ result().response.word }}"
    execution = begun(
        make_workflow(
            [
                asking({"do": ["good", "bad"]}, input={"response_schema": schema}),
                {"name": "good", "action": takes.ref, "input": {"password": said}},
                {"name": "bad", "action": takes.ref, "input": {"text": said}},
            ]
        )
    )

    respond(Inquiry.objects.get().pk, {"word": "correct-horse"}, caller=None)

    _ask, good = children_of(execution)
    assert real_config(good) == {"password": "correct-horse"}
    assert "correct-horse" not in str(list(Execution.objects.values_list("config", "result")))
    assert tasks_of(execution) == {"ask": "completed", "good": "running", "bad": "failed"}


def test_a_task_of_the_run_does_not_answer_its_question() -> None:
    execution = begun(make_workflow([asking(), {"name": "other", "action": make_action().ref, "input": {"any": 1}}]))
    make_set(ref="core.admin")
    other = Execution.objects.get(pk=running_children(execution)["other", None, None])

    answer = with_execution_token(other, "core.admin").post(
        f"/api/v1/inquiries/{Inquiry.objects.get().pk}/respond", {"response": 1}, format="json"
    )

    assert answer.status_code == 403
    assert Inquiry.objects.get().status == "pending"
