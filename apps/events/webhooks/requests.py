"""One request to a webhook as it came: read once, up to the server's limit."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest

from apps.core import clock
from apps.core.api.client import Address, address_of, parse_address

_LARGEST_COLUMN = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A request. ``body`` None: above the server's limit, and not read; ``size`` None: nobody knows how far above."""

    key: str
    to_raw_url: bool
    body: bytes | None
    size: int | None
    method: str
    query: str
    headers: Mapping[str, str]  # names in lower case
    address: Address | None
    received_at: datetime
    began: float  # time.monotonic()

    @property
    def received_text(self) -> str:
        return self.received_at.isoformat().replace("+00:00", "Z")

    @property
    def source_ip(self) -> str | None:
        return None if self.address is None else str(self.address)

    @property
    def user_agent(self) -> str | None:
        return self.headers.get("user-agent")


def read(request: HttpRequest, *, key: str, to_raw_url: bool) -> Delivery:
    """Take a request in. A body above the server's limit is not taken into memory."""
    began = time.monotonic()
    body, size = _body_of(request, settings.WEBHOOK_MAX_BODY_BYTES)
    return Delivery(
        key=key,
        to_raw_url=to_raw_url,
        body=body,
        size=size,
        method=request.method or "POST",
        query=request.META.get("QUERY_STRING", ""),
        headers=_headers_of(request),
        address=parse_address(address_of(request)),
        received_at=clock.now(),
        began=began,
    )


def _headers_of(request: HttpRequest) -> dict[str, str]:
    headers = {name.lower(): value.replace("\x00", "\ufffd") for name, value in request.headers.items()}
    if "transfer-encoding" in headers:
        headers.pop("content-length", None)  # not the sender's: what the server put there for Django
    return headers


def _body_of(request: HttpRequest, limit: int) -> tuple[bytes | None, int | None]:
    announced = request.META.get("CONTENT_LENGTH", "")
    in_chunks = "HTTP_TRANSFER_ENCODING" in request.META
    if announced.isdigit() and not in_chunks and int(announced) > limit:
        return None, min(int(announced), _LARGEST_COLUMN)
    body = request.read(limit + 1)
    return (None, None) if len(body) > limit else (body, len(body))
