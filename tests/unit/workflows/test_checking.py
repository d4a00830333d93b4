"""Each row of the table of checks (workflows.md 3)."""

from typing import Any

import pytest
from hypothesis import given

from apps.workflows.definition.checking import check, described, permission_sets_named
from apps.workflows.definition.problems import MAX_PROBLEMS, Problem, Weight
from apps.workflows.definition.source import UnreadableSource, entries, read_source
from tests.unit.workflows.test_parsing import ANY_JSON

A = {"name": "a", "action": "core.noop"}
B = {"name": "b", "action": "core.noop"}
ERROR, LINT, ADVICE = Weight.ERROR, Weight.LINT, Weight.ADVICE


def found(definition: Any, **options: Any) -> list[tuple[str, str, Weight]]:
    return [(problem.code, problem.pointer, problem.weight) for problem in check(definition, **options).problems]


def of_task(**keys: Any) -> dict[str, Any]:
    return {"tasks": [{**A, **keys}]}


def block(*tasks: Any, **keys: Any) -> dict[str, Any]:
    return {"tasks": [{"name": "p", "type": "parallel", "tasks": list(tasks), **keys}]}


def nested(depth: int) -> dict[str, Any]:
    task: dict[str, Any] = A
    for number in range(depth):
        task = {"name": f"p{number}", "type": "parallel", "tasks": [task]}
    return {"tasks": [task]}


@pytest.mark.parametrize(
    ("definition", "code", "pointer"),
    [
        ([], "type", ""),
        ({"version": "", "tasks": [A]}, "length", "/version"),
        ({"version": "x" * 51, "tasks": [A]}, "length", "/version"),
        ({"version": ["1"], "tasks": [A]}, "type", "/version"),
        ({}, "no_tasks", ""),
        ({"tasks": []}, "no_tasks", "/tasks"),
        ({"tasks": {"a": {}}}, "type", "/tasks"),
        ({"tasks": ["a"]}, "type", "/tasks/0"),
        ({"tasks": [{"action": "core.noop"}]}, "no_name", "/tasks/0"),
        ({"tasks": [{"name": "x" * 256, "action": "core.noop"}]}, "length", "/tasks/0/name"),
        ({"tasks": [A, A]}, "duplicate_name", "/tasks/1/name"),
        ({"tasks": [A, {"name": "p", "type": "parallel", "tasks": [A]}]}, "duplicate_name", "/tasks/1/tasks/0/name"),
        ({"tasks": [{"name": "a"}]}, "no_action", "/tasks/0"),
        ({"tasks": [{"name": "a", "type": "workflow"}]}, "no_action", "/tasks/0"),
        (block(), "block_tasks", "/tasks/0/tasks"),
        ({"tasks": [{"name": "p", "type": "parallel"}]}, "block_tasks", "/tasks/0"),
        (block(*({**A, "name": f"t{i}"} for i in range(101))), "block_tasks", "/tasks/0/tasks"),
        (nested(6), "block_depth", "/tasks/0" + "/tasks/0" * 5),
        (of_task(next=[{"do": ["gone"]}]), "unknown_target", "/tasks/0/next/0/do/0"),
        (of_task(next=[{"do": "gone"}]), "unknown_target", "/tasks/0/next/0/do"),
        (of_task(on_success="gone"), "unknown_target", "/tasks/0/on_success"),
        (of_task(decision=[{"when": "x", "next": "gone"}]), "unknown_target", "/tasks/0/decision/0/next"),
        ({"tasks": [*block(A)["tasks"], {**B, "next": {"do": "a"}}]}, "target_in_block", "/tasks/1/next/do"),
        (of_task(retry={"count": 0}), "range", "/tasks/0/retry/count"),
        (of_task(retry={"count": 101}), "range", "/tasks/0/retry/count"),
        (of_task(retry={"count": 1, "delay": -1}), "range", "/tasks/0/retry/delay"),
        (of_task(retry={"count": 1, "delay": 5, "max_delay": 4}), "range", "/tasks/0/retry/max_delay"),
        (of_task(retry={"count": 1, "backoff": "random"}), "unknown_backoff", "/tasks/0/retry/backoff"),
        (of_task(batch_size=0), "range", "/tasks/0/batch_size"),
        (of_task(concurrency=0), "range", "/tasks/0/concurrency"),
        (of_task(concurrency=True), "type", "/tasks/0/concurrency"),
        (of_task(join=0), "range", "/tasks/0/join"),
        (of_task(join="some"), "type", "/tasks/0/join"),
        (of_task(max_iterations=0), "range", "/tasks/0/max_iterations"),
        ({"tasks": [A], "max_iterations": 10_001}, "range", "/max_iterations"),
        (of_task(timeout=0), "range", "/tasks/0/timeout"),
        (of_task(timeout="5s"), "type", "/tasks/0/timeout"),
        (of_task(type="sub"), "unknown_type", "/tasks/0/type"),
        ({"tasks": [A], "cancellation_policy": "stop"}, "unknown_cancellation_policy", "/cancellation_policy"),
        (block({**A, "next": [{"do": "a"}]}), "next_in_block", "/tasks/0/tasks/0/next"),
        (block({**A, "on_success": "a"}), "next_in_block", "/tasks/0/tasks/0/on_success"),
        (block({**A, "join": 1}), "join_in_block", "/tasks/0/tasks/0/join"),
        (block(A, retry={"count": 1}), "retry_on_block", "/tasks/0/retry"),
        (block(A, with_items=[1]), "with_items_on_block", "/tasks/0/with_items"),
        (of_task(input=["x"]), "type", "/tasks/0/input"),
        (of_task(next=[{"when": 5}]), "type", "/tasks/0/next/0/when"),
        (of_task(publish=[5]), "type", "/tasks/0/publish/0"),
        (of_task(permission_set_refs=[5]), "type", "/tasks/0/permission_set_refs"),
        ({"tasks": [A], "vars": [{"a": 1, "b": 2}]}, "type", "/vars/0"),
        ({"tasks": [A], "output_map": ["a"]}, "type", "/output_map"),
    ],
)
def test_error_on_save(definition: Any, code: str, pointer: str) -> None:
    checked = check(definition)

    assert (code, pointer, ERROR) in found(definition)
    assert checked.errors(strict=False)


