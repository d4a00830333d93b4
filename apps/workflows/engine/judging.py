"""Whether a condition holds, a transition fires, and what it publishes (workflows.md 4.1). Pure."""

from typing import Any

from apps.core.expressions import ExpressionError, Piece, Scope, compile_expression, parse_template, render
from apps.workflows.definition.graph import Published, Transition
from apps.workflows.engine.book import Book, TaskRun
from apps.workflows.engine.reading import reads_of_expression
from apps.workflows.engine.rendering import Kept, rendered, secret_spots, with_markers
from apps.workflows.engine.scope import Place, scope_for

_FALSE = frozenset({"false", "0", "no", ""})


def holds(book: Book, condition: str, place: Place) -> bool:
    """Return whether a condition is true, judged by the real values. Raises ExpressionError."""
    return _is_true(condition, scope_for(book, reads_of_expression(condition), place, real=True))


def _is_true(condition: str, scope: Scope) -> bool:
    """It is an expression, the inside of one template, or a text with templates, which is rendered and then read."""
    template = parse_template(condition)
    if template.only is not None:
        try:
            return bool(compile_expression(template.only.expression).evaluate(scope))
        except ExpressionError as error:
            raise error.within(condition, template.only.start) from None
    if not any(isinstance(part, Piece) for part in template.parts):
        return bool(compile_expression(condition).evaluate(scope))
    try:
        return bool(compile_expression(condition).evaluate(scope))
    except ExpressionError:
        return str(render(condition, scope).value).strip().lower() not in _FALSE


def fires(book: Book, run: TaskRun, transition: Transition) -> bool:
    """Return whether a transition of a task that has just finished fires, and note it in the task's trace."""
    entry: dict[str, Any] = {"index": transition.index, "when": transition.when, "fired": True, "error": None}
    run.transitions.append(entry)
    if transition.when is None:
        return True
    try:
        entry["fired"] = holds(book, transition.when, Place(finished=run, iteration=run.iteration))
    except ExpressionError as error:
        entry["fired"], entry["error"] = run.outcome in ("succeeded", "skipped"), str(error)
        book.log("WARN", f"Task '{run.name}', transition {transition.index}: {error}")
    return bool(entry["fired"])


def publish(book: Book, run: TaskRun, transition: Transition) -> None:
    """Set the variables that a transition publishes, in order; an entry that cannot be rendered is left unset."""
    for name, published in transition.publish:
        try:
            kept = _published(book, run, published)
        except ExpressionError as error:
            book.log("WARN", f"Task '{run.name}', transition {transition.index}, publish '{name}': {error}")
            continue
        book.publish(run, name, kept.value, kept.secrets)
        run.published[name] = kept.value


def _published(book: Book, run: TaskRun, published: Published) -> Kept:
    if not published.whole_result:
        return rendered(book, published.value, Place(finished=run, iteration=run.iteration))
    value = book.view(run)
    spots = list(secret_spots(value))
    return with_markers(value, book.view(run, real=True), spots) if spots else Kept(value=value, secrets={})
