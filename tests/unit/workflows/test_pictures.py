from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.workflows.definition.drawing import dot, mermaid
from apps.workflows.definition.graph import Graph
from apps.workflows.definition.layout import Box, layout
from apps.workflows.definition.parsing import parse


def task(name: str, *to: str, when: str | None = None, **keys: Any) -> dict[str, Any]:
    return {"name": name, "action": "core.noop", "next": [{"when": when, "do": list(to)}] if to else [], **keys}


LOOP = parse(
    {
        "tasks": [
            task("start", "block"),
            {"name": "block", "type": "parallel", "tasks": [task("x"), task("y")], "next": {"do": "end"}},
            task("end", "start", when="{{ result().say == '\"again\"' }}"),
        ]
    }
)


def test_mermaid() -> None:
    assert mermaid(LOOP) == (
        "flowchart TD\n"
        '    t0["start<br/>core.noop"]\n'
        '    subgraph t1 ["block"]\n'
        '        t2["x<br/>core.noop"]\n'
        '        t3["y<br/>core.noop"]\n'
        "    end\n"
        '    t4["end<br/>core.noop"]\n'
        "    t0 --> t1\n"
        "    t1 --> t4\n"
        '    t4 -->|"result().say #61;#61; #39;#34;again#34;#39;"| t0\n'
    )


def test_dot() -> None:
    assert dot(LOOP) == (
        "digraph workflow {\n"
        "    compound=true;\n"
        "    node [shape=box, style=rounded];\n"
        '    t0 [label="start\\ncore.noop"];\n'
        "    subgraph cluster_t1 {\n"
        '        label="block";\n'
        '        t2 [label="x\\ncore.noop"];\n'
        '        t3 [label="y\\ncore.noop"];\n'
        "    }\n"
        '    t4 [label="end\\ncore.noop"];\n'
        "    t0 -> t2 [lhead=cluster_t1];\n"
        "    t2 -> t4 [ltail=cluster_t1];\n"
        '    t4 -> t0 [label="result().say == \'\\"again\\"\'"];\n'
        "}\n"
    )


@pytest.mark.parametrize("name", ['"]; evil', "a\nb", "<script>", "#35;", "\\", "end", "x" * 200])
def test_names_cannot_leave_their_labels(name: str) -> None:
    graph = parse({"tasks": [task(name)]})

    label = mermaid(graph).split("\n")[1]
    assert label.count('"') == 2
    assert not set(label.split('"')[1].replace("<br/>", "")) & set("<>\\[]\n")
    lines = dot(graph).splitlines()
    assert len(lines) == 5
    assert lines[3].replace("\\\\", "").replace('\\"', "").count('"') == 2


def test_layers_follow_the_arrows() -> None:
    boxes = layout(LOOP).nodes

    assert list(boxes) == ["start", "block", "x", "y", "end"]
    assert boxes["start"].y < boxes["block"].y < boxes["x"].y < boxes["end"].y


def inside(inner: Box, outer: Box) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def apart(one: Box, other: Box) -> bool:
    return (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = [f"t{number}" for number in range(draw(st.integers(1, 12)))]
    tasks = []
    for number, name in enumerate(names):
        to = draw(st.lists(st.sampled_from(names), max_size=3))
        if draw(st.integers(0, 4)) == 0:
            subs = [task(f"s{number}{index}") for index in range(draw(st.integers(1, 3)))]
            tasks.append({"name": name, "type": "parallel", "tasks": subs, "next": [{"do": to}]})
        else:
            tasks.append(task(name, *to))
    return parse({"tasks": tasks})


@given(graphs())
def test_any_graph_is_laid_out(graph: Graph) -> None:
    picture = layout(graph)

    assert layout(graph) == picture
    assert list(picture.nodes) == list(graph.tasks)
    for one, other in combinations(picture.nodes.values(), 2):
        sub, block = (other, one) if graph.tasks[other.name].block == one.name else (one, other)
        if graph.tasks[sub.name].block == block.name:
            assert inside(sub, block)
        else:
            assert apart(one, other)
    assert len(picture.edges) == sum(len(set(step.do)) for item in graph.tasks.values() for step in item.next)
    for line in picture.edges:
        assert all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in line.points)
