"""Sign in, stay signed in, sign out: ``/auth`` (api.md section 3)."""

from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.client import address_of, is_secure
from apps.core.api.fields import Body, Text
from apps.core.api.grants import PUBLIC
from apps.core.api.views import AttuneView
from apps.identity import services
from apps.identity.authentication import ACCESS_COOKIE, REFRESH_COOKIE
from apps.identity.models import Identity

# --- Bodies -----------------------------------------------------------------------------------------------------


class LoginBody(Body):
    login = Text(max_length=255)
    password = Text()


class TokenLoginBody(Body):
    token = Text()


class RegistrationBody(Body):
    login = Text(min_length=3, max_length=255)
    password = Text(min_length=8, max_length=128)
    display_name = Text(max_length=255, required=False, allow_null=True, allow_blank=True)


class RefreshBody(Body):
    refresh_token = Text()


# --- Answers ----------------------------------------------------------------------------------------------------


class TokenUserSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    login = serializers.CharField()
    display_name = serializers.CharField(allow_null=True)


class TokenSerializer(serializers.Serializer):
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.CharField()
    expires_in = serializers.IntegerField(help_text="seconds")
    user = TokenUserSerializer(required=False)


class AuthSettingsSerializer(serializers.Serializer):
    authentication_enabled = serializers.BooleanField()
    local_password_enabled = serializers.BooleanField()
    local_password_visible_by_default = serializers.BooleanField()
    oidc_enabled = serializers.BooleanField()
    oidc_visible_by_default = serializers.BooleanField()
    oidc_provider_name = serializers.CharField(allow_null=True)
    oidc_provider_label = serializers.CharField(allow_null=True)
    oidc_provider_icon_url = serializers.CharField(allow_null=True)
    ldap_enabled = serializers.BooleanField()
    ldap_visible_by_default = serializers.BooleanField()
    ldap_provider_name = serializers.CharField(allow_null=True)
    ldap_provider_label = serializers.CharField(allow_null=True)
    ldap_provider_icon_url = serializers.CharField(allow_null=True)
    self_registration_enabled = serializers.BooleanField()


def shown_tokens(identity: Identity, made: services.Tokens, *, with_user: bool) -> dict[str, Any]:
    """Return a TokenResponse."""
    user = {"id": identity.pk, "login": identity.login, "display_name": identity.display_name}
    return {
        "access_token": made.access_token,
        "refresh_token": made.refresh_token,
        "token_type": "Bearer",
        "expires_in": made.expires_in_seconds,
        **({"user": user} if with_user else {}),
    }


# --- Views ------------------------------------------------------------------------------------------------------


class SettingsView(AttuneView):
    """How one can sign in here."""

    name = "Sign-in settings"
    grants = {"get": PUBLIC}

    @extend_schema(responses=AuthSettingsSerializer)
    def get(self, request: Request) -> Response:
        oidc = {f"oidc_provider_{name}": None for name in ("name", "label", "icon_url")}
        ldap = {f"ldap_provider_{name}": None for name in ("name", "label", "icon_url")}
        return envelopes.single(
            {
                "authentication_enabled": True,
                "local_password_enabled": True,
                "local_password_visible_by_default": True,
                "oidc_enabled": False,
                "oidc_visible_by_default": False,
                **oidc,
                "ldap_enabled": False,
                "ldap_visible_by_default": False,
                **ldap,
                "self_registration_enabled": settings.ALLOW_SELF_REGISTRATION,
            }
        )


class LoginView(AttuneView):
    """Sign in with login and password."""

    name = "Sign in"
    grants = {"post": PUBLIC}

    @extend_schema(request=LoginBody, responses=TokenSerializer)
    def post(self, request: Request) -> Response:
        body = self.validated(LoginBody)
        identity = services.sign_in(body["login"], body["password"], address=address_of(request._request))
        return envelopes.single(shown_tokens(identity, services.tokens_for(identity), with_user=True))


class TokenLoginView(AttuneView):
    """Sign in with the secret of an integration token."""

    name = "Sign in with an integration token"
    grants = {"post": PUBLIC}

    @extend_schema(request=TokenLoginBody, responses=TokenSerializer)
    def post(self, request: Request) -> Response:
        secret = self.validated(TokenLoginBody)["token"]
        identity, made = services.sign_in_with_token(secret, address=address_of(request._request))
        return envelopes.single(shown_tokens(identity, made, with_user=True))


class RegisterView(AttuneView):
    """Make an identity of one's own, without rights; where the setting allows it."""

    name = "Register"
    grants = {"post": PUBLIC}

    @extend_schema(request=RegistrationBody, responses=TokenSerializer)
    def post(self, request: Request) -> Response:
        services.require_self_registration()
        identity = services.register(**self.validated(RegistrationBody))
        return envelopes.single(shown_tokens(identity, services.tokens_for(identity), with_user=True))


class RefreshView(AttuneView):
    """Two new tokens for a refresh token, in the body or in the cookie."""

    name = "Refresh"
    grants = {"post": PUBLIC}

    @extend_schema(request=RefreshBody, responses=TokenSerializer)
    def post(self, request: Request) -> Response:
        cookie = request.COOKIES.get(REFRESH_COOKIE)
        from_cookie = cookie is not None and not request.data
        token = cookie if from_cookie else self.validated(RefreshBody)["refresh_token"]
        identity, made = services.refresh(token or "", address=address_of(request._request))
        response = envelopes.single(shown_tokens(identity, made, with_user=False))
        if from_cookie:
            set_cookies(response, made, secure=is_secure(request._request))
        return response


def set_cookies(response: Response, made: services.Tokens, *, secure: bool) -> None:
    """Give a browser its tokens."""
    seconds = int(settings.JWT_REFRESH_LIFETIME.total_seconds())
    common: dict[str, Any] = {"httponly": True, "samesite": "Lax", "secure": secure}
    response.set_cookie(ACCESS_COOKIE, made.access_token, max_age=made.expires_in_seconds, path="/", **common)
    response.set_cookie(REFRESH_COOKIE, made.refresh_token, max_age=seconds, path="/auth", **common)


class LogoutView(AttuneView):
    """Forget cookies and session, and go to the login page."""

    name = "Sign out"
    grants = {"get": PUBLIC}

    @extend_schema(responses={307: None})
    def get(self, request: Request) -> Response:
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            logout(request._request)
        response = Response(status=307, headers={"Location": "/login"})
        response.delete_cookie(ACCESS_COOKIE, path="/", samesite="Lax")
        response.delete_cookie(REFRESH_COOKIE, path="/auth", samesite="Lax")
        return response
