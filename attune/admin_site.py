"""The console: the admin's site, who may enter it, and its first page."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse, reverse_lazy

from apps.core.api.client import address_of
from apps.core.errors import AttuneError
from apps.identity import services, throttle
from apps.identity.callers import Caller
from apps.identity.grants import grants_of_identity
from apps.identity.models import Identity
from apps.identity.sessions import caller_at, person_of
from attune.dashboard import overview
from attune.dashboard_events import events_overview

if TYPE_CHECKING:  # the theme has no types; its classes stand in for these
    from django.contrib.admin import AdminSite as UnfoldAdminSite
    from django.contrib.admin.forms import AdminAuthenticationForm as AuthenticationForm
    from django.contrib.admin.forms import AdminPasswordChangeForm as PasswordForm
else:
    from unfold.forms import AdminOwnPasswordChangeForm as PasswordForm
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


FIELDS = {"new_password": "new_password1"}  # what the service calls a field, and what the form does


def may_enter(identity: Any) -> bool:
    """Return True when the identity may use the console: it holds at least one grant and is not frozen."""
    return isinstance(identity, Identity) and identity.is_active and bool(grants_of_identity(identity))


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
        "not_allowed": "This identity may not enter the console: no permission set gives it anything.",
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


class OwnPasswordForm(PasswordForm):
    """A new password, twice, and the old one; the service checks them."""

    def clean_old_password(self) -> str:
        return str(self.cleaned_data["old_password"])

    def validate_password_for_user(self, user: Any, password_field_name: str = "new_password2") -> None:
        """Left to the service."""


class OwnPasswordView(PasswordChangeView):
    """Change the password of whoever sits here."""

    form_class = OwnPasswordForm
    success_url = reverse_lazy("admin:password_change_done")
    template_name = "registration/password_change_form.html"

    def form_valid(self, form: Any) -> HttpResponse:
        given = form.cleaned_data
        person = person_of(self.request)
        try:
            services.change_password(
                person, current=given["old_password"], new=given["new_password1"], address=address_of(self.request)
            )
        except AttuneError as error:
            for detail in error.details or [{"field": "old_password", "message": error.message}]:
                form.add_error(FIELDS.get(detail["field"], "old_password"), detail["message"])
            return self.form_invalid(form)
        update_session_auth_hash(self.request, person)
        return HttpResponseRedirect(str(self.get_success_url()))


class ConsoleSite(UnfoldAdminSite):
    """The admin site of the product; the same identities sign in with the same password as everywhere."""

    site_title = "Attune"
    index_title = "Overview"
    login_form = ConsoleLoginForm
    enable_nav_sidebar = True
    empty_value_display = "–"

    def has_permission(self, request: HttpRequest) -> bool:
        """Asked many times for one page, answered by one query."""
        person = request.user
        return isinstance(person, Identity) and person.is_active and bool(self.caller(request).grants)

    def caller(self, request: HttpRequest) -> Caller:
        """Return who sits at the browser, as the API knows callers."""
        return caller_at(request)

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """The side bar, without the pages that its reader may not open."""
        closed = {
            reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
            for model, page in self._registry.items()
            if not page.has_module_permission(request)
        }
        groups: list[dict[str, Any]] = super().get_sidebar_list(request)  # type: ignore[misc]  # the theme's
        for group in groups:
            group["items"] = [item for item in group["items"] if str(item.get("link")) not in closed]
        return [group for group in groups if group["items"]]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return _with_policy(super().admin_view(view, cacheable))

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return _allowing_little(super().login(request, extra_context))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        frame = {**self.each_context(request), **(extra_context or {})}
        request.current_app = self.name
        return OwnPasswordView.as_view(extra_context=frame)(request)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        caller = self.caller(request)
        parts = {**overview(caller), **events_overview(caller)}
        context = {**self.each_context(request), "title": self.index_title, **parts, **(extra_context or {})}
        request.current_app = self.name
        return TemplateResponse(request, "admin/overview.html", context)
