"""
What a caller is told when something cannot be done (api.md 1.3).

Services raise these, or subclasses defined beside what raises them; one exception handler turns them into answers::

    class AlreadyFinished(ConflictError):
        '''The execution has ended'''          # the docstring's first line is the default message

    raise AlreadyFinished(f"Execution {pk} is in status '{status}' and cannot be cancelled")

No message may hold SQL, a path on the server, or a secret: it reaches the client as it is.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar, TypedDict


class Detail(TypedDict):
    """One broken rule of a request; ``field`` is its path in the body, "" for the body as a whole."""

    field: str
    message: str


class AttuneError(Exception):
    """Something could not be done"""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_SERVER_ERROR"

    def __init__(
        self,
        message: str = "",
        *,
        details: Iterable[Detail] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip().split("\n")[0]
        self.details: list[Detail] | None = None if details is None else list(details)
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(self.message)


class BadRequest(AttuneError):
    """The request makes no sense"""

    status, code = 400, "BAD_REQUEST"


class Unauthorized(AttuneError):
    """Not signed in"""

    status, code = 401, "UNAUTHORIZED"


class GateError(Unauthorized):
    """Missing authentication token"""

    # The gate alone nests its error: {"error": {"code": 401, "message": ...}} (api.md 1.2).


class Forbidden(AttuneError):
    """Not allowed"""

    status, code = 403, "FORBIDDEN"


class NotFound(AttuneError):
    """Not found"""

    status, code = 404, "NOT_FOUND"


class ConflictError(AttuneError):
    """The request collides with the present state"""

    status, code = 409, "CONFLICT"


class GoneError(AttuneError):
    """It was there and is gone"""

    status, code = 410, "GONE"


class PayloadTooLarge(AttuneError):
    """The request body is too large"""

    status, code = 413, "PAYLOAD_TOO_LARGE"


class UnsupportedMediaType(AttuneError):
    """The body must be JSON: send Content-Type: application/json"""

    status, code = 415, "UNSUPPORTED_MEDIA_TYPE"


class UnprocessableEntity(AttuneError):
    """A row that the request names does not exist, or a format rule is broken"""

    status, code = 422, "UNPROCESSABLE_ENTITY"


class ValidationFailed(AttuneError):
    """The request breaks a rule; ``details`` names field and rule."""

    status, code = 422, "VALIDATION_ERROR"

    def __init__(self, message: str = "", *, details: Iterable[Detail] | None = None) -> None:
        found = None if details is None else list(details)
        if not message and found:
            first = found[0]
            message = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
        super().__init__(message, details=found)


class TooManyRequests(AttuneError):
    """Too many requests; try again later"""

    status, code = 429, "TOO_MANY_REQUESTS"

    def __init__(self, message: str = "", *, retry_after_seconds: int = 60) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_seconds)})


class NotImplementedYet(AttuneError):
    """Not implemented or not configured"""

    status, code = 501, "NOT_IMPLEMENTED"


class Unavailable(AttuneError):
    """Not able just now; try again"""

    status, code = 503, "SERVICE_UNAVAILABLE"

    def __init__(self, message: str = "", *, retry_after_seconds: int = 1) -> None:
        super().__init__(message, headers={"Retry-After": str(retry_after_seconds)})
