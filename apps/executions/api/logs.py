"""Logs over HTTP (api.md 13.6): whole, by offset, the last lines, by Range; searched."""

from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import by_object
from apps.core.api.schema import Bare
from apps.core.errors import BadRequest, NotImplementedYet
from apps.executions.api.base import ExecutionViews
from apps.executions.api.documents import LOG_PARAMETERS, SEARCH_PARAMETERS
from apps.executions.api.ranges import Part
from apps.executions.api.raw import Content, serve
from apps.executions.api.serializers import LogsSerializer, SearchSerializer
from apps.executions.errors import LogGone
from apps.executions.log_search import LONGEST_NEEDLE, search_log
from apps.executions.logs import STREAMS, Log, Stream, open_log
from apps.executions.models import Execution

MOST_LINES = 100_000
_DEFAULT_MATCHES, _MOST_MATCHES = 200, 1000


class LogViewSet(ExecutionViews):
    """What executions wrote."""

    grants: ClassVar = {
        "overview": by_object("executions:read"),
        "read": by_object("executions:read"),
        "search": by_object("executions:read"),
        "follow": by_object("executions:read"),
    }

    @extend_schema(operation_id="executions_logs", responses=LogsSerializer)
    def overview(self, request: Request, pk: str) -> Response:
        """Say what there is of both streams."""
        execution = self.get_object()
        return envelopes.single({stream: _info(execution, stream) for stream in STREAMS})

    @extend_schema(
        operation_id="executions_log",
        parameters=LOG_PARAMETERS,
        responses={(200, "text/plain"): Bare(OpenApiTypes.STR)},
    )
    def read(self, request: Request, pk: str, stream: str) -> HttpResponseBase:
        """Read a log: whole, by ``offset`` and ``limit``, its ``tail``, or by a Range header."""
        name = _stream(stream)
        log = open_log(self.get_object(), name)
        try:
            part, headers = _part(log, request), _headers(log, request)
        except BaseException:
            log.close()
            raise
        content = Content(
            size=log.size_bytes,
            content_type="text/plain; charset=utf-8",
            read=log.read,
            close=log.close,
            etag=log.etag,
        )
        response = serve(request, content, headers=headers, part=part)
        _tell_position(response, log, part)
        return response

    @extend_schema(parameters=SEARCH_PARAMETERS, responses=SearchSerializer)
    def search(self, request: Request, pk: str) -> Response:
        """Find the lines that hold a text, in any case."""
        execution = self.get_object()
        params = request.query_params
        needle = query.text(params, "q")
        if needle is None or len(needle) > LONGEST_NEEDLE:
            raise BadRequest(f"Query parameter 'q' must be a text of 1 to {LONGEST_NEEDLE} characters")
        stream = query.choice(params, "stream", STREAMS)
        asked = query.integer(params, "limit")
        limit = _DEFAULT_MATCHES if asked is None else min(max(asked, 1), _MOST_MATCHES)
        after_offset = query.integer(params, "after_offset", minimum=0)
        matches: list[dict[str, Any]] = []
        truncated = False
        for name in STREAMS if stream is None else (_stream(stream),):
            with open_log(execution, name) as log:
                found, truncated = search_log(
                    log, needle, limit=limit - len(matches), after_offset=-1 if after_offset is None else after_offset
                )
            matches.extend(
                {"stream": match.stream, "line": match.line, "offset": match.offset, "text": match.text}
                for match in found
            )
            if truncated:
                break
        return envelopes.single({"matches": matches, "truncated": truncated})

    @extend_schema(exclude=True)
    def follow(self, request: Request, pk: str, stream: str) -> Response:
        """Follow a log while it is written."""
        _stream(stream)
        self.get_object()
        raise NotImplementedYet("Live logs are not there yet; read the log with offset=<X-Log-Next-Offset>")


def _stream(name: str) -> Stream:
    for stream in STREAMS:
        if name == stream:
            return stream
    raise BadRequest(f"There is no stream '{name[:80]}': stdout and stderr are")


def _info(execution: Execution, stream: Stream) -> dict[str, Any]:
    url = f"/api/v1/executions/{execution.pk}/logs/{stream}"
    try:
        with open_log(execution, stream) as log:
            return {
                "size_bytes": log.size_bytes,
                "complete": log.complete,
                "truncated": log.truncated,
                "dropped_bytes": log.dropped_bytes,
                "lines": log.count_lines(),
                "url": url,
            }
    except LogGone:
        nothing = {"size_bytes": 0, "complete": True, "truncated": False, "dropped_bytes": 0, "lines": None}
        return {**nothing, "url": url}


def _part(log: Log, request: Request) -> Part | None:
    """Return the part that the parameters choose; None when they choose none."""
    params = request.query_params
    offset = query.integer(params, "offset", minimum=0)
    limit = query.integer(params, "limit", minimum=0)
    tail = query.integer(params, "tail", minimum=1, maximum=MOST_LINES)
    tail_bytes = query.integer(params, "tail_bytes", minimum=0)
    if offset is not None and (tail is not None or tail_bytes is not None):
        raise BadRequest("Give tail or offset, not both")
    if tail is not None and tail_bytes is not None:
        raise BadRequest("Give tail or tail_bytes, not both")
    size = log.size_bytes
    if tail is not None:
        return _limited(log, log.tail_start(tail), limit)
    if tail_bytes is not None:
        return _limited(log, log.boundary_after(max(0, size - tail_bytes)), limit)
    if offset is None and limit is None:
        return None
    return _limited(log, min(offset or 0, size), limit)


def _limited(log: Log, start: int, limit: int | None) -> Part:
    if limit is None or start + limit >= log.size_bytes:
        return Part(start=start, end=log.size_bytes)
    return Part(start=start, end=max(start, log.boundary_before(start + limit)))


def _headers(log: Log, request: Request) -> dict[str, str]:
    headers = {
        "X-Log-Size": str(log.size_bytes),
        "X-Log-Complete": "true" if log.complete else "false",
        "X-Log-Truncated": "true" if log.truncated else "false",
        "X-Log-Dropped-Bytes": str(log.dropped_bytes),
        "Cache-Control": "private, no-cache",
    }
    if query.boolean(request.query_params, "download"):
        name = f"execution-{log.execution_id}.{log.stream}.log"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return headers


def _tell_position(response: HttpResponseBase, log: Log, part: Part | None) -> None:
    """Say which bytes are sent, also for a range."""
    start, end = (part.start, part.end) if part is not None else (0, log.size_bytes)
    if response.status_code == 206:
        span = response.headers["Content-Range"].removeprefix("bytes ").partition("/")[0]
        first, _dash, last = span.partition("-")
        start, end = int(first), int(last) + 1
    response.headers["X-Log-Offset"] = str(start)
    response.headers["X-Log-Next-Offset"] = str(end)
