"""Every expression of a definition, and where it stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.expressions import ExpressionError, parse_template
from apps.workflows.definition.parsing import Reading, TaskReading
from apps.workflows.definition.problems import Path
from apps.workflows.definition.reading import condition_expressions


@dataclass(frozen=True, kw_only=True)
class Written:
    """
    The text of one expression; it begins at ``start`` of the text at ``path``.

    ``names``: what it may read besides the usual names. ``error``: why the text cannot be taken apart.
    """

    text: str
    path: Path
    start: int = 0
    names: frozenset[str] = frozenset()
    error: ExpressionError | None = None


def expressions_of(reading: Reading) -> Iterator[Written]:
    """Yield the expressions of a definition in its order."""
    for task in reading.tasks:
        yield from _of_task(task)
    for name, value in reading.graph.output_map.items():
        yield from _of_document(value, ("output_map", name))


def texts_of(document: Any, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the texts in a document of any shape, with their places."""
    pending: list[tuple[Any, Path]] = [(document, path)]
    while pending:
        value, place = pending.pop()
        if isinstance(value, str):
            yield value, place
        elif isinstance(value, Mapping):
            pending.extend(reversed([(child, (*place, key)) for key, child in value.items()]))
        elif isinstance(value, list):
            pending.extend(reversed([(child, (*place, index)) for index, child in enumerate(value)]))


def _of_task(reading: TaskReading) -> Iterator[Written]:
    task, path = reading.task, reading.path
    if task.when is not None:
        yield from _of_condition(task.when, (*path, "when"))
    yield from _of_document(task.with_items, (*path, "with_items"))
    of_items = {"item", "index", *(("batch",) if task.batch_size else ())} if task.has_items else set()
    yield from _of_document(task.input, (*path, "input"), frozenset(of_items))
    yield from _of_document(task.permission_set_refs, (*path, reading.permission_key), frozenset(of_items))
    for step in reading.steps:
        if step.when is not None and step.when_path is not None:
            yield from _of_condition(step.when, step.when_path)
        for entry in step.publish:
            yield from _of_document(entry.value.value, entry.path)


def _of_document(document: Any, path: Path, names: frozenset[str] = frozenset()) -> Iterator[Written]:
    for text, place in texts_of(document, path):
        if "{{" not in text:
            continue
        try:
            parts = parse_template(text).parts
        except ExpressionError as error:
            yield Written(text=text, path=place, names=names, error=error)
            continue
        for piece in parts:
            if not isinstance(piece, str):
                yield Written(text=piece.expression, path=place, start=piece.start, names=names)


def _of_condition(text: str, path: Path) -> Iterator[Written]:
    for expression, start in condition_expressions(text):
        yield Written(text=expression, path=path, start=start)
