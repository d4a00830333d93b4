"""The filters of executions (api.md 13.2): the query string, or the filter of a bulk cancel, as conditions in SQL."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q

from apps.core.api import contains, query
from apps.core.api.query import Params
from apps.core.errors import BadRequest
from apps.executions.models import ExecutionQuerySet
from apps.executions.states import TERMINAL, Status

_MOST_EXIT_CODES = 1000


@dataclass(frozen=True, kw_only=True)
class ExecutionFilters:
    """What is asked for: conditions on columns, and a text that the result must hold."""

    condition: Q
    result_contains: str | None

    @property
    def window(self) -> int | None:
        """How many of the newest matching rows are looked through; None: all."""
        return contains.WINDOW if self.result_contains is not None else None

    @property
    def is_empty(self) -> bool:
        return not self.condition and self.result_contains is None

    def apply(self, rows: ExecutionQuerySet) -> ExecutionQuerySet:
        """Return those rows that match; asks for the edge of the window when there is one."""
        return contains.containing(rows.filter(self.condition), "result", self.result_contains)


def parse_filters(params: Params) -> ExecutionFilters:
    """Return the filters of a query string. Raises BadRequest for a value that cannot be understood."""
    condition = Q()
    for name, read in _READERS.items():
        if params.get(name):
            condition &= read(params, name)
    shortest, longest = query.integer(params, "duration_ms_min"), query.integer(params, "duration_ms_max")
    if shortest is not None and longest is not None and shortest > longest:
        raise BadRequest("duration_ms_min is greater than duration_ms_max")
    text = contains.text_to_find(params, "result_contains")
    return ExecutionFilters(condition=condition, result_contains=text)


def parse_filter_object(given: Mapping[str, Any]) -> ExecutionFilters:
    """
    Return the filters of a JSON object with the names of the query string; a list stands for a comma list.

    Raises BadRequest for an empty object, an unknown name, and a value that cannot be understood.
    """
    unknown = sorted(set(given) - FILTER_NAMES)
    if unknown:
        raise BadRequest(f"Unknown filter: {', '.join(unknown)}")
    filters = parse_filters({name: _as_text(name, value) for name, value in given.items() if value is not None})
    if filters.is_empty:
        raise BadRequest("The filter is empty: it would match every execution")
    return filters


def _as_text(name: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case list() if value and all(isinstance(entry, str | int) and not isinstance(entry, bool) for entry in value):
            return ",".join(str(entry) for entry in value)
    raise BadRequest(f"Filter '{name}' cannot have this value")


# --- One reader per kind of filter ------------------------------------------------------------------------------
def _statuses(params: Params, name: str) -> Q:
    found = query.choices(params, name, Status.values)
    return Q(status__in=found) if found else Q()


def _id(params: Params, name: str) -> Q:
    return Q(**{name: query.identifier(params, name)})


def _uuid(params: Params, name: str) -> Q:
    return Q(**{name: query.uuid(params, name)})


def _ref(params: Params, name: str) -> Q:
    return query.ref_filter(name, query.text(params, name))


def _pack(params: Params, name: str) -> Q:
    return Q(pack_ref=query.text(params, name))


def _top_level(params: Params, name: str) -> Q:
    return Q(parent=None) if query.boolean(params, name) else Q()


def _succeeded(params: Params, name: str) -> Q:
    if query.boolean(params, name):
        return Q(succeeded=True)
    # Said so that the list's own order serves it; a status that was repaired by hand may have no word on success.
    return Q(succeeded=False) | Q(succeeded=None, status__in=TERMINAL)


def _exit_codes(params: Params, name: str) -> Q:
    codes = [query.parse_integer(code) for code in query.names(params, name) or []]
    if not codes or len(codes) > _MOST_EXIT_CODES or any(code is None or abs(code) > query.MAX_ID for code in codes):
        raise BadRequest(f"Query parameter '{name}' must be whole numbers, separated by commas")
    condition = Q(exit_code__in=codes)
    # The words of the partial index: SQLite takes it for nothing else.
    return condition if 0 in codes else condition & Q(exit_code__isnull=False) & ~Q(exit_code=0)


def _from(column: str) -> Callable[[Params, str], Q]:
    return lambda params, name: Q(**{f"{column}__gte": query.moment(params, name)})


def _before(column: str) -> Callable[[Params, str], Q]:
    return lambda params, name: Q(**{f"{column}__lt": query.moment(params, name)})


def _at_least(params: Params, name: str) -> Q:
    return Q(duration_ms__gte=query.integer(params, name))


def _at_most(params: Params, name: str) -> Q:
    return Q(duration_ms__lte=query.integer(params, name))


_READERS: Final[dict[str, Callable[[Params, str], Q]]] = {
    "status": _statuses,
    "action_ref": _ref,
    "rule_ref": _ref,
    "trigger_ref": _ref,
    "pack_name": _pack,
    "executor": _id,
    "enforcement": _id,
    "parent": _id,
    "worker": _id,
    "action": _id,
    "root": _id,
    "original_execution": _id,
    "correlation_id": _uuid,
    "top_level_only": _top_level,
    "created_after": _from("created"),
    "created_before": _before("created"),
    "started_after": _from("started_at"),
    "started_before": _before("started_at"),
    "finished_after": _from("finished_at"),
    "finished_before": _before("finished_at"),
    "exit_code": _exit_codes,
    "duration_ms_min": _at_least,
    "duration_ms_max": _at_most,
    "succeeded": _succeeded,
}
FILTER_NAMES: Final = frozenset(_READERS) | {"result_contains"}
