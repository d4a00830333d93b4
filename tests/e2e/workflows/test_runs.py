"""Workflows on a real worker: what each construct comes to. One worker serves all of a test's workflows at once."""

import itertools
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest

from apps.actions.models import Action
from apps.executions.artifacts import open_version
from apps.executions.models import ArtifactVersion, Execution
from apps.packs.services import load_core_pack
from attune.scheduler import Scheduler
from tests.factories import make_action
from tests.workflow_runs import children_of, finished, make_workflow, start_workflow, tasks_of

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def scheduler() -> Iterator[None]:
    """What is due is found by its rounds."""
    turning = Scheduler()
    turning.start()
    yield
    turning.ask_to_stop()
    assert turning.join(30)


def succeeding(**fields: Any) -> Action:
    return make_action(**{"entrypoint": "true", **fields})


def failing(**fields: Any) -> Action:
    return make_action(**{"entrypoint": "exit 3", **fields})


def run(*tasks: Mapping[str, Any], **definition: Any) -> Execution:
    return start_workflow(make_workflow(tasks, **definition))


def attempts_of(execution: Execution, task: str) -> list[Execution]:
    return [child for child in children_of(execution) if child.workflow_task["task_name"] == task]


def test_branches_join_and_failures_are_handled() -> None:
    good, bad = succeeding(), failing()
    diamond = run(
        {"name": "a", "action": good.ref, "next": [{"do": ["b", "c"]}]},
        {"name": "b", "action": good.ref, "next": [{"do": ["d"]}]},
        {"name": "c", "action": bad.ref, "next": [{"when": "{{ failed() }}", "do": ["d"]}]},
        {"name": "d", "action": good.ref, "join": "all"},
    )
    unhandled = run(
        {"name": "a", "action": bad.ref, "next": [{"when": "{{ succeeded() }}", "do": ["b"]}]},
        {"name": "b", "action": good.ref},
        {"name": "sibling", "action": good.ref},
    )
    unmet = run(
        {"name": "a", "action": good.ref, "next": [{"do": ["j"]}]},
        {"name": "b", "action": good.ref, "next": [{"when": "{{ failed() }}", "do": ["never"]}]},
        {"name": "never", "action": good.ref, "next": [{"do": ["j"]}]},
        {"name": "j", "action": good.ref, "join": 2},
    )
    missing = run({"name": "a", "action": "tests.nowhere"}, {"name": "b", "action": good.ref})

    assert finished(diamond).status == "completed"
    assert tasks_of(diamond) == dict.fromkeys("abcd", "completed")
    child = attempts_of(unhandled, "a")[0]
    assert finished(unhandled).status == "failed"
    child.refresh_from_db()
    assert unhandled.result == {
        "error": "Workflow failed: 1 task(s) failed: a",
        "succeeded": False,
        "failed_tasks": [{"task": "a", "execution": child.pk, "error": child.result["error"]}],
    }
    assert tasks_of(unhandled) == {"a": "failed", "sibling": "completed"}
    assert finished(unmet).result["error"] == "Join of task 'j' cannot be met: 1 of 2"
    assert finished(missing).result["error"] == "Workflow failed: 1 task(s) failed: a"
    assert missing.result["failed_tasks"][0]["error"] == "Action 'tests.nowhere' does not exist"
    assert children_of(missing) == []


def test_nested_three_deep_passes_results_up() -> None:
    say = make_action(entrypoint="cat", output_format="json", parameter_format="json")
    inner = make_workflow(
        [{"name": "say", "action": say.ref, "next": [{"publish": [{"x": "{{ result().x }}"}]}]}],
        output_map={"x": "{{ workflow.x }}"},
    )
    middle = make_workflow([{"name": "inner", "action": inner.ref}], output_map={"x": "{{ task.inner.x }}"})
    outer = make_workflow(
        [{"name": "middle", "action": middle.ref, "input": {"x": "{{ parameters.y }}"}}],
        output_map={"x": "{{ task.middle.x ~ '!' }}"},
    )

    execution = finished(start_workflow(outer, y="deep"))

    assert execution.result == {"succeeded": True, "x": "deep!"}
    (child,) = children_of(execution)
    (grandchild,) = children_of(child)
    assert (child.result, grandchild.result) == ({"succeeded": True, "x": "deep"},) * 2
    assert [each.action_ref for each in children_of(grandchild)] == [say.ref]
    assert grandchild.root == execution.pk
    assert execution.created <= child.created <= grandchild.created


@pytest.mark.parametrize(("items", "concurrency"), [(1, 1), (5, 1), (5, 3), (5, 5)])
def test_items_run_in_their_window(items: int, concurrency: int) -> None:
    execution = run(
        {
            "name": "each",
            "action": succeeding(entrypoint="sleep 0.05").ref,
            "with_items": "{{ range(parameters.n) }}",
            "concurrency": concurrency,
            "input": {"n": "{{ item }}", "at": "{{ index }}"},
        },
        param_schema={"n": {"type": "integer", "default": items}},
    )

    assert finished(execution).status == "completed"
    children = children_of(execution)
    assert [child.config for child in children] == [{"n": at, "at": at} for at in range(items)]
    assert 1 <= most_at_once(children) <= concurrency


def most_at_once(children: list[Execution]) -> int:
    moments = [(child.started_at, 1) for child in children] + [(child.updated, -1) for child in children]
    running = most = 0
    for _at, change in sorted(moments):
        running += change
        most = max(most, running)
    return most


