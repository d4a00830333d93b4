"""One's own account: ``/auth/me`` and the password (api.md section 3)."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.client import address_of
from apps.core.api.fields import Body, Text, TextList
from apps.core.api.grants import ANY_TOKEN
from apps.core.api.views import AttuneView
from apps.core.errors import NotFound, Unauthorized
from apps.identity import grants, services
from apps.identity.api.serializers import SuccessSerializer
from apps.identity.grants.held import sets_of_identity

ACCESS_ONLY = frozenset({"access"})


class ProfileBody(Body):
    display_name = Text(max_length=255, required=False, allow_null=True, allow_blank=True)


class ChangePasswordBody(Body):
    current_password = Text()
    new_password = Text(min_length=8, max_length=128)


class EffectivePermissionSerializer(serializers.Serializer):
    resource = serializers.CharField()
    actions = TextList()


class CurrentUserSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    login = serializers.CharField()
    display_name = serializers.CharField(allow_null=True)
    auth_provider = serializers.ChoiceField(["local", "oidc", "ldap"])
    is_local = serializers.BooleanField()
    can_change_password = serializers.BooleanField()
    effective_permissions = EffectivePermissionSerializer(many=True)
    assigned_permission_set_refs = TextList()


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
            "assigned_permission_set_refs": sorted({held.ref for held in sets_of_identity(identity.pk)}),
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