@pytest.mark.parametrize(
    ("definition", "code", "pointer"),
    [
        (of_task(next={"do": "a"}), "no_entry", "/tasks"),
        ({"tasks": [A, {**B, "next": {"do": "b"}}]}, "unreachable", "/tasks/1"),
        (of_task(action="noop"), "action_ref", "/tasks/0/action"),
        (of_task(action="a.b.c"), "action_ref", "/tasks/0/action"),
        ({"tasks": [A], "vars": {"a-b": 1}}, "variable_name", "/vars/a-b"),
        (of_task(publish=["1x"]), "variable_name", "/tasks/0/publish/0"),
        *(
            ({"tasks": [{**A, "name": name}]}, "reserved_name", "/tasks/0/name")
            for name in ("parameters", "vars", "task", "system", "kv", "pack", "item", "batch", "index")
        ),
        (of_task(input={"x": ["{{ 1 + }}"]}), "syntax", "/tasks/0/input/x/0"),
        (of_task(when="a b"), "syntax", "/tasks/0/when"),
        (of_task(next=[{"when": "{{ not }}"}]), "syntax", "/tasks/0/next/0/when"),
        (of_task(input={"x": "{{ 1 | nofilter }}"}), "syntax", "/tasks/0/input/x"),
        (of_task(input={"x": "{{ nofunction() }}"}), "unknown_function", "/tasks/0/input/x"),
        (of_task(input={"x": "{{ limit }}"}), "unknown_name", "/tasks/0/input/x"),
        (of_task(input={"x": "{{ item }}"}), "unknown_name", "/tasks/0/input/x"),
        (of_task(with_items="{{ item }}", input={"x": "{{ item ~ index }}"}), "unknown_name", "/tasks/0/with_items"),
        (of_task(with_items=[1], input={"x": "{{ batch }}"}), "unknown_name", "/tasks/0/input/x"),
        ({"tasks": [A], "output_map": {"x": "{{ y }}"}}, "unknown_name", "/output_map/x"),
        (of_task(publish={"x": "{{ y }}"}), "unknown_name", "/tasks/0/publish/x"),
        (of_task(permission_set_ref="{{ y }}"), "unknown_name", "/tasks/0/permission_set_ref"),
    ],
)
def test_warning_on_save_and_error_for_whoever_validates(definition: Any, code: str, pointer: str) -> None:
    checked = check(definition)

    assert found(definition) == [(code, pointer, LINT)]
    assert (len(checked.errors(strict=False)), len(checked.errors(strict=True))) == (0, 1)
    assert (len(checked.warnings(strict=False)), len(checked.warnings(strict=True))) == (1, 0)


