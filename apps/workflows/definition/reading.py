"""
What the expressions and templates of a workflow read, found without evaluating them. Pure.

The engine loads only that: ``tasks_read`` and ``variables_read`` of an ``input``, a ``publish`` value and so on.
A condition is a text of its own kind (workflows.md 4.1), see ``condition_expressions``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.expressions import Expression, ExpressionError, compile_expression, inner_expression, parse_template

VARIABLES = frozenset({"workflow", "vars", "variables"})
TASKS = frozenset({"task", "tasks"})
OF_ITEMS = frozenset({"item", "index", "batch"})  # outside a task with items these are variables like any other
ROOTS = frozenset({"parameters", "config", "pack", "keystore", "system", *VARIABLES, *TASKS})
FUNCTIONS = frozenset({"result", "succeeded", "failed", "timed_out", "skipped"})


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What something reads. ``tasks`` and ``variables`` are None when it may be any; ``roots`` and ``functions`` all."""

    tasks: frozenset[str] | None = frozenset()
    variables: frozenset[str] | None = frozenset()
    roots: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()

    def __or__(self, other: "Reads") -> "Reads":
        return Reads(
            tasks=_both(self.tasks, other.tasks),
            variables=_both(self.variables, other.variables),
            roots=self.roots | other.roots,
            functions=self.functions | other.functions,
        )


NOTHING_READ = Reads()


def tasks_read(document: Any) -> frozenset[str] | None:
    """Return the names of the tasks whose results the templates of a document read; None for any."""
    return reads_of(document).tasks


def variables_read(document: Any) -> frozenset[str] | None:
    """Return the names of the workflow variables that the templates of a document read; None for any."""
    return reads_of(document).variables


def reads_of(document: Any) -> Reads:
    """Return what the templates in a document of any shape read. One that is no expression reads nothing."""
    found = NOTHING_READ
    for text in _texts(document):
        try:
            pieces = [part for part in parse_template(text).parts if not isinstance(part, str)]
        except ExpressionError:
            continue
        for piece in pieces:
            found |= _of_text(piece.expression)
    return found


def reads_of_condition(text: str) -> Reads:
    """Return what a condition reads, see ``condition_expressions``."""
    found = NOTHING_READ
    for expression, _ in condition_expressions(text):
        found |= _of_text(expression)
    return found


def condition_expressions(text: str) -> list[tuple[str, int]]:
    """
    Return the expressions of a condition and where each begins in it.

    A condition is an expression, bare or inside of exactly one template, or else a text with templates. One that is
    neither is returned whole, as the bare expression that it fails to be.
    """
    try:
        expression, start = inner_expression(text)
        if start or _compiles(expression):
            return [(expression, start)]
        pieces = [part for part in parse_template(text).parts if not isinstance(part, str)]
    except ExpressionError:
        return [(text, 0)]
    return [(piece.expression, piece.start) for piece in pieces] or [(text, 0)]


def reads_of_expression(expression: Expression) -> Reads:
    """Return what one expression reads."""
    tasks: frozenset[str] | None = frozenset()
    variables: frozenset[str] | None = frozenset()
    roots = set()
    for read in expression.reads:
        roots.add(read.root)
        first = read.keys[0] if read.keys else None
        name = frozenset({first}) if isinstance(first, str) else None
        if read.root in TASKS:
            tasks = _both(tasks, name)
        elif read.root in VARIABLES:
            variables = _both(variables, name)
        elif read.root not in ROOTS:
            variables = _both(variables, frozenset({read.root}))
    functions = frozenset(call.text for call in expression.functions)
    return Reads(tasks=tasks, variables=variables, roots=frozenset(roots), functions=functions)


def _of_text(text: str) -> Reads:
    try:
        return reads_of_expression(compile_expression(text))
    except ExpressionError:
        return NOTHING_READ


def _compiles(text: str) -> bool:
    try:
        compile_expression(text)
    except ExpressionError:
        return False
    return True


def _texts(document: Any) -> Iterator[str]:
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if "{{" in value:
                yield value
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other
