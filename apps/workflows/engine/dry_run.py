"""Run a workflow on paper: the engine's own decisions, with results that somebody gives (workflows.md section 3). Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from apps.core.markers import Path, marked
from apps.core.schemas import secret_paths
from apps.workflows.definition.graph import MAX_INPUTS_BYTES, Graph
from apps.workflows.engine.book import ChildEnd, ChildSpec, FailedTask, Outcome, TaskRun
from apps.workflows.engine.core import Core
from apps.workflows.engine.ending import without_secrets_of_output
from apps.workflows.engine.memory import MemoryBook, MemoryChild, Surroundings
from apps.workflows.engine.views import error_in, result_view

MOST_STEPS = 1000
TOO_LONG = f"The dry run was stopped after {MOST_STEPS} steps"
TOO_LARGE = "The dry run was stopped: its tasks have too many executions, or are given too much"
_CHILD_BYTES = 1024  # what a child counts at least: the time it takes, besides what it is given

_OUTCOMES: Mapping[str, Outcome] = {
    "completed": "succeeded",
    "succeeded": "succeeded",
    "timeout": "timed_out",
    "timed_out": "timed_out",
    "failed": "failed",
    "cancelled": "failed",
    "abandoned": "failed",
}
STATUSES = tuple(_OUTCOMES)


class _TooLong(Exception):
    """More than a dry run does; the text is for its reader."""


class _PaperBook(MemoryBook):
    def __init__(self, graph: Graph, surroundings: Surroundings, *, most_bytes: int) -> None:
        super().__init__(graph, surroundings)
        self._bytes_left = most_bytes

    def add(self, run: TaskRun) -> None:
        if len(self.runs) >= MOST_STEPS:
            raise _TooLong(TOO_LONG)
        super().add(run)

    def dispatch(self, run: TaskRun, specs: Sequence[ChildSpec]) -> None:
        self._bytes_left -= sum(max(_CHILD_BYTES, len(json.dumps(spec.parameters))) for spec in specs)
        if self._bytes_left < 0:
            raise _TooLong(TOO_LARGE)
        super().dispatch(run, specs)

    def failures(self) -> list[FailedTask]:
        """Return what failed and was not handled: with what its child said, of which there is no execution."""
        results: dict[int | None, Any] = {
            child.id: child.result for children in self.children.values() for child in children
        }
        return [
            FailedTask(task=each.task, execution=None, error=each.error or error_in(results.get(each.execution)))
            for each in super().failures()
        ]


def dry_run(
    graph: Graph, surroundings: Surroundings, results: Mapping[str, Any], *, most_bytes: int = MAX_INPUTS_BYTES
) -> dict[str, Any]:
    """
    Return what a workflow comes to when its tasks come to these results.

    ``results``: task -> {"status", "result"}, or a list of these, one for each item or iteration; what is missing
    succeeds with {}. All tasks together may be given ``most_bytes`` of input.
    """
    book = _PaperBook(graph, surroundings, most_bytes=most_bytes)
    errors = []
    try:
        _play(Core(book), book, results)
    except _TooLong as error:
        errors.append(str(error))
    ending = book.ending
    result: Mapping[str, Any] = {"error": "; ".join(errors), "succeeded": False}
    if ending is not None:
        result = without_secrets_of_output(ending, surroundings.out_schema)[0]
    return {
        "status": ending.status if ending is not None else "failed",
        "result": result,
        "steps": [_step(book, run) for run in book.runs.values() if run.status != "pending"],
        "variables": book.variables(None),
        "errors": [text for level, text in book.lines if level != "INFO"] + errors,
    }


def _play(core: Core, book: _PaperBook, results: Mapping[str, Any]) -> None:
    core.start()
    while book.ending is None and (end := _next_end(book, results)) is not None:
        core.child_ended(end)


def _next_end(book: _PaperBook, results: Mapping[str, Any]) -> ChildEnd | None:
    """Return the end of the child that comes next; cancelled ones first."""
    if book.cancelled:
        return book.cancelled.pop(0).end("failed")
    while book.due:
        child = book.due.popleft()
        if not child.cancelled:
            given = _given(results.get(child.run.name), child)
            result = given.get("result", {})
            child.result = result_view(result, lambda: None)
            shown, secrets = marked(result, _secret_places(book, child, result))
            child.shown = result_view(shown, lambda: None) if secrets else None
            return child.end(_OUTCOMES[given.get("status", "completed")])
    return None


def _secret_places(book: _PaperBook, child: MemoryChild, result: Any) -> Iterator[Path]:
    """Yield where secrets stand in a result: those of the action's schema, those of an answer by the question's."""
    if not isinstance(result, Mapping):
        return
    schema = book.out_schema_of(child)
    if schema:
        yield from secret_paths(schema, result)
        yield from (("data", *path) for path in secret_paths(schema, result.get("data")))
    asked = child.spec.parameters.get("response_schema")
    if isinstance(asked, Mapping):
        yield from (("response", *path) for path in secret_paths(asked, result.get("response")))


def _given(found: Any, child: MemoryChild) -> Mapping[str, Any]:
    if isinstance(found, list):
        position = child.spec.index if child.spec.index is not None else child.run.iteration or 0
        found = found[position] if position < len(found) else None
    return found if isinstance(found, Mapping) else {}


def _step(book: MemoryBook, run: TaskRun) -> dict[str, Any]:
    children = book.children.get((run.name, run.iteration), [])
    task = book.graph.tasks[run.name]
    inputs = [
        marked(dict(child.spec.parameters), book.secret_places(task, child.spec.parameters))[0] for child in children
    ]
    return {
        "task": run.name,
        "iteration": run.iteration,
        "items": run.item_count,
        "input": inputs if run.item_count is not None else inputs[0] if inputs else None,
        "outcome": run.outcome,
        "transitions": run.transitions,
        "published": run.published,
    }
