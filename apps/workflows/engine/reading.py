"""What a text or a document of a workflow reads, found without evaluating it, so that nothing else is loaded. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from apps.core.expressions import ExpressionError, Piece, compile_expression, inner_expression, parse_template

VARIABLES = frozenset({"workflow", "vars", "variables"})
TASKS = frozenset({"task", "tasks"})
OTHERS = frozenset({"parameters", "config", "pack", "keystore", "system", "item", "index", "batch"})

_LONGEST_REMEMBERED = 1000


@dataclass(frozen=True, kw_only=True)
class Reads:
    """The tasks and variables that are named; None: any of them may be read. ``roots``: the other names."""

    tasks: frozenset[str] | None = frozenset()
    variables: frozenset[str] | None = frozenset()
    roots: frozenset[str] = frozenset()

    def __or__(self, other: "Reads") -> "Reads":
        return Reads(
            tasks=None if self.tasks is None or other.tasks is None else self.tasks | other.tasks,
            variables=None if self.variables is None or other.variables is None else self.variables | other.variables,
            roots=self.roots | other.roots,
        )


NOTHING_READ = Reads()


def reads_of_expression(text: str) -> Reads:
    """Return what a condition reads; one that cannot be read reads nothing."""
    if len(text) > _LONGEST_REMEMBERED:
        return _of_condition(text)
    return _remembered_condition(text)


def reads_of_document(document: Any) -> Reads:
    """Return what the templates in a document read."""
    found = NOTHING_READ
    for text in _texts(document):
        found |= _of_text(text) if len(text) > _LONGEST_REMEMBERED else _remembered_text(text)
    return found


def _texts(document: Any) -> Iterator[str]:
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if "{{" in value:
                yield value
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list | tuple):
            pending.extend(value)


def _of_condition(text: str) -> Reads:
    try:
        inner, _start = inner_expression(text)
        return _of_expression(inner) | _of_text(text)
    except ExpressionError:
        return NOTHING_READ


def _of_text(text: str) -> Reads:
    found = NOTHING_READ
    try:
        for part in parse_template(text).parts:
            if isinstance(part, Piece):
                found |= _of_expression(part.expression)
    except ExpressionError:
        pass  # rendering it will say so
    return found


def _of_expression(text: str) -> Reads:
    try:
        reads = compile_expression(text).reads
    except ExpressionError:
        return NOTHING_READ
    found = NOTHING_READ
    for read in reads:
        first = read.keys[0] if read.keys else None
        name = frozenset({first}) if isinstance(first, str) else None
        if read.root in TASKS:
            found |= Reads(tasks=name)
        elif read.root in VARIABLES:
            found |= Reads(variables=name)
        elif read.root in OTHERS:
            found |= Reads(roots=frozenset({read.root}), variables=frozenset({read.root}))
        else:
            found |= Reads(variables=frozenset({read.root}))
    return found


_remembered_condition = lru_cache(maxsize=4000)(_of_condition)
_remembered_text = lru_cache(maxsize=4000)(_of_text)
