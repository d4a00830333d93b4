"""The result view of an execution, and of a task (workflows.md 6.5 and 7). Pure."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from apps.workflows.engine.book import TaskRun


def result_view(result: Any, stdout: Callable[[], str | None]) -> Any:
    """
    Return the view of a result.

    The keys of an object under ``data`` are at the top too; without ``data``, those of a JSON object that is the whole
    standard output (``stdout`` gives it, None when it is cut or gone). Keys that are there already win.
    """
    if not isinstance(result, dict):
        return result
    if "data" in result:
        data = result["data"]
        return {**data, **result} if isinstance(data, dict) else result
    return {**_object_in(stdout() or ""), **result}


def error_in(result: Any) -> str | None:
    """Return what the result of a failed child says went wrong."""
    error = result.get("error") if isinstance(result, dict) else None
    return error if isinstance(error, str) else None


def _object_in(text: str) -> dict[str, Any]:
    text = text.strip()
    if not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def view_of(
    run: TaskRun,
    *,
    last: Callable[[], Any],
    items: Callable[[], list[Any]],
    below: Mapping[str, TaskRun],
    view: Callable[[TaskRun], Any],
) -> Any:
    """
    Return the view of a finished task.

    ``last``: the view of its child that ended last; ``items``: the views of all its children by index; ``below``: the
    sub-tasks of a block, and ``view`` that of one of them.
    """
    if run.outcome == "skipped":
        return None
    if below:
        return {name: view(sub) for name, sub in below.items() if sub.outcome is not None}
    if run.last_child is None and run.error is not None:
        return {"error": run.error}
    if run.item_count is None:
        return last()
    found = last()
    return {"items": items() if run.item_count else [], **(found if isinstance(found, dict) else {})}
