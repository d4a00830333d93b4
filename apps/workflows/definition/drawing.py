"""Draw a workflow's graph as text for other programs: Mermaid and Graphviz. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from apps.core.expressions import ExpressionError, inner_expression
from apps.workflows.definition.graph import Graph, Task

MAX_LABEL = 60
FORMATS = ("mermaid", "dot")


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """One way between two tasks; ``label`` is the condition without its braces, empty for one always taken."""

    source: str
    target: str
    label: str


def arrows(graph: Graph) -> list[Arrow]:
    """Return the ways of a graph, those between the same tasks under the same condition once."""
    found: dict[tuple[str, str, str], None] = {}
    for task in graph.tasks.values():
        for step in task.next:
            for target in step.do:
                found[task.name, target, condition_label(step.when)] = None
    return [Arrow(source=source, target=target, label=label) for source, target, label in found]


def condition_label(when: str | None) -> str:
    """Return a condition on one short line."""
    if when is None:
        return ""
    try:
        text = inner_expression(when)[0]
    except ExpressionError:
        text = when
    return _short(" ".join(text.split()))


def mermaid(graph: Graph) -> str:
    """Return a Mermaid flowchart."""
    ids = _ids(graph)
    lines = ["flowchart TD"]
    for task in graph.tasks.values():
        if task.block is None:
            lines.extend(_mermaid_task(graph, task, ids, "    "))
    for arrow in arrows(graph):
        label = f'|"{_mermaid_text(arrow.label)}"|' if arrow.label else ""
        lines.append(f"    {ids[arrow.source]} -->{label} {ids[arrow.target]}")
    return "\n".join(lines) + "\n"


def dot(graph: Graph) -> str:
    """Return a Graphviz digraph."""
    ids = _ids(graph)
    lines = ["digraph workflow {", "    compound=true;", "    node [shape=box, style=rounded];"]
    for task in graph.tasks.values():
        if task.block is None:
            lines.extend(_dot_task(graph, task, ids, "    "))
    for arrow in arrows(graph):
        source, target = graph.tasks[arrow.source], graph.tasks[arrow.target]
        options = [f'label="{_dot_text(arrow.label)}"'] if arrow.label else []
        options += [f"ltail=cluster_{ids[source.name]}"] if source.tasks else []
        options += [f"lhead=cluster_{ids[target.name]}"] if target.tasks else []
        ends = f"{ids[_first(graph, source)]} -> {ids[_first(graph, target)]}"
        lines.append(f"    {ends}{' [' + ', '.join(options) + ']' if options else ''};")
    return "\n".join([*lines, "}"]) + "\n"


def draw(graph: Graph, form: str) -> str:
    """Return the graph in one of ``FORMATS``."""
    return {"mermaid": mermaid, "dot": dot}[form](graph)


def _ids(graph: Graph) -> dict[str, str]:
    return {name: f"t{number}" for number, name in enumerate(graph.tasks)}


def _mermaid_task(graph: Graph, task: Task, ids: dict[str, str], indent: str) -> Iterator[str]:
    if not task.tasks:
        text = _mermaid_text(task.name) + (f"<br/>{_mermaid_text(task.action)}" if task.action else "")
        yield f'{indent}{ids[task.name]}["{text}"]'
        return
    yield f'{indent}subgraph {ids[task.name]} ["{_mermaid_text(task.name)}"]'
    for name in task.tasks:
        yield from _mermaid_task(graph, graph.tasks[name], ids, f"{indent}    ")
    yield f"{indent}end"


def _dot_task(graph: Graph, task: Task, ids: dict[str, str], indent: str) -> Iterator[str]:
    if not task.tasks:
        text = _dot_text(task.name) + (f"\\n{_dot_text(task.action)}" if task.action else "")
        yield f'{indent}{ids[task.name]} [label="{text}"];'
        return
    yield f"{indent}subgraph cluster_{ids[task.name]} {{"
    yield f'{indent}    label="{_dot_text(task.name)}";'
    for name in task.tasks:
        yield from _dot_task(graph, graph.tasks[name], ids, f"{indent}    ")
    yield f"{indent}}}"


def _first(graph: Graph, task: Task) -> str:
    """Return a task that stands for a block: an edge of Graphviz ends at a node, never at a cluster."""
    while task.tasks:
        task = graph.tasks[task.tasks[0]]
    return task.name


def _short(text: str) -> str:
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 3]}..."


def _mermaid_text(text: str) -> str:
    """Return a text for a label in quotes: all but letters, digits and the harmless as numbers of characters."""
    return "".join(
        character if character.isalnum() or character in " _.-,:/()" else f"#{ord(character)};"
        for character in _short(text)
    )


def _dot_text(text: str) -> str:
    plain = _short(text).replace("\\", "\\\\").replace('"', '\\"')
    return "".join(character if character.isprintable() else " " for character in plain)
