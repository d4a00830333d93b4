"""The console: the admin's site, who may enter it, and its first page."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from unfold.forms import AuthenticationForm
from unfold.sites import UnfoldAdminSite

from apps.core.errors import AttuneError
from apps.identity.grants import holds_set
from apps.identity.models import ADMIN_SET_REF, Identity
from attune.dashboard import overview

# No script in a page of ours is inline; "unsafe-eval" is what the theme's Alpine.js needs to read its attributes.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


def may_enter(identity: Any) -> bool:
    """Return True when the identity may use the console: it holds ``core.admin`` and is not frozen."""
    if not isinstance(identity, Identity) or not identity.is_active:
        return False
    return holds_set(identity, ADMIN_SET_REF)


def _allowing_little(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    return response


def _with_policy(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return _allowing_little(view(request, *args, **kwargs))

    return guarded


class ConsoleLoginForm(AuthenticationForm):
    """Login and password of an identity that may enter."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "Invalid login or password.",
        "not_allowed": "This identity may not enter the console: it does not hold the permission set core.admin.",
    }

    def __init__(self, request: HttpRequest | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"].label = "Login"

    def clean(self) -> dict[str, Any]:
        try:
            return dict(super().clean())
        except AttuneError as error:  # frozen, or too many failures
            raise ValidationError(error.message) from None

    def confirm_login_allowed(self, user: Any) -> None:
        if not may_enter(user):
            raise ValidationError(self.error_messages["not_allowed"], code="not_allowed")


class ConsoleSite(UnfoldAdminSite):
    """The admin site of the product; the same identities sign in with the same password as everywhere."""

    site_title = "Attune"
    index_title = "Overview"
    login_form = ConsoleLoginForm
    enable_nav_sidebar = True
    empty_value_display = "–"

    def has_permission(self, request: HttpRequest) -> bool:
        """Asked many times for one page, answered by one query."""
        known = getattr(request, "_may_enter_console", None)
        if known is None or known[0] != request.user.pk:
            known = (request.user.pk, may_enter(request.user))
            request._may_enter_console = known  # type: ignore[attr-defined]  # lives as long as the request
        return bool(known[1])

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return _with_policy(super().admin_view(view, cacheable))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        return _allowing_little(super().login(request, extra_context))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = {**self.each_context(request), "title": self.index_title, **overview(), **(extra_context or {})}
        request.current_app = self.name  # type: ignore[attr-defined]  # django.contrib.admin's contract
        return TemplateResponse(request, "admin/overview.html", context)
