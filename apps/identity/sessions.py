"""Who sits at the browser."""

from django.http import HttpRequest

from apps.core.errors import Unauthorized
from apps.identity.callers import Caller
from apps.identity.models import Identity


def person_of(request: HttpRequest) -> Identity:
    """Return the identity that signed in. Raises Unauthorized where nobody did."""
    if not isinstance(request.user, Identity):
        raise Unauthorized
    return request.user


def caller_at(request: HttpRequest) -> Caller:
    """Return the identity that signed in, as services take it; its grants are read once for each request."""
    person = person_of(request)
    known = getattr(request, "_attune_caller", None)
    if isinstance(known, Caller) and known.holder is person:
        return known
    caller = Caller(holder=person, token_type="access", login=person.login)
    request._attune_caller = caller  # type: ignore[attr-defined]  # where the next one to ask finds it
    return caller
