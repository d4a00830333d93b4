from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.workflows.definition.graph import Graph, Published, Retry
from apps.workflows.definition.parsing import parse, read_definition
from apps.workflows.definition.problems import InvalidDefinition


def one(**keys: Any) -> Graph:
    """Return the graph of a task with these keys, and of another named ``b``."""
    return parse({"tasks": [{"name": "a", "action": "core.noop", **keys}, {"name": "b", "action": "core.noop"}]})


def test_parse_small_definition() -> None:
    graph = parse(
        {
            "vars": {"region": "eu"},
            "tasks": [
                {
                    "name": "build",
                    "action": "ci.build",
                    "input": {"branch": "{{ parameters.branch }}"},
                    "retry": {"count": 2, "delay": 5, "backoff": "exponential"},
                    "next": [
                        {"when": "{{ succeeded() }}", "publish": [{"image": "{{ result().image }}"}], "do": ["deploy"]}
                    ],
                },
                {"name": "deploy", "action": "ci.deploy", "with_items": "{{ parameters.hosts }}", "concurrency": 3},
            ],
            "output_map": {"image": "{{ workflow.image }}"},
            "cancellation_policy": "cancel_running",
            "max_iterations": 7,
        }
    )

    build, deploy = graph.tasks["build"], graph.tasks["deploy"]
    assert (graph.entry, graph.predecessors["deploy"]) == (("build",), ("build",))
    assert build.retry == Retry(count=2, delay=5.0, backoff="exponential")
    assert build.next[0].when == "{{ succeeded() }}"
    assert build.next[0].publish == (("image", Published(value="{{ result().image }}")),)
    assert build.next[0].do == ("deploy",)
    assert (deploy.has_items, deploy.concurrency) == (True, 3)
    assert (graph.variables, graph.output_map) == ({"region": "eu"}, {"image": "{{ workflow.image }}"})
    assert (graph.cancellation_policy, graph.max_iterations) == ("cancel_running", 7)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"on_success": "b"}, [("succeeded()", ("b",))]),
        ({"on_failure": "b"}, [("failed()", ("b",))]),
        ({"on_complete": "b"}, [(None, ("b",))]),
        ({"on_timeout": "b"}, [("timed_out()", ("b",))]),
        ({"on_failure": "b", "on_success": "b"}, [("succeeded()", ("b",)), ("failed()", ("b",))]),
        ({"on_success": "b", "next": []}, [("succeeded()", ("b",))]),
        ({"on_success": "b", "next": [{"do": "b"}]}, [(None, ("b",))]),
        (
            {"decision": [{"next": "b", "default": True}, {"when": "parameters.x", "next": "a"}]},
            [("parameters.x", ("a",)), (None, ("b",))],
        ),
        ({"decision": [{"when": "1", "next": "a", "default": "b"}]}, [("1", ("a",)), (None, ("b",))]),
        ({"next": {"do": "b"}}, [(None, ("b",))]),
        ({"next": [{"when": True, "do": ["b", "b"]}]}, [("true", ("b",))]),
    ],
)
def test_next_and_older_keys(keys: dict[str, Any], expected: list[Any]) -> None:
    assert [(step.when, step.do) for step in one(**keys).tasks["a"].next] == expected


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"publish": "x"}, [("succeeded()", ["x"])]),
        ({"publish": ["x", {"y": 1, "z": 2}]}, [("succeeded()", ["x", "y", "z"])]),
        ({"publish": {"x": 1}, "on_failure": "b"}, [("failed()", ["x"])]),
        (
            {"publish": {"x": 1}, "next": [{"do": "b"}, {"when": "{{ succeeded() }}", "publish": {"y": 2}}]},
            [(None, []), ("{{ succeeded() }}", ["y", "x"])],
        ),
    ],
)
def test_publish_on_a_task_goes_to_its_transition(keys: dict[str, Any], expected: list[Any]) -> None:
    steps = one(**keys).tasks["a"].next

    assert [(step.when, [name for name, _ in step.publish]) for step in steps] == expected


def test_bare_name_publishes_the_whole_result() -> None:
    assert one(publish=["x"]).tasks["a"].next[0].publish == (("x", Published(whole_result=True)),)


