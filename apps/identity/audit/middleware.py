"""One audit event per request, whoever answers it."""

import time
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.core.api.middleware import Next
from apps.identity.audit import origin
from apps.identity.audit.record import record_request

# Not audited: pages without a caller that are asked for all the time, and the trail itself (reading it is
# `audit_log.read`).
_EXACT = frozenset({"/healthz", "/ready", "/metrics"})
_PREFIXES = ("/health", "/docs", "/api-spec", "/api/v1/audit-events", f"/{settings.STATIC_URL.strip('/')}/")
# Put into the WSGI environment by the server (no client can) when it asks the same thing once more.
REPEATED = "attune.repeated"


class Audit:
    """Stands right behind the request id, so that what any other middleware refuses is recorded, too."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        with origin.answering(request):
            response = self.get_response(request)
        if not _is_exempt(request):
            record_request(
                request,
                status=response.status_code,
                duration_ms=round((time.perf_counter() - began) * 1000),
                details=_details(response),
            )
        return response


def _is_exempt(request: HttpRequest) -> bool:
    path = request.path_info
    return path in _EXACT or path.startswith(_PREFIXES) or REPEATED in request.META


def _details(response: HttpResponseBase) -> dict[str, Any]:
    """Return the error's code; its message may quote what the client sent."""
    if response.status_code < 400:
        return {"replayed": True} if "Idempotent-Replayed" in response.headers else {}
    data = getattr(response, "data", None)
    code = data.get("code") if isinstance(data, Mapping) else None
    return {"code": code} if isinstance(code, str) else {}
