"""Secrets pass through a workflow without being seen (workflows.md section 14)."""

import json

import pytest
from django.db import connection, transaction

from apps.actions.models import Action
from apps.core.markers import MARKER
from apps.executions import trees
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution
from apps.executions.secrets import real_config, take_out_of_result
from apps.executions.states import Status
from apps.executions.transitions import Step, transition
from apps.keys import secret_store
from apps.workflows.engine.showing import run_data
from tests.factories import make_action
from tests.integration.workflows.test_cancelling import begin
from tests.integration.workflows.test_engine_against_model import end_child, running_children
from tests.workflow_runs import children_of, make_workflow, start_workflow

pytestmark = pytest.mark.django_db
SECRET = "correct-horse-battery"
TOKEN = {"token": {"type": "string", "secret": True}, "host": {"type": "string"}}


def takes_a_secret() -> Action:
    return make_action(param_schema={"password": {"type": "string", "secret": True}, "text": {"type": "string"}})


def started(workflow: Action) -> Execution:
    execution = start_workflow(workflow, token=SECRET, host="here")
    assert start_by_engine(execution.pk)
    execution.refresh_from_db()
    return execution


def assert_unseen(execution: Execution) -> None:
    """No row but those of the secret store holds the value."""
    assert SECRET not in json.dumps(run_data(execution))
    for table in ("execution", "workflow_task", "workflow_variable", "workflow_execution", "workflow_log_line"):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            assert SECRET not in str(cursor.fetchall()), table


def test_secret_parameter_arrives_in_a_secret_parameter() -> None:
    execution = started(
        make_workflow(
            [
                {
                    "name": "a",
                    "action": takes_a_secret().ref,
                    "input": {"password": "{{ parameters.token }}", "text": "{{ parameters.host }}"},
                    "next": [{"publish": [{"kept": {"it": "{{ parameters.token }}", "n": 1}}], "do": ["b"]}],
                },
                {"name": "b", "action": takes_a_secret().ref, "input": {"password": "{{ workflow.kept.it }}"}},
            ],
            param_schema=TOKEN,
        )
    )
    (first,) = running_children(execution).values()

    end_child(first, Status.COMPLETED, {})

    configs = [real_config(child) for child in children_of(execution)]
    assert configs == [{"password": SECRET, "text": "here"}, {"password": SECRET}]
    assert_unseen(execution)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"text": "{{ parameters.token }}"}, "text"),
        ({"text": "token is {{ parameters.token }}"}, "text"),
        ({"deep": [{"er": "{{ parameters.token }}"}]}, "deep.0.er"),
    ],
)
def test_secret_in_any_other_parameter_fails_the_task(given: object, path: str) -> None:
    execution = started(
        make_workflow([{"name": "a", "action": takes_a_secret().ref, "input": given}], param_schema=TOKEN)
    )

    text = f"Secret value cannot be assigned to non-secret parameter path(s): {path}"
    assert execution.result["failed_tasks"] == [{"task": "a", "execution": None, "error": text}]
    assert_unseen(execution)


def test_whole_parameters_leave_out_secrets_that_the_child_does_not_know() -> None:
    execution = started(make_workflow([{"name": "a", "action": make_action().ref}], param_schema=TOKEN))

    assert [child.config for child in children_of(execution)] == [{"host": "here"}]


def test_conditions_and_items_use_real_values() -> None:
    execution = started(
        make_workflow(
            [
                {
                    "name": "a",
                    "action": takes_a_secret().ref,
                    "when": f"{{{{ parameters.token == '{SECRET}' }}}}",
                    "with_items": ["{{ parameters.token }}", "open"],
                    "input": {"password": "{{ item }}"},
                }
            ],
            param_schema=TOKEN,
        )
    )

    assert [real_config(child) for child in children_of(execution)] == [{"password": SECRET}, {"password": "open"}]


def test_secret_output_travels_to_the_outer_workflow() -> None:
    makes = make_action(out_schema={"key": {"type": "string", "secret": True}})
    inner = make_workflow([{"name": "make", "action": makes.ref}], output_map={"key": "{{ task.make.key }}"})
    execution = started(
        make_workflow(
            [
                {"name": "inner", "action": inner.ref, "next": [{"do": ["use"]}]},
                {"name": "use", "action": takes_a_secret().ref, "input": {"password": "{{ task.inner.key }}"}},
            ],
            param_schema=TOKEN,
        )
    )
    (nested,) = running_children(execution).values()
    assert start_by_engine(nested)
    (child_id,) = running_children(Execution.objects.get(pk=nested)).values()
    begin(child_id)
    with transaction.atomic():
        child = trees.locked(child_id)
        assert child is not None
        result = take_out_of_result(child, makes, {"data": {"key": SECRET}})
        transition(child, Step(source=Status.RUNNING, target=Status.COMPLETED, actor="test"), result=result)

    inner_run, use = children_of(execution)
    assert inner_run.status == "completed"
    assert real_config(use) == {"password": SECRET}
    assert_unseen(execution)


def test_secrets_inside_of_one_template_arrive_where_the_child_keeps_them() -> None:
    keeps = {"codes": {"type": "array", "items": {"type": "string", "secret": True}}}
    keeps["account"] = {"type": "object", "properties": {"pin": {"type": "string", "secret": True}}}
    given = {"account": {"name": "open", "pin": SECRET}, "codes": [SECRET, f"{SECRET} 2"]}
    passed_on = {"account": "{{ parameters.account }}", "codes": "{{ parameters.codes + [parameters.codes.0] }}"}
    child = make_action(param_schema=keeps).ref
    execution, exposing = (
        start_workflow(make_workflow([{"name": "a", "action": child, "input": each}], param_schema=keeps), **given)
        for each in (passed_on, {"account": {"name": "{{ parameters.account }}"}})
    )

    assert start_by_engine(execution.pk)
    assert start_by_engine(exposing.pk)

    (child_run,) = children_of(execution)
    assert real_config(child_run) == {**given, "codes": [SECRET, f"{SECRET} 2", SECRET]}
    (task,) = run_data(exposing)["tasks"]
    assert task["error"] == "Secret value cannot be assigned to non-secret parameter path(s): account.name.pin"
    assert_unseen(execution)


def test_what_the_output_schema_calls_secret_is_kept_apart() -> None:
    pin = {"type": "object", "properties": {"pin": {"type": "string", "secret": True}}}
    workflow = make_workflow(
        [{"name": "a", "action": make_action().ref}],
        param_schema=TOKEN,
        out_schema={"made": {"type": "string", "secret": True}, "account": pin},
        output_map={
            "made": "{{ task.a.half }} {{ task.a.half }}",
            "account": {"pin": "{{ task.a.half }}", "token": "{{ parameters.token }}"},
        },
    )
    execution = started(workflow)
    (child,) = running_children(execution).values()

    end_child(child, Status.COMPLETED, {"half": "half"})

    execution.refresh_from_db()
    account = {"pin": MARKER, "token": MARKER}
    assert execution.result == {"succeeded": True, "made": MARKER, "account": account}
    stored = secret_store.get(secret_store.EXECUTION_RESULT, execution.pk)
    assert stored == {"/made": "half half", "/account/pin": "half", "/account/token": SECRET}
