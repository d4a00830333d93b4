"""Tasks that wait for several predecessors (workflows.md section 5). Pure."""

from apps.workflows.engine.book import Book, TaskRun


def needed(book: Book, run: TaskRun) -> int:
    """Return how many predecessors a task waits for."""
    return book.graph.tasks[run.name].join or 0


def arrived(book: Book, run: TaskRun) -> tuple[set[str], set[str]]:
    """
    Return the predecessors that have completed: those of the task's own iteration, and the others.

    On a cycle one counts in the task's own iteration; also the one that began this iteration by naming the task.
    """
    predecessors = book.graph.predecessors[run.name]
    cycle = book.graph.cycle_of.get(run.name, frozenset())
    inside = [name for name in predecessors if name in cycle]
    outside = [name for name in predecessors if name not in cycle]
    here = book.completed(inside, run.iteration) if inside else set()
    others = book.ever_completed(outside) if outside else set()
    if run.triggered_by in inside and run.triggered_iteration != run.iteration:
        others = others | ({str(run.triggered_by)} - here)
    return here, others


def unmet_text(book: Book) -> str | None:
    """Return the sentence about a join that cannot be met any more, None when none waits."""
    unmet = {run.name: run for run in reversed(book.unmet())}
    for name in book.graph.tasks:
        if name in unmet:
            here, others = arrived(book, unmet[name])
            count = len(here) + len(others)
            return f"Join of task '{name}' cannot be met: {count} of {needed(book, unmet[name])}"
    return None
