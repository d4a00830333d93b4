"""Sign-in: ``/auth`` (api.md section 3)."""

from secrets import compare_digest
from typing import Any

from django.conf import settings
from django.contrib.auth import logout
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.client import address_of, is_secure
from apps.core.api.fields import Body, Integer, Text, TextList
from apps.core.api.grants import ANY_TOKEN, PUBLIC
from apps.core.api.views import AttuneView
from apps.core.errors import NotFound, NotImplementedYet, Unauthorized
from apps.identity import grants, sensor_tokens, services
from apps.identity.authentication import ACCESS_COOKIE, REFRESH_COOKIE
from apps.identity.models import Identity

ACCESS_ONLY = frozenset({"access"})
MOST_TRIGGER_TYPES = 1000  # they all travel in the token, in a header of each request


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


class ProfileBody(Body):
    display_name = Text(max_length=255, required=False, allow_null=True, allow_blank=True)


class ChangePasswordBody(Body):
    current_password = Text()
    new_password = Text(min_length=8, max_length=128)


class LdapLoginBody(Body):
    login = Text(max_length=255)
    password = Text(max_length=512)


class SensorTokenBody(Body):
    sensor_ref = Text(max_length=255)
    trigger_types = serializers.ListField(
        child=Text(max_length=255), min_length=1, max_length=MOST_TRIGGER_TYPES, help_text="refs of triggers"
    )
    ttl_seconds = Integer(
        min_value=sensor_tokens.LEAST_SECONDS,
        max_value=sensor_tokens.MOST_SECONDS,
        required=False,
        default=sensor_tokens.DEFAULT_SECONDS,
    )


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


class EffectivePermissionSerializer(serializers.Serializer):
    resource = serializers.CharField()
    actions = TextList()


class SensorTokenSerializer(serializers.Serializer):
    identity_id = serializers.IntegerField()
    sensor_ref = serializers.CharField()
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
    trigger_types = serializers.ListField(child=serializers.CharField())


class CurrentUserSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    login = serializers.CharField()
    display_name = serializers.CharField(allow_null=True)
    auth_provider = serializers.ChoiceField(["local", "oidc", "ldap"])
    is_local = serializers.BooleanField()
    can_change_password = serializers.BooleanField()
    effective_permissions = EffectivePermissionSerializer(many=True)
    assigned_permission_set_refs = TextList()


class SuccessSerializer(serializers.Serializer):
    success = serializers.BooleanField()
    message = serializers.CharField()


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
    """Sign in with the secret of an integration token. There are none yet, so every secret is wrong."""

    name = "Sign in with an integration token"
    grants = {"post": PUBLIC}

    @extend_schema(request=TokenLoginBody, responses=TokenSerializer)
    def post(self, request: Request) -> Response:
        secret = self.validated(TokenLoginBody)["token"]
        identity = services.sign_in_with_token(secret, address=address_of(request._request))
        return envelopes.single(shown_tokens(identity, services.tokens_for(identity), with_user=True))


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
        identity, made = services.refresh(token or "")
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


class MeView(AttuneView):
    """Who one is, and what one may."""

    name = "My account"
    grants = {"get": ANY_TOKEN, "put": ANY_TOKEN}
    token_types = {"put": ACCESS_ONLY}

    def handle_exception(self, exc: Exception) -> Response:
        if self.request.method == "GET" and isinstance(exc, Unauthorized) and exc.message == "Identity not found":
            exc = NotFound(exc.message)  # here alone the identity is what was asked for
        return super().handle_exception(exc)

    @extend_schema(responses=CurrentUserSerializer)
    def get(self, request: Request) -> Response:
        return envelopes.single(self.current_user())

    @extend_schema(request=ProfileBody, responses=CurrentUserSerializer)
    def put(self, request: Request) -> Response:
        body = self.validated(ProfileBody)
        if "display_name" in body:
            services.change_profile(self.caller.identity, display_name=body["display_name"])
        return envelopes.single(self.current_user())

    def current_user(self) -> dict[str, Any]:
        identity = self.caller.identity
        is_local = identity.auth_provider == "local"
        return {
            "id": identity.pk,
            "login": identity.login,
            "display_name": identity.display_name,
            "auth_provider": identity.auth_provider,
            "is_local": is_local,
            "can_change_password": is_local and identity.password_hash is not None,
            "effective_permissions": grants.effective_permissions(self.caller.grants),
            "assigned_permission_set_refs": [held.ref for held in grants.assigned_sets(identity)],
        }