@pytest.mark.parametrize("concurrency", [1, 3, 1000])
def test_thousand_items(concurrency: int) -> None:
    load_core_pack()
    execution = run(
        {"name": "each", "action": "core.noop", "with_items": "{{ range(1000) }}", "concurrency": concurrency},
        output_map={"n": "{{ length(task.each.items) }}"},
    )

    assert finished(execution, timeout_seconds=300).result == {"succeeded": True, "n": 1000}
    children = children_of(execution)
    assert {child.status for child in children} == {"completed"}
    assert most_at_once(children) <= concurrency


def test_batches_and_fail_fast() -> None:
    batches = run(
        {
            "name": "each",
            "action": succeeding().ref,
            "with_items": [1, 2, 3, 4, 5],
            "batch_size": 2,
            "input": {"batch": "{{ batch }}"},
        }
    )
    fast = run(
        {"name": "each", "action": failing().ref, "with_items": [1, 2, 3, 4], "fail_fast": True},
        {
            "name": "block",
            "type": "parallel",
            "concurrency": 1,
            "fail_fast": True,
            "tasks": [
                {"name": "x", "action": failing().ref},
                {"name": "y", "action": succeeding().ref},
            ],
        },
    )

    assert finished(batches).status == "completed"
    assert [child.config["batch"] for child in children_of(batches)] == [[1, 2], [3, 4], [5]]
    assert finished(fast).result["error"].startswith("Workflow failed: 2 task(s) failed: ")
    assert [child.status for child in attempts_of(fast, "each")] == ["failed", "cancelled", "cancelled", "cancelled"]
    assert attempts_of(fast, "y") == []


@pytest.mark.parametrize(("backoff", "delays"), [("constant", (1, 1)), ("linear", (1, 2)), ("exponential", (1, 2))])
def test_retries_wait_as_they_say(backoff: str, delays: tuple[int, ...]) -> None:
    execution = run(
        {"name": "a", "action": failing().ref, "retry": {"count": 2, "delay": 1, "backoff": backoff}},
    )

    assert finished(execution).result["error"] == "Workflow failed: 1 task(s) failed: a"
    attempts = attempts_of(execution, "a")
    assert [attempt.retry_count for attempt in attempts] == [0, 1, 2]
    assert [attempt.original_execution_id for attempt in attempts] == [None, attempts[0].pk, attempts[0].pk]
    assert [attempt.retry_reason for attempt in attempts] == [None, "failed", "failed"]
    waited = [later.not_before - former.updated for former, later in itertools.pairwise(attempts)]
    assert [each // timedelta(seconds=1) for each in waited] == list(delays)
    assert execution.result["failed_tasks"][0]["execution"] == attempts[2].pk


def test_retry_that_succeeds_is_a_success(tmp_path: Any) -> None:
    mark = tmp_path / "mark"
    once = make_action(entrypoint=f'test -e "{mark}" || {{ touch "{mark}"; exit 1; }}')
    execution = run({"name": "a", "action": once.ref, "retry": {"count": 2}})

    assert finished(execution).status == "completed"
    assert [attempt.status for attempt in attempts_of(execution, "a")] == ["failed", "completed"]


def test_time_limits_of_task_block_and_nested_workflow(scheduler: None) -> None:
    slow = make_action(entrypoint="sleep 60")
    nested = make_workflow([{"name": "slow", "action": slow.ref}])
    single = run({"name": "a", "action": slow.ref, "timeout": 2})
    block = run({"name": "b", "type": "parallel", "timeout": 2, "tasks": [{"name": "c", "action": slow.ref}]})
    outer = run({"name": "n", "action": nested.ref, "timeout": 2})

    for execution in (single, block, outer):
        finished(execution, timeout_seconds=30)

    text = "Execution timed out after 2 seconds"
    (child,) = children_of(single)
    assert (child.status, child.result["error"], child.workflow_task["timed_out"]) == ("failed", text, True)
    assert single.result["failed_tasks"][0]["error"] == text
    assert block.result["failed_tasks"] == [{"task": "b", "execution": None, "error": text}]
    (inner,) = children_of(outer)
    assert (inner.status, inner.result["error"], inner.workflow_task["timed_out"]) == ("failed", text, True)
    assert [child.status for child in children_of(inner)] == ["cancelled"]


def test_loop_goes_on_until_it_is_told_to_stop() -> None:
    good = succeeding()
    loop = (
        {"name": "begin", "action": good.ref, "next": [{"publish": [{"n": 0}], "do": ["count"]}]},
        {
            "name": "count",
            "action": good.ref,
            "next": [{"publish": [{"n": "{{ workflow.n + 1 }}"}]}, {"when": "{{ workflow.n < 5 }}", "do": ["count"]}],
        },
    )
    execution = run(*loop, output_map={"n": "{{ workflow.n }}"})
    limited = run(*loop, max_iterations=3)

    assert finished(execution).result == {"succeeded": True, "n": 5}
    assert [child.workflow_task["iteration"] for child in attempts_of(execution, "count")] == [0, 1, 2, 3, 4]
    assert finished(limited).result["error"] == "Loop limit reached: task 'count' would run more than 3 times"


def test_log_is_kept_as_an_artifact() -> None:
    execution = finished(run({"name": "a", "action": succeeding().ref}))

    version = ArtifactVersion.objects.get(artifact__ref=f"{execution.action_ref}.workflow.log")
    file, _size = open_version(version)
    with file:
        lines = file.read().decode().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        f"[INFO] Workflow '{execution.action_ref}' started",
        "[INFO] Task 'a' dispatched",
        "[INFO] Task 'a' succeeded",
        "[INFO] Workflow completed",
    ]
