"""The console: the admin's site, who may enter it, and its first page."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse

from apps.core.api.client import address_of
from apps.core.errors import AttuneError
from apps.identity import throttle
from apps.identity.grants import holds_set
from apps.identity.models import ADMIN_SET_REF, Identity
from attune.dashboard import overview

if TYPE_CHECKING:  # the theme has no types; its classes stand in for these
    from django.contrib.admin import AdminSite as UnfoldAdminSite
    from django.contrib.admin.forms import AdminAuthenticationForm as AuthenticationForm
else:
    from unfold.forms import AuthenticationForm
    from unfold.sites import UnfoldAdminSite

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
        except ValidationError:
            self._say_when_locked()
            raise

    def _say_when_locked(self) -> None:
        """Too many failures look like a wrong password otherwise, and trying on makes it worse."""
        if self.request is None:
            return
        try:
            throttle.check(throttle.key_for(self.cleaned_data.get("username", ""), address_of(self.request)))
        except AttuneError as error:
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

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return _allowing_little(super().login(request, extra_context))

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context = {**self.each_context(request), "title": self.index_title, **overview(), **(extra_context or {})}
        request.current_app = self.name
        return TemplateResponse(request, "admin/overview.html", context)
