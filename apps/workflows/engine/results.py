"""What finished children came to, as expressions read it: whole results, with what they printed (workflows.md 6.5)."""

from collections.abc import Sequence
from typing import Any

from apps.core import sql
from apps.core.markers import holds_marker, restored
from apps.executions.artifacts import whole_result
from apps.executions.logs import log_name
from apps.executions.models import Execution
from apps.executions.storage import open_file_or_packed, read_range, size_of
from apps.keys import secret_store
from apps.workers.results import PREVIEW_CHARACTERS, decode
from apps.workflows.engine.views import error_in, result_view

_ROWS_AT_ONCE = 500


def view_of_child(child_id: int, *, real: bool) -> Any:
    """Return the view of one child's result; None when it is gone or has none."""
    child = sql.get(Execution, "id = %s", [child_id])
    return view_of_execution(child, real=real) if child is not None else None


def views_of_children(child_ids: Sequence[int | None], *, real: bool) -> list[Any]:
    """Return the views of several children in this order; None for one without a result."""
    found: dict[int, Any] = {}
    wanted = [pk for pk in child_ids if pk is not None]
    for start in range(0, len(wanted), _ROWS_AT_ONCE):
        part = Execution.objects.filter(pk__in=wanted[start : start + _ROWS_AT_ONCE])
        found |= {child.pk: view_of_execution(child, real=real) for child in part}
    return [found.get(pk) if pk is not None else None for pk in child_ids]


def error_of(child_id: int) -> str | None:
    """Return what a failed child says went wrong."""
    child = sql.get(Execution, "id = %s", [child_id])
    return error_in(child.result) if child is not None else None


def view_of_execution(child: Execution, *, real: bool) -> Any:
    """Return the view of the result of a child."""
    result = whole_result(child)
    if real and holds_marker(result):
        result = restored(result, secret_store.get(secret_store.EXECUTION_RESULT, child.pk))
    return result_view(result, lambda: _stdout(child, result))


def _stdout(child: Execution, result: dict[str, Any]) -> str | None:
    """Return the whole standard output; None when there is none, or it is no JSON object, cut or removed."""
    shown = result.get("stdout")
    if not isinstance(shown, str) or not shown.lstrip().startswith("{") or result.get("stdout_truncated") is True:
        return None
    if len(shown) <= PREVIEW_CHARACTERS:
        return shown
    file = open_file_or_packed(log_name(child.pk, "stdout"))
    if file is None:
        return None
    with file:
        return decode(b"".join(read_range(file, 0, size_of(file))))
