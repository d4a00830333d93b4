"""In which iteration a task starts that a transition names (workflows.md 8.2). Pure."""

from dataclasses import dataclass
from typing import Literal

from apps.workflows.engine.book import Book, TaskRun


@dataclass(frozen=True, kw_only=True)
class Reached:
    """
    What naming a task comes to.

    ``start`` it in ``iteration``; it ``waits`` there for its join already; it has been there (``nothing`` starts); or
    its ``limit`` is reached.
    """

    what: Literal["start", "waits", "nothing", "limit"]
    iteration: int | None = None


def reach(book: Book, source: TaskRun, target: str) -> Reached:
    """Return what it comes to that ``source``, which has just finished, names ``target``."""
    cycle = book.graph.cycle_of.get(target)
    if cycle is None:
        return _first_time(book, target, None)
    if source.name not in cycle or source.iteration is None:
        return _first_time(book, target, 0)
    if target != source.name:
        there = book.find(target, source.iteration)
        if there is None:
            return _within_limit(book, target, source.iteration)
        if not _led_to(book, source, target, cycle):
            return Reached(what="waits" if there.status == "pending" else "nothing")
    return _first_time(book, target, source.iteration + 1)


def _first_time(book: Book, target: str, iteration: int | None) -> Reached:
    there = book.find(target, iteration)
    if there is not None:
        return Reached(what="waits" if there.status == "pending" else "nothing")
    return _within_limit(book, target, iteration)


def _within_limit(book: Book, target: str, iteration: int | None) -> Reached:
    limit = book.graph.limit_of(book.graph.tasks[target])
    if iteration is not None and book.has_run(target, limit):
        return Reached(what="limit")
    return Reached(what="start", iteration=iteration)


def _led_to(book: Book, source: TaskRun, target: str, cycle: frozenset[str]) -> bool:
    """Whether ``target`` is one of the tasks that led to ``source`` in its iteration; each is looked at once."""
    iteration = source.iteration
    seen = {source.name}
    pending = [source]
    while pending:
        run = pending.pop()
        before = set(run.joined)
        if run.triggered_by is not None and run.triggered_iteration == iteration:
            before.add(run.triggered_by)
        for name in (before & cycle) - seen:
            if name == target:
                return True
            seen.add(name)
            found = book.find(name, iteration)
            if found is not None:
                pending.append(found)
    return False