SCHEMAS = {"core.noop": {"exit_code": {"type": "integer"}, "message": {"type": "string", "required": True}}}


@pytest.mark.parametrize(
    ("definition", "code", "pointer"),
    [
        (of_task(join=1), "join_too_large", "/tasks/0/join"),
        (of_task(retry=3), "retry_ignored", "/tasks/0/retry"),
        (of_task(input={"message": "{{ task.gone.x }}"}), "unknown_task", "/tasks/0/input/message"),
        (of_task(when="tasks['gone'].x"), "unknown_task", "/tasks/0/when"),
        (of_task(action="core.gone"), "unknown_action", "/tasks/0/action"),
        (of_task(input={"message": "x", "exit_code": "one"}), "input", "/tasks/0/input/exit_code"),
        (of_task(input={"exit_code": "{{ parameters.x }}"}), "input", "/tasks/0/input"),
    ],
)
def test_warning_everywhere(definition: Any, code: str, pointer: str) -> None:
    checked = check(definition, actions=SCHEMAS)

    assert found(definition, actions=SCHEMAS) == [(code, pointer, ADVICE)]
    assert checked.errors(strict=True) == []


@pytest.mark.parametrize(
    "definition",
    [
        of_task(input={"exit_code": "{{ parameters.x }}", "message": "{{ workflow.x }}"}),
        of_task(input={}),
        {"vars": {"x": 1}, "tasks": [{**A, "when": "x > 1 and result() == null"}]},
        {
            "tasks": [{**A, "next": {"publish": "y", "do": "b"}}, {**B, "when": "{{ y.z }}"}],
            "output_map": {"o": "{{ y }}"},
        },
        of_task(with_items="{{ parameters.xs }}", batch_size=2, input={"message": "{{ item ~ index ~ batch }}"}),
        of_task(input={"message": "{{ config.x ~ pack.config.y ~ system.workflow_ref ~ keystore.z ~ task.a.b }}"}),
        of_task(input={"message": "{% if %} {# #} {{ without end"}),
        {"tasks": [{**A, "next": {"do": "b"}}, {**B, "next": {"do": "b"}, "__chart_meta__": {"x": 1}}]},
        nested(5),
        {"version": 1.0, "tasks": [A]},
    ],
)
def test_nothing_is_wrong(definition: Any) -> None:
    assert found(definition, actions=SCHEMAS) == []


def test_described_graph() -> None:
    tasks = [
        {**A, "next": [{"when": "{{ succeeded() }}", "do": ["b", "c"]}]},
        {**B, "next": {"do": "c"}},
        {"name": "c", "action": "core.noop", "next": {"do": "b"}},
    ]

    assert described(check({"tasks": tasks}).graph) == {
        "entry": ["a"],
        "edges": [
            {"from": "a", "to": "b", "when": "{{ succeeded() }}"},
            {"from": "a", "to": "c", "when": "{{ succeeded() }}"},
            {"from": "b", "to": "c", "when": None},
            {"from": "c", "to": "b", "when": None},
        ],
        "cycles": [["b", "c"]],
    }


def test_literal_permission_sets_by_task() -> None:
    tasks = [{**A, "permission_set_refs": ["x.y", "{{ parameters.z }}"]}, {**B, "permission_set_ref": "core.admin"}]

    assert permission_sets_named(check({"tasks": tasks}).graph) == {"a": ("x.y",), "b": ("core.admin",)}