class ChangePasswordView(AttuneView):
    """Choose another password."""

    name = "Change password"
    grants = {"post": ANY_TOKEN}
    token_types = {"post": ACCESS_ONLY}

    @extend_schema(request=ChangePasswordBody, responses=SuccessSerializer)
    def post(self, request: Request) -> Response:
        body = self.validated(ChangePasswordBody)
        services.change_password(
            self.caller.identity,
            current=body["current_password"],
            new=body["new_password"],
            address=address_of(request._request),
        )
        return envelopes.wrapped_done("Password changed successfully")


class SensorTokenView(AttuneView):
    """A token for a sensor; with a sensor's own token a successor of it."""

    name = "Sensor token"
    grants = {"post": ANY_TOKEN}
    token_types = {"post": frozenset({"access", "execution", "sensor"})}

    @extend_schema(request=SensorTokenBody, responses=SensorTokenSerializer)
    def post(self, request: Request) -> Response:
        body = self.validated(SensorTokenBody)
        token = sensor_tokens.issue_for(
            self.caller, body["sensor_ref"], body["trigger_types"], lifetime_seconds=body["ttl_seconds"]
        )
        return envelopes.single(SensorTokenSerializer(token).data)


class InternalSensorTokenView(AttuneView):
    """A token for a sensor, asked for by a supervisor with the internal token of the settings."""

    name = "Sensor token for supervisors"
    grants = {"post": PUBLIC}

    @extend_schema(
        request=SensorTokenBody,
        responses=SensorTokenSerializer,
        parameters=[OpenApiParameter("X-Attune-Internal-Token", str, OpenApiParameter.HEADER, required=True)],
    )
    def post(self, request: Request) -> Response:
        _require_internal_token(request)
        body = self.validated(SensorTokenBody)
        token = sensor_tokens.issue(
            body["sensor_ref"], dict.fromkeys(body["trigger_types"]), lifetime_seconds=body["ttl_seconds"]
        )
        return envelopes.single(SensorTokenSerializer(token).data)


def _require_internal_token(request: Request) -> None:
    """Raise NotFound where none is configured, Unauthorized for another one."""
    if not settings.INTERNAL_TOKEN:
        raise NotFound("No internal token is configured")
    # A header arrives as Latin-1 whatever it was; what cannot be that is wrong anyway.
    given = request.META.get("HTTP_X_ATTUNE_INTERNAL_TOKEN", "").encode("latin-1", errors="replace")
    if not compare_digest(given, settings.INTERNAL_TOKEN.encode()):
        raise Unauthorized("Invalid internal token")


class OidcView(AttuneView):
    """Sign-in by OpenID Connect; not configured."""

    name = "OpenID Connect"
    grants = {"get": PUBLIC}

    @extend_schema(responses={501: None})
    def get(self, request: Request) -> Response:
        raise NotImplementedYet("OpenID Connect is not configured")


class LdapLoginView(AttuneView):
    """Sign-in by LDAP; not configured."""

    name = "LDAP sign-in"
    grants = {"post": PUBLIC}

    @extend_schema(request=LdapLoginBody, responses={501: None})
    def post(self, request: Request) -> Response:
        self.validated(LdapLoginBody)
        raise NotImplementedYet("LDAP is not configured")
