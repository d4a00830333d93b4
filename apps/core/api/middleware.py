"""What happens to every request ahead of its view: a request id, and the origin of browsers that write."""

import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from structlog.contextvars import bound_contextvars

from apps.core.api.client import is_own_origin
from apps.core.errors import Forbidden

Next = Callable[[HttpRequest], HttpResponseBase]

COOKIES = ("attune_access_token", "attune_refresh_token")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class RequestId:
    """Every answer carries ``X-Request-Id``: the caller's if it is a UUID, else a new one."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        own = _given(request.META.get("HTTP_X_REQUEST_ID", "")) or str(uuid.uuid4())
        request.request_id = own  # type: ignore[attr-defined]  # where views and the audit find it
        with bound_contextvars(request_id=own):  # every log line of the request carries it
            response = self.get_response(request)
        response["X-Request-Id"] = own
        return response


class CookieOrigin:
    """A write that a foreign page sends with our cookie is refused (auth.md 2.4)."""

    sync_capable, async_capable = True, False

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self._is_foreign(request):
            return refusal("Requests with a cookie are accepted from known origins only")
        return self.get_response(request)

    def _is_foreign(self, request: HttpRequest) -> bool:
        if request.method in _SAFE or "HTTP_AUTHORIZATION" in request.META:
            return False
        origin = request.META.get("HTTP_ORIGIN")
        if origin is None or not any(name in request.COOKIES for name in COOKIES):
            return False
        return not is_own_origin(request, origin)


def refusal(message: str) -> HttpResponse:
    return JsonResponse({"error": message, "code": Forbidden.code, "status": Forbidden.status}, status=403)


def _given(value: str) -> str | None:
    """Return the id in its usual spelling, None for a text that is no UUID."""
    if len(value) not in (32, 36):
        return None
    try:
        return str(uuid.UUID(value))
    except ValueError:
        return None
