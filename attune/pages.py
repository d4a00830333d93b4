"""Pages that anybody may read and nobody may write."""

from collections.abc import Callable

from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

Page = Callable[..., HttpResponseBase]


def safe_page(view: Page) -> Page:
    """Answer 405 to every other method, also where the protection of forms would answer 403 before it."""
    return csrf_exempt(require_safe(view))
