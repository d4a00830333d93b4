"""
Export: all matching executions as a stream (api.md 13.4).

Rows are read in batches by key, so memory stays flat and no cursor or transaction is held open while a client reads
slowly. Rows that come after the start are left out by their id. An error on the way leaves the generator, so the
transfer breaks instead of ending cleanly.
"""

import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Final

from django.db.models import Max, Q
from django.http import HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from apps.core.api import query
from apps.core.api.grants import filtered
from apps.core.api.schema import Bare
from apps.core.csv_text import csv_cell, csv_line
from apps.core.errors import BadRequest
from apps.executions.api.base import ExecutionViews
from apps.executions.api.documents import EXPORT_PARAMETERS
from apps.executions.api.filters import FILTER_NAMES
from apps.executions.api.serializers import EXECUTION_KEYS, execution_data, wire
from apps.executions.models import Execution, ExecutionQuerySet
from apps.identity import audit

BATCH_ROWS: Final = 500
_CONTENT_TYPES: Final = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
CSV_COLUMNS: Final = (
    "id", "action_ref", "status", "parent", "enforcement", "rule_ref", "trigger_ref", "executor", "worker",
    "original_execution", "retry_count", "exit_code", "duration_ms", "succeeded", "error", "created", "started_at",
    "finished_at", "updated", "config", "result",
)  # fmt: skip
_KNOWN_COLUMNS: Final = frozenset(EXECUTION_KEYS) | {"error"}


class ExportViewSet(ExecutionViews):
    """Executions as a file."""

    grants: ClassVar = {"export": filtered("executions:read")}

    @extend_schema(
        parameters=EXPORT_PARAMETERS,
        responses={(200, *(kind.split(";")[0] for kind in _CONTENT_TYPES.values())): Bare(OpenApiTypes.STR)},
    )
    def export(self, request: Request) -> HttpResponseBase:
        """Stream all executions that match the filters, newest first, as of the start of the request."""
        form = query.choice(request.query_params, "format", tuple(_CONTENT_TYPES)) or "jsonl"
        columns = _columns(query.names(request.query_params, "fields"))
        limit = query.integer(request.query_params, "limit", minimum=1)
        rows, _filters = self.matching()
        blocks = _FORMATS[form](_recorded(rows_of(rows, limit), request, form), columns)
        response = StreamingHttpResponse(blocks, content_type=_CONTENT_TYPES[form])
        stamp = timezone.now().strftime("%Y%m%dT%H%M%SZ")
        response["Content-Disposition"] = f'attachment; filename="executions-{stamp}.{form}"'
        response["Vary"] = "Accept-Encoding"
        if _accepts_gzip(request.headers.get("Accept-Encoding", "")):
            response.streaming_content = _gzipped(blocks)
            response["Content-Encoding"] = "gzip"
        return response


def rows_of(rows: ExecutionQuerySet, limit: int | None) -> Iterator[Execution]:
    """Yield the rows newest first, batch by batch, without those that come after the first batch was asked for."""
    ceiling = Execution.objects.aggregate(ceiling=Max("pk"))["ceiling"] or 0
    rows = rows.filter(pk__lte=ceiling).newest_first().defer("env_vars")
    left = limit
    batch = list(rows[: BATCH_ROWS if left is None else min(left, BATCH_ROWS)])
    while batch:
        yield from batch
        if left is not None:
            left -= len(batch)
            if left <= 0:
                return
        if len(batch) < BATCH_ROWS:
            return
        last = batch[-1]
        behind = rows.filter(created__lte=last.created).filter(Q(created__lt=last.created) | Q(pk__lt=last.pk))
        batch = list(behind[: BATCH_ROWS if left is None else min(left, BATCH_ROWS)])


def _recorded(rows: Iterator[Execution], request: Request, form: str) -> Iterator[Execution]:
    """Yield the rows, and put into the audit trail how many there were; also when the client leaves halfway."""
    count, is_whole = 0, False
    try:
        for row in rows:
            count += 1
            yield row
        is_whole = True
    finally:
        audit.record(
            "execution.exported",
            outcome="success" if is_whole else "failure",
            details={"format": form, "rows": count, "whole": is_whole, "filters": _filters(request)},
            request=request,
        )


def _filters(request: Request) -> dict[str, str]:
    """Return the filters of the request; a text to look for may be a secret."""
    given = {name: request.query_params[name] for name in sorted(FILTER_NAMES) if name in request.query_params}
    return {name: "***" if name.endswith("_contains") else value for name, value in given.items()}


def _columns(names: list[str] | None) -> list[str] | None:
    if names is None:
        return None
    unknown = [name for name in names if name not in _KNOWN_COLUMNS]
    if unknown:
        raise BadRequest(f"Unknown fields: {', '.join(unknown)[:200]}")
    return list(dict.fromkeys(names))


# --- The formats: generators of encoded blocks, one per batch or so ------------------------------------------------
def _jsonl(rows: Iterable[Execution], columns: list[str] | None) -> Iterator[bytes]:
    return _in_blocks(_json_text(row, columns) + "\n" for row in rows)


def _json(rows: Iterable[Execution], columns: list[str] | None) -> Iterator[bytes]:
    def pieces() -> Iterator[str]:
        yield "["
        for number, row in enumerate(rows):
            yield (",\n" if number else "\n") + _json_text(row, columns)
        yield "\n]\n"

    return _in_blocks(pieces())


def _csv(rows: Iterable[Execution], columns: list[str] | None) -> Iterator[bytes]:
    names = columns or CSV_COLUMNS

    def lines() -> Iterator[str]:
        yield csv_line(names)
        for row in rows:
            yield csv_line(csv_cell(_value(row, name)) for name in names)

    return _in_blocks(lines())


_FORMATS: Final[dict[str, Callable[[Iterable[Execution], list[str] | None], Iterator[bytes]]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "json": _json,
}


def _in_blocks(pieces: Iterable[str], size: int = 64 * 1024) -> Iterator[bytes]:
    buffer = io.StringIO()
    for piece in pieces:
        buffer.write(piece)
        if buffer.tell() >= size:
            yield buffer.getvalue().encode(errors="replace")
            buffer = io.StringIO()
    if buffer.tell():
        yield buffer.getvalue().encode(errors="replace")


def _gzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    for block in blocks:
        yield packer.compress(block) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def _accepts_gzip(header: str) -> bool:
    for entry in header.lower().split(","):
        coding, _separator, parameters = entry.partition(";")
        if coding.strip() in ("gzip", "*"):
            return re.fullmatch(r"q=0(\.0*)?", parameters.replace(" ", "")) is None
    return False


# --- One row -------------------------------------------------------------------------------------------------------
def _json_text(row: Execution, columns: list[str] | None) -> str:
    data = execution_data(row) if columns is None else {name: _value(row, name) for name in columns}
    return json.dumps(data, ensure_ascii=False)


def _value(row: Execution, name: str) -> Any:
    if name == "error":
        return row.result.get("error") if isinstance(row.result, dict) else None
    return wire(getattr(row, EXECUTION_KEYS[name]))
