"""Who sits at the browser."""

from django.http import HttpRequest

from apps.core.errors import Unauthorized
from apps.identity.models import Identity


def person_of(request: HttpRequest) -> Identity:
    """Return the identity that signed in. Raises Unauthorized where nobody did."""
    if not isinstance(request.user, Identity):
        raise Unauthorized
    return request.user