def test_vars_as_a_list() -> None:
    graph = parse({"vars": [{"a": 1}, {"b": "{{ a }}"}], "tasks": [{"name": "t", "action": "core.noop"}]})

    assert graph.variables == {"a": 1, "b": "{{ a }}"}


def test_join_of_all_is_counted() -> None:
    graph = parse(
        {
            "tasks": [
                {"name": "a", "action": "core.noop", "next": [{"do": "c"}, {"do": "c"}]},
                {"name": "b", "action": "core.noop", "next": {"do": "c"}},
                {"name": "c", "action": "core.noop", "join": "all"},
                {"name": "d", "action": "core.noop", "join": "all"},
            ]
        }
    )

    assert (graph.tasks["c"].join, graph.tasks["d"].join) == (2, None)


def test_parallel_blocks_are_flattened() -> None:
    graph = parse(
        {
            "tasks": [
                {
                    "name": "block",
                    "type": "parallel",
                    "tasks": [
                        {"name": "a", "action": "core.noop"},
                        {"name": "inner", "type": "parallel", "tasks": [{"name": "b", "action": "core.noop"}]},
                    ],
                },
            ]
        }
    )

    assert list(graph.tasks) == ["block", "a", "inner", "b"]
    assert (graph.tasks["block"].tasks, graph.tasks["inner"].tasks) == (("a", "inner"), ("b",))
    assert (graph.tasks["b"].block, graph.top_of(graph.tasks["b"]).name) == ("inner", "block")
    assert graph.entry == ("block",)


@pytest.mark.parametrize("retry", [3, "twice", [], {}, {"count": "2"}, {"count": True}, {"count": 1, "delay": "5s"}])
def test_retry_of_another_shape_is_ignored(retry: Any) -> None:
    definition = {"tasks": [{"name": "a", "action": "core.noop", "retry": retry}]}

    assert parse(definition).tasks["a"].retry is None
    assert [problem.code for problem in read_definition(definition).problems.found] == ["retry_ignored"]


def test_permission_set_ref_is_an_alias() -> None:
    assert one(permission_set_ref="core.viewer").tasks["a"].permission_set_refs == "core.viewer"


@pytest.mark.parametrize(("timeout", "seconds"), [(2, 2), (0.5, 1), (3.0, 3)])
def test_timeout_in_whole_seconds(timeout: float, seconds: int) -> None:
    assert one(timeout=timeout).tasks["a"].timeout == seconds


def test_what_is_only_a_warning_does_not_stop_it() -> None:
    graph = parse({"tasks": [{"name": "task", "action": "nodot", "when": "{{ ( }}", "next": {"do": "task"}}]})

    assert (graph.entry, graph.cycles) == ((), (frozenset({"task"}),))


def test_invalid_definition_names_the_place() -> None:
    with pytest.raises(InvalidDefinition) as raised:
        parse({"tasks": [{"name": "a", "action": "core.noop", "next": [{"do": ["gone"]}]}]})

    assert str(raised.value) == "/tasks/0/next/0/do/0: there is no task 'gone'"


KEYS = st.sampled_from(
    [
        "version",
        "vars",
        "tasks",
        "output_map",
        "name",
        "type",
        "action",
        "input",
        "when",
        "with_items",
        "batch_size",
        "concurrency",
        "fail_fast",
        "retry",
        "timeout",
        "join",
        "next",
        "permission_set_refs",
        "publish",
        "do",
        "on_success",
        "decision",
        "default",
        "count",
        "delay",
        "max_delay",
        "backoff",
        "a",
    ]
)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "parallel", "all", "{{ a }}", ""])
)
ANY_JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=6)
)
TASKS = st.dictionaries(KEYS, ANY_JSON, max_size=8)


@given(ANY_JSON | st.fixed_dictionaries({"tasks": st.lists(TASKS, max_size=4)}))
def test_reading_never_fails(definition: Any) -> None:
    reading = read_definition(definition)

    assert all(problem.message and problem.code for problem in reading.problems.found)
    if not reading.problems.errors:
        assert set(reading.graph.entry) <= set(reading.graph.tasks)
