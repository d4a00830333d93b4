"""The names that the expressions of a workflow know (workflows.md 6.5 and 6.6). Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from apps.core.expressions import Lazy, Scope
from apps.workflows.engine.book import Book, TaskRun
from apps.workflows.engine.reading import Reads


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    Where an expression stands.

    ``finished``: the task that ``result()`` and the others speak of. ``here``: names of this place (item, index), with
    markers for secrets; ``here_real`` the same without.
    """

    finished: TaskRun | None = None
    iteration: int | None = None
    here: Mapping[str, Any] | None = None
    here_real: Mapping[str, Any] | None = None


def scope_for(book: Book, reads: Reads, place: Place, *, real: bool = False) -> Scope:
    """Return the scope in which something that reads ``reads`` is evaluated; ``real``: with the values of secrets."""
    variables = book.variables(reads.variables, real=real) if reads.variables or reads.variables is None else {}
    tasks = _tasks(book, reads, real=real) if reads.tasks or reads.tasks is None else {}
    config = Lazy(lambda: dict(book.config(real=real)))
    roots = {
        **variables,
        "parameters": Lazy(lambda: dict(book.parameters(real=real))),
        **dict.fromkeys(("workflow", "vars", "variables"), variables),
        **dict.fromkeys(("task", "tasks"), tasks),
        "config": config,
        "pack": Lazy(lambda: {"config": config.value()}),
        "keystore": {},
        "system": Lazy(lambda: {**book.system(), "iteration": place.iteration}),
        **((place.here_real if real else place.here) or {}),
    }
    return Scope(roots=roots, functions=_functions(book, place.finished, real=real), selves=_selves(tasks))


def _functions(book: Book, finished: TaskRun | None, *, real: bool) -> dict[str, Callable[[], Any]]:
    outcome = finished.outcome if finished is not None else None
    view = Lazy(lambda: book.view(finished, real=real) if finished is not None else None)
    return {
        "result": view.value,
        "succeeded": lambda: outcome in ("succeeded", "skipped"),
        "failed": lambda: outcome == "failed",
        "timed_out": lambda: outcome == "timed_out",
        "skipped": lambda: outcome == "skipped",
    }


def _tasks(book: Book, reads: Reads, *, real: bool) -> dict[str, Any]:
    return {name: book.view(run, real=real) for name, run in book.latest(reads.tasks).items()}


def _selves(tasks: Mapping[str, Any]) -> dict[int, str]:
    """``task.<name>.result`` is the same view again unless the result has such a key."""
    return {id(view): "result" for view in tasks.values() if isinstance(view, dict)}
