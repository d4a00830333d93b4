"""What a run comes to (workflows.md 4.2 and 10). Pure."""

from collections.abc import Mapping
from typing import Any

from apps.core.expressions import ExpressionError
from apps.core.markers import marked, path_of, restored
from apps.core.schemas import secret_paths
from apps.workflows.engine.book import Book, Ending, FailedTask
from apps.workflows.engine.joins import unmet_text
from apps.workflows.engine.rendering import rendered
from apps.workflows.engine.scope import Place


def ending_of(book: Book) -> Ending:
    """Return how a run ends in which nothing runs any more."""
    if book.stop is not None:
        error = book.stop.error
        if book.stop.status == "cancelled":
            return Ending(status="cancelled", result={"error": error, "succeeded": False}, error=error)
        return _failed(error, book.failures())
    failures = book.failures()
    if unmet := unmet_text(book):
        return _failed(unmet, failures)
    if failures:
        names = ", ".join(dict.fromkeys(failure.task for failure in failures))
        return _failed(f"Workflow failed: {len(failures)} task(s) failed: {names}", failures)
    return _completed(book)


def _failed(error: str, failures: list[FailedTask]) -> Ending:
    tasks = [{"task": each.task, "execution": each.execution, "error": each.error} for each in failures]
    return Ending(status="failed", result={"error": error, "succeeded": False, "failed_tasks": tasks}, error=error)


def _completed(book: Book) -> Ending:
    result: dict[str, Any] = {"succeeded": True}
    secrets: dict[str, Any] = {}
    for name, document in book.graph.output_map.items():
        try:
            kept = rendered(book, document, Place())
        except ExpressionError as error:
            book.log("WARN", f"Output '{name}' is left out: {error}")
            continue
        result[name] = kept.value
        key = name.replace("~", "~0").replace("/", "~1")
        secrets |= {f"/{key}{spot}": value for spot, value in kept.secrets.items()}
    return Ending(status="completed", result=result, secrets=secrets)


def without_secrets_of_output(ending: Ending, out_schema: Any) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the result with markers for what the schema calls secret as well, and what stands behind all of them."""
    shown = dict(ending.result)
    whole = restored(shown, ending.secrets)
    places = secret_paths(out_schema, whole) if out_schema else []
    if not places:
        return shown, ending.secrets
    known = [path for text in ending.secrets if (path := path_of(text, shown)) is not None]
    return marked(whole, [*known, *places])
