"""Reruns of workflows: what is asked for, what runs again, what is taken over. Children are ended by hand."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from apps.core.markers import MARKER
from apps.executions.dispatch import start_by_engine
from apps.executions.models import Execution
from apps.executions.secrets import real_config
from apps.executions.services import update_execution
from apps.executions.states import Status
from apps.workflows.models import WorkflowDefinition, WorkflowExecution, WorkflowTask
from tests.clients import signed_in
from tests.factories import make_action, make_admin, make_execution
from tests.integration.workflows.test_engine_against_model import end_child, running_children
from tests.workflow_graphs import random_workflow
from tests.workflow_runs import children_of, make_workflow, start_workflow, tasks_of

pytestmark = pytest.mark.django_db
GOOD, BAD = Status.COMPLETED, Status.FAILED
RANDOM_WORKFLOWS = 25
SECRET = "correct horse battery"


def rerun(execution: Execution, expected: int = 201, **body: Any) -> Any:
    response = signed_in().post(f"/api/v1/executions/{execution.pk}/rerun", body, format="json")
    assert response.status_code == expected, response.json()
    return response.json()


def rerun_of(execution: Execution, **body: Any) -> Execution:
    """The new execution, begun."""
    new = Execution.objects.get(pk=rerun(execution, **body)["data"]["id"])
    assert start_by_engine(new.pk)
    return new


def play(execution: Execution, outcomes: Mapping[Any, Any] | None = None) -> Execution:
    """End what runs until the workflow has ended: by name, or name and index, a status and a result; else completed."""
    outcomes = outcomes or {}
    while due := running_children(execution):
        for (name, _iteration, index), child in due.items():
            found = outcomes.get((name, index), outcomes.get(name, GOOD))
            status, result = found if isinstance(found, tuple) else (found, {"of": name})
            end_child(child, status, result)
    execution.refresh_from_db()
    return execution


def played(tasks: list[dict[str, Any]], outcomes: Mapping[Any, Any] | None = None, **fields: Any) -> Execution:
    execution = start_workflow(make_workflow(tasks, **fields.pop("definition", {})), **fields)
    assert start_by_engine(execution.pk)
    return play(execution, outcomes)


def task(name: str, *do: str, **keys: Any) -> dict[str, Any]:
    keys.setdefault("action", make_action().ref)
    if do:
        keys.setdefault("next", [{"when": "{{ succeeded() }}", "do": list(do)}])
    return {"name": name, "input": {"x": 1}, **keys}


def names_of(execution: Execution) -> list[str]:
    """The tasks of which children were made, in order."""
    return [child.workflow_task["task_name"] for child in children_of(execution)]


def chain() -> list[dict[str, Any]]:
    return [
        task("a", next=[{"publish": [{"v": "{{ result().n }}"}], "do": ["b"]}]),
        task("b", "c", input={"v": "{{ workflow.v }}", "w": 1, "p": "{{ parameters.p }}"}),
        task("c", input={"a": "{{ task.a.n }}", "b": "{{ result().of }}"}),
    ]


def test_default_runs_what_failed_and_what_was_not_reached() -> None:
    old = played(
        chain(), {"a": (GOOD, {"n": 7}), "b": BAD}, p="old", definition={"output_map": {"v": "{{ workflow.v }}"}}
    )
    before = WorkflowExecution.objects.get(execution=old.pk)
    child_of_a = children_of(old)[0]

    answer = rerun(old)
    new = Execution.objects.get(pk=answer["data"]["id"])

    linked = (new.original_execution_id, new.retry_of_id, new.retry_count, new.retry_reason, new.parent_id)
    assert linked == (old.pk, old.pk, 1, "manual_retry", None)
    assert answer["message"] == f"Execution {old.pk} is rerun as {new.pk}"
    assert not WorkflowExecution.objects.filter(execution=new.pk).exists()  # it waits for its turn as any other
    assert start_by_engine(new.pk)
    play(new)
    assert (new.status, new.result) == (GOOD, {"succeeded": True, "v": 7})
    assert [(child.workflow_task["task_name"], child.config) for child in children_of(new)] == [
        ("b", {"v": 7, "w": 1, "p": "old"}),
        ("c", {"a": 7, "b": "b"}),
    ]
    assert children_of(new)[0].workflow_task["triggered_by"] == "a"
    run = signed_in().get(f"/api/v1/executions/{new.pk}/workflow").json()["data"]
    reused = {each["name"]: each.get("reused_from") for each in run["tasks"]}
    assert reused == {"a": child_of_a.pk, "b": None, "c": None}
    assert (run["variables"], run["completed_tasks"]) == ({"v": 7}, ["a", "b", "c"])
    old.refresh_from_db()
    assert (old.status, before.tasks.count()) == (BAD, 2)


def test_parameters_and_inputs_are_put_over_the_old_ones() -> None:
    old = played(chain(), {"a": (GOOD, {"n": 7}), "b": BAD}, p="old", q="kept")

    new = rerun_of(old, parameters={"p": "new"}, inputs={"b": {"w": 2, "z": [3]}, "c": {"a": 0}})
    play(new)

    assert new.config == {"p": "new", "q": "kept"}
    assert [child.config for child in children_of(new)] == [
        {"v": 7, "w": 2, "p": "new", "z": [3]},
        {"a": 0, "b": "b"},
    ]


def test_named_tasks_run_again_with_what_is_behind_them() -> None:
    old = played([task("a", "b", "c"), task("b", "d"), task("c", "d"), task("d", join=2), task("other")])
    assert old.status == GOOD

    new = rerun_of(old, from_tasks=["c"])
    assert list(running_children(new)) == [("c", None, None)]
    play(new)

    assert (new.status, names_of(new)) == (GOOD, ["c", "d"])
    assert tasks_of(new) == dict.fromkeys(["a", "b", "other", "c", "d"], "completed")


def test_join_of_named_task_counts_as_met() -> None:
    old = played([task("a", "d"), task("b", "d"), task("d", join=2)], {"d": BAD})

    new = play(rerun_of(old))

    assert (new.status, names_of(new)) == (GOOD, ["d"])
    assert children_of(new)[0].workflow_task["triggered_by"] in ("a", "b")


def test_reruns_may_be_rerun() -> None:
    old = played(chain(), {"a": (GOOD, {"n": 7}), "b": BAD}, p=1)
    second = play(rerun_of(old), {"c": BAD})
    assert second.status == BAD

    third = play(rerun_of(second))

    assert (third.status, names_of(third), third.retry_count) == (GOOD, ["c"], 2)
    assert (third.original_execution_id, third.retry_of_id) == (old.pk, second.pk)
    assert children_of(third)[0].config == {"a": 7, "b": "b"}
    reused = {each.name: each.reused_from for each in WorkflowExecution.objects.get(execution=third.pk).tasks.all()}
    assert reused == {"a": children_of(old)[0].pk, "b": children_of(second)[0].pk, "c": None}


def test_cycle_runs_again_as_a_whole_from_where_it_was_entered() -> None:
    loop = [
        task("before", "poll"),
        task("poll", next=[{"when": "{{ result().again }}", "do": ["pause"]}, {"when": "{{ not result().again }}", "do": ["after"]}]),
        task("pause", "poll"),
        task("after"),
    ]  # fmt: skip
    old = start_workflow(make_workflow(loop))
    assert start_by_engine(old.pk)
    for status, result in ((GOOD, {}), (GOOD, {"again": True}), (GOOD, {}), (GOOD, {"again": True}), (BAD, {})):
        (child,) = running_children(old).values()
        end_child(child, status, result)
    old.refresh_from_db()
    assert (old.status, tasks_of(old)["pause [1]"]) == (BAD, "failed")

    new = rerun_of(old)

    assert list(running_children(new)) == [("poll", 0, None)]
    play(new, {"poll": (GOOD, {"again": False})})
    assert (new.status, names_of(new)) == (GOOD, ["poll", "after"])


def items(**keys: Any) -> list[dict[str, Any]]:
    each = task("each", "last", with_items=["a", "b", "c"], concurrency=3, input={"item": "{{ item }}"}, **keys)
    return [each, task("last", input={"got": "{{ task.each.items }}"})]


@pytest.mark.parametrize(("which", "indexes"), [("failed", [1]), ("all", [0, 1, 2])])
def test_items_that_failed_run_again(which: str, indexes: list[int]) -> None:
    old = played(items(), {("each", n): (GOOD if n != 1 else BAD, {"old": n}) for n in range(3)})
    assert old.status == BAD

    new = rerun_of(old, rerun_items=which, inputs={"each": {"extra": True}})
    play(new, {("each", n): (GOOD, {"new": n}) for n in range(3)})

    *each, last = children_of(new)
    assert [child.workflow_task["task_index"] for child in each] == indexes
    assert [child.config for child in each] == [{"item": "abc"[n], "extra": True} for n in indexes]
    assert last.config["got"] == [{"new" if n in indexes else "old": n} for n in range(3)]
    assert new.status == GOOD


def test_items_taken_over_twice_keep_their_results() -> None:
    old = played(items(), {("each", n): (GOOD if n == 0 else BAD, {"run": 1}) for n in range(3)})
    second = play(rerun_of(old), {("each", 1): (GOOD, {"run": 2}), ("each", 2): BAD})
    assert second.status == BAD

    third = play(rerun_of(second), {("each", 2): (GOOD, {"run": 3})})

    assert names_of(third) == ["each", "last"]
    assert children_of(third)[1].config["got"] == [{"run": 1}, {"run": 2}, {"run": 3}]
    fourth = play(rerun_of(third, from_tasks=["last"]))
    assert children_of(fourth)[0].config["got"] == [{"run": 1}, {"run": 2}, {"run": 3}]


def test_items_in_another_number_all_run() -> None:
    each = task("each", with_items="{{ parameters.hosts }}", concurrency=9, input={"item": "{{ item }}"})
    old = played([each], {("each", 1): BAD}, hosts=["a", "b"])

    new = play(rerun_of(old, parameters={"hosts": ["a", "b", "c"]}))

    assert (new.status, names_of(new)) == (GOOD, ["each"] * 3)


def test_block_runs_what_failed_in_it() -> None:
    block = {"name": "block", "type": "parallel", "next": [{"do": ["end"]}], "tasks": [
        task("x"), task("y"), {"name": "inner", "type": "parallel", "tasks": [task("p"), task("q")]},
    ]}  # fmt: skip
    definition = [block, task("end", input={"x": "{{ task.block.x.v }}", "q": "{{ task.block.inner.q.v }}"})]
    block["next"] = [{"when": "{{ succeeded() }}", "do": ["end"]}]
    values = {"x": (GOOD, {"v": 1}), "q": (GOOD, {"v": 2})}
    old = played(definition, {**values, "y": BAD, "p": BAD})
    assert old.status == BAD

    new = play(rerun_of(old))

    assert (new.status, sorted(names_of(new))) == (GOOD, ["end", "p", "y"])
    assert children_of(new)[-1].config == {"x": 1, "q": 2}
    whole = play(rerun_of(old, from_tasks=["block"]), values)
    assert sorted(names_of(whole)) == ["end", "p", "q", "x", "y"]


def test_failure_that_nobody_asked_to_mend_still_fails_the_run() -> None:
    old = played([task("a"), task("b")], {"a": BAD, "b": BAD})

    new = play(rerun_of(old, from_tasks=["a"]))

    assert (new.status, names_of(new)) == (BAD, ["a"])
    assert new.result["error"] == "Workflow failed: 1 task(s) failed: b"
    third = play(rerun_of(new))
    assert (third.status, names_of(third)) == (GOOD, ["b"])


def test_cancelled_run_goes_on_where_it_was_stopped() -> None:
    old = start_workflow(make_workflow([task("a", "b"), task("b", "c"), task("c"), task("s")]))
    assert start_by_engine(old.pk)
    children = running_children(old)
    end_child(children["s", None, None], GOOD, {})
    running = Execution.objects.get(pk=children["a", None, None])
    Execution.objects.filter(pk=running.pk).update(status=Status.RUNNING)
    assert signed_in().post(f"/api/v1/executions/{old.pk}/cancel").status_code == 200
    Execution.objects.filter(pk=running.pk).update(status=Status.REQUESTED)
    end_child(running.pk, GOOD, {})
    old.refresh_from_db()
    assert old.status == Status.CANCELLED

    new = play(rerun_of(old))

    assert (new.status, names_of(new)) == (GOOD, ["b", "c"])


def test_what_a_task_taken_over_had_named_runs_when_nothing_else_reaches_it() -> None:
    tasks = [
        task("a", "x"),
        task("b", next=[{"when": "{{ succeeded() }}", "do": ["x"]}, {"when": "{{ failed() }}", "do": ["fix"]}]),
        task("x"),
        task("fix"),
    ]
    old = played(tasks)
    assert names_of(old) == ["a", "b", "x"]

    new = play(rerun_of(old, from_tasks=["b"]), {"b": BAD})

    assert (new.status, names_of(new)) == (GOOD, ["b", "fix", "x"])


def test_current_definition_is_used_when_asked_for() -> None:
    tasks = [task("a", "b"), task("b")]
    old = played(tasks, {"b": BAD})
    definition = WorkflowDefinition.objects.get(pk=old.workflow_def)
    changed = [tasks[0], {**tasks[1], "input": {"x": "changed"}}]
    WorkflowDefinition.objects.filter(pk=definition.pk).update(definition={"tasks": changed})

    assert children_of(play(rerun_of(old)))[0].config == {"x": 1}
    assert children_of(play(rerun_of(old, use_current_definition=True)))[0].config == {"x": "changed"}


def test_run_that_had_not_begun_runs_as_a_whole() -> None:
    old = start_workflow(make_workflow([task("a", "b"), task("b")]))
    assert signed_in().post(f"/api/v1/executions/{old.pk}/cancel").status_code == 200

    assert names_of(play(rerun_of(old))) == ["a", "b"]


def test_loop_limit_runs_the_cycle_again() -> None:
    old = played([task("before", "a"), task("a", "a", max_iterations=2)])
    assert old.result["error"].startswith("Loop limit reached")

    new = rerun_of(old)

    assert list(running_children(new)) == [("a", 0, None)]


def test_secrets_stay_secret_and_arrive() -> None:
    schema = {"token": {"type": "string", "secret": True}}
    takes = make_action(param_schema=schema)
    tasks = [
        task("a", next=[{"publish": [{"t": "{{ parameters.token }}"}], "do": ["b"]}]),
        task("b", action=takes.ref, input={"token": "{{ workflow.t }}"}, next=[{"publish": [{"t": "other"}], "do": ["c"]}]),
        task("c", action=takes.ref, input={"token": "{{ parameters.token }}"}),
    ]  # fmt: skip
    old = played(tasks, {"b": GOOD, "c": BAD}, token=SECRET, definition={"param_schema": schema})

    again = play(rerun_of(old, from_tasks=["b"], inputs={"c": {"token": "new secret"}}), {"c": BAD})

    b, c = children_of(again)
    assert (again.config, b.config, c.config) == ({"token": dict(MARKER)},) * 3
    assert [real_config(each)["token"] for each in (again, b, c)] == [SECRET, SECRET, "new secret"]
    third = rerun_of(again, parameters={"token": "third"}, from_tasks=["b"])
    assert real_config(children_of(third)[0])["token"] == SECRET  # as it was published
    assert real_config(third)["token"] == "third"
    answer = rerun(again, 422, inputs={"c": {"token": dict(MARKER)}})
    assert answer["details"][0]["field"].startswith("inputs.c.token")


def test_retry_by_failed_tasks_is_a_rerun() -> None:
    old = played([task("a", "b"), task("b")], {"b": BAD})
    url = f"/api/v1/executions/{old.pk}/retry"

    failed = signed_in().post(url, {"mode": "failed"}, format="json")
    whole = signed_in().post(url, {"mode": "all"}, format="json")

    assert (failed.status_code, whole.status_code) == (201, 201)
    found = []
    for answer in (failed, whole):
        new = Execution.objects.get(pk=answer.json()["data"]["id"])
        assert start_by_engine(new.pk)
        found.append((names_of(play(new)), new.retry_count))
    assert found == [(["b"], 1), (["a", "b"], 2)]


def test_attempt_that_the_engine_repeats_does_the_same_again() -> None:
    old = played([task("a", "b"), task("b")], {"b": BAD})
    Execution.objects.filter(pk=old.pk).update(max_retries=9)

    new = play(rerun_of(old), {"b": BAD})

    attempt = Execution.objects.get(retry_of=new.pk)
    update_execution(attempt.pk, actor="test", not_before=None)
    assert start_by_engine(attempt.pk)
    assert (attempt.retry_reason, names_of(play(attempt))) == ("transient_error", ["b"])


def test_refusals() -> None:
    tasks = [task("a", "b"), task("b"), {"name": "block", "type": "parallel", "tasks": [task("sub")]}]
    old = played(tasks, {"b": BAD})
    good = played([task("a")])
    running = start_workflow(make_workflow([task("a")]))

    assert signed_in().post("/api/v1/executions/99999999/rerun").status_code == 404
    told = rerun(running, 409)["error"]
    assert told == f"Execution {running.pk} is in status 'requested' and cannot be rerun"
    assert rerun(make_execution(status=GOOD), 422)["code"] == "UNPROCESSABLE_ENTITY"
    assert rerun(good, 422)["error"] == "Nothing to rerun: no task has failed"
    assert rerun(old, 422, from_tasks=["a", "nowhere"])["error"] == "The workflow has no task 'nowhere'"
    assert rerun(old, 422, from_tasks=[])["error"] == "Nothing to rerun: no task is named"
    for inputs in ({"nowhere": {}}, {"a": {}}, {"block": {}}, {"b": 1}, []):
        assert rerun(old, 422, inputs=inputs)["code"] == "VALIDATION_ERROR"
    for body in ({"from_tasks": "b"}, {"rerun_items": "some"}, {"parameters": []}, {"use_current_definition": 1}):
        assert rerun(old, 422, **body)["code"] == "VALIDATION_ERROR"
    retried = signed_in().post(f"/api/v1/executions/{good.pk}/retry", {"mode": "failed"}, format="json")
    assert retried.json()["error"] == f"Execution {good.pk} is in status 'completed' and cannot be retried"
    assert Execution.objects.filter(retry_of=old.pk).count() == 0
    old.action.delete()
    assert rerun(old, 409)["error"] == f"The action '{old.action_ref}' of execution {old.pk} no longer exists"


def test_idempotency_key_makes_one_rerun() -> None:
    old = played([task("a")], {"a": BAD})
    client = signed_in()

    answers = [
        client.post(f"/api/v1/executions/{old.pk}/rerun", {}, format="json", headers={"Idempotency-Key": "once"})
        for _ in range(2)
    ]

    assert answers[0].json()["data"]["id"] == answers[1].json()["data"]["id"]
    assert Execution.objects.filter(retry_of=old.pk).count() == 1


def test_random_workflows_get_well_by_reruns() -> None:
    """Whatever failed: once its tasks succeed, rerunning what failed leads to an end without a failed task."""
    action = make_action(ref="tests.do")
    for seed in range(RANDOM_WORKFLOWS):
        with transaction.atomic():
            get_well(seed, action.ref)


def get_well(seed: int, action_ref: str) -> None:
    chance = random.Random(seed)
    definition = random_workflow(chance).definition(action_ref, missing=action_ref)
    execution = start_workflow(make_workflow(**{"tasks": definition.pop("tasks"), **definition}))
    assert start_by_engine(execution.pk)
    while due := running_children(execution):
        key = chance.choice(sorted(due, key=str))
        end_child(due[key], chance.choice((GOOD, BAD, Status.TIMEOUT)), {"n": chance.randint(0, 4)})
    execution.refresh_from_db()
    for _ in range(3):
        response = signed_in().post(f"/api/v1/executions/{execution.pk}/rerun")
        if response.status_code == 422:
            break
        former, execution = execution, Execution.objects.get(pk=response.json()["data"]["id"])
        assert start_by_engine(execution.pk)
        while due := running_children(execution):
            for child in due.values():
                end_child(child, GOOD, {"n": 4})
        execution.refresh_from_db()
        assert execution.status in (GOOD, BAD), f"seed {seed}: it hangs"
        reused = {each.name for each in tasks_rows(execution) if each.reused_from is not None}
        assert reused.isdisjoint(names_of(execution)), f"seed {seed}: taken over and run"
        assert reused <= {each.name for each in tasks_rows(former) if each.outcome is not None}
    error = execution.result.get("error", "")
    # What a result leads to is not for a rerun to mend: templates that fail, joins, loops without an end.
    failed = [each for each in tasks_rows(execution) if each.status == "failed" and each.block is None]
    children = {each.last_execution for each in failed} - {None}
    assert not Execution.objects.filter(pk__in=children, status__in=[BAD, Status.TIMEOUT]), f"seed {seed}: {error}"


def tasks_rows(execution: Execution) -> list[WorkflowTask]:
    return list(WorkflowExecution.objects.get(execution=execution.pk).tasks.all())


def test_console_offers_it_for_failed_workflows() -> None:
    olga = make_admin(login="olga")
    console = Client()
    console.force_login(olga)
    old = played([task("a", "b"), task("b")], {"b": BAD})
    page = {
        each: console.get(reverse("admin:executions_execution_change", args=[each.pk])).content.decode()
        for each in (old, played([task("a")]), make_execution(status=BAD))
    }

    assert ["Rerun failed tasks" in text for text in page.values()] == [True, False, False]
    url = reverse("admin:executions_execution_rerun", args=[old.pk])
    assert "Rerun failed tasks of" in console.get(url).content.decode()
    answer = console.post(url, {"confirmed": "yes"}, follow=True)

    new = Execution.objects.get(retry_of=old.pk)
    assert answer.redirect_chain == [(reverse("admin:executions_execution_change", args=[new.pk]), 302)]
    assert start_by_engine(new.pk)
    assert (names_of(play(new)), new.executor) == (["b"], olga)