def test_so_many_problems_and_no_more() -> None:
    tasks = [{**A, "name": f"t{number}", "action": "x"} for number in range(2 * MAX_PROBLEMS)]

    problems = check({"tasks": [*tasks, {"name": "bad"}]}).problems

    assert (len(problems), problems[0].code) == (MAX_PROBLEMS, "no_action")


@given(ANY_JSON)
def test_checking_never_fails(task: Any) -> None:
    checked = check({"tasks": [A, task], "output_map": {"x": "{{ a }}"}}, actions=SCHEMAS)

    described(checked.graph)
    assert all(isinstance(problem, Problem) for problem in checked.problems)


# --- Where it stands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("tasks:\n  - {name: a, action: c.d, next: [{do: [gone]}]}\n", 2, 41),
        ("tasks:\n  - name: a\n    action: c.d\n    input:\n      x: 'a {{ 1 + nope }}'\n", 5, 20),
        ("tasks:\n  - name: a\n    action: c.d\n    input: {x: a {{ 1 + nope }} b}\n", None, None),
        ("tasks:\n  - name: a\n    action: c.d\n    input:\n      x: a {{ 1 + nope }} b\n", 5, 19),
        (
            "tasks:\n  - name: a\n    action: c.d\n    input:\n      x: |\n        first\n          {{ 1 + nope }}\n",
            7,
            18,
        ),
        (
            "tasks:\n  - name: a\n    action: c.d\n    input:\n      x: >-\n        first\n        {{ 1 + nope }}\n",
            7,
            16,
        ),
        ("tasks:\n  - name: a\n    action: c.d\n    when: '1 ~ ''x'' ~ nope'\n", 4, 24),
        ('tasks:\n  - name: a\n    action: c.d\n    when: "1 ~ \\"n\\" ~\\nnope"\n', 4, 25),
        ('{"tasks": [\n\t{"name": "a",\t"action": "c.d", "when": "nope"}]}', 2, 42),
        ("tasks:\n  - {name: a, action: c.d}\n  - {name: b}\n", 3, 5),
        ("vars: &v {x: 1}\ntasks:\n  - &t {name: a, action: c.d, when: nope}\n", 3, 37),
    ],
)
def test_line_and_column(text: str, line: int | None, column: int | None) -> None:
    if line is None:
        with pytest.raises(UnreadableSource):
            read_source(text)
        return
    source = read_source(text)

    [entry] = entries(check(source.value).problems, source)

    assert (entry["line"], entry["column"]) == (line, column)


def test_no_line_without_a_text() -> None:
    assert entries(check({}).problems) == [
        {"code": "no_tasks", "message": "a workflow needs at least one task", "path": "", "line": None, "column": None}
    ]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: ]", 1, 4),
        ("a: 1\nb: *x", 2, 4),
        ("[" * 60, 1, 51),
        ('{"a": ' * 60 + "1" + "}" * 60, 1, 301),
        ("a: !!python/object:x {}", 1, 4),
        ("tasks:\n  - name: \u00e4\n    input: {text: {{ x }}}\n", 3, 20),
        ('{"tasks": [', 1, 12),
        ("a: [\n  b", 2, 4),
    ],
)
def test_unreadable_text(text: str, line: int, column: int) -> None:
    with pytest.raises(UnreadableSource) as raised:
        read_source(text)

    entry = raised.value.entry
    assert (entry["line"], entry["column"]) == (line, column)


def test_a_text_of_two_documents_is_told_in_a_whole_sentence() -> None:
    with pytest.raises(
        UnreadableSource, match=r"^expected a single document in the stream, but found another document$"
    ):
        read_source("---\ntasks: []\n---\na: 1\n")


def test_json_that_yaml_does_not_know_is_read_without_lines() -> None:
    source = read_source('{"tasks": [], "description": "\\ud83d\\ude00"}')

    assert source.value["description"] == "\U0001f600"
    assert entries(check(source.value).problems, source)[0]["line"] is None
