"""Answers of raw bytes: whole or a range, in blocks, with flat memory."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request

from apps.core.errors import AttuneError
from apps.executions.api.ranges import Part, Unsatisfiable, is_known, range_still_applies, requested_part

# What is sent may be anything a program wrote: a browser shows none of it as a page of ours.
_GUARDS: Final = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}


class RangeNotSatisfiable(AttuneError):
    """The range begins behind the last byte"""

    status, code = 416, "RANGE_NOT_SATISFIABLE"


@dataclass(frozen=True, kw_only=True)
class Content:
    """
    Bytes that can be read from anywhere: ``read(start, end)`` yields them, ``close`` lets go of them.

    ``etag`` is None while they may still change.
    """

    size: int
    content_type: str
    read: Callable[[int, int], Iterator[bytes]]
    close: Callable[[], Any]
    etag: str | None = None


def serve(
    request: Request, content: Content, *, headers: Mapping[str, str], part: Part | None = None
) -> HttpResponseBase:
    """
    Return the answer to a GET or HEAD for the content, or for a ``part`` of it that the parameters chose.

    A Range header counts only without ``part``. The content is closed when the answer is over. Raises
    RangeNotSatisfiable.
    """
    common = {**_GUARDS, "Accept-Ranges": "bytes", **headers}
    if content.etag is not None:
        common["ETag"] = content.etag
    if is_known(request.headers.get("If-None-Match"), content.etag):
        content.close()
        return HttpResponse(status=304, headers=common)
    status = 200
    if part is None:
        ranged = _ranged(request, content)
        if ranged is not None:
            status = 206
            common["Content-Range"] = f"bytes {ranged.start}-{ranged.end - 1}/{content.size}"
        part = ranged or Part(start=0, end=content.size)
    common["Content-Length"] = str(part.length)
    if request.method == "HEAD":
        content.close()
        return HttpResponse(status=status, content_type=content.content_type, headers=common)
    blocks = _closing(content.read(part.start, part.end), content.close)
    return StreamingHttpResponse(blocks, status=status, content_type=content.content_type, headers=common)


def _ranged(request: Request, content: Content) -> Part | None:
    header = request.headers.get("Range")
    if header is None or not range_still_applies(request.headers.get("If-Range"), content.etag):
        return None
    try:
        return requested_part(header, content.size)
    except Unsatisfiable:
        content.close()
        raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{content.size}"}) from None


class _closing:
    """Blocks of an answer; closed with it, also when nobody read them to the end."""

    def __init__(self, blocks: Iterator[bytes], close: Callable[[], Any]) -> None:
        self._blocks = blocks
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def __next__(self) -> bytes:
        return next(self._blocks)
