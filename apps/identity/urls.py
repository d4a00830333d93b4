"""Routes of signing in, which have no version prefix, of identities and their rights, and of the audit trail."""

from django.urls import path

from apps.core.api.routers import Router
from apps.identity.api import account, explain, integration_tokens, later, permissions, sensor_tokens, sign_in
from apps.identity.api.identities import IdentityRoleView, IdentityViewSet
from apps.identity.audit.api import AuditEventViewSet

router = Router()
router.register("api/v1/identities", IdentityViewSet, basename="identity")
router.register("api/v1/permissions/sets", permissions.PermissionSetViewSet, basename="permission-set")

_AUDIT = "api/v1/audit-events"
_TOKENS = "api/v1/identities/<str:id>/integration-tokens"

urlpatterns = [
    path("auth/settings", sign_in.SettingsView.as_view()),
    path("auth/login", sign_in.LoginView.as_view()),
    path("auth/token-login", sign_in.TokenLoginView.as_view()),
    path("auth/register", sign_in.RegisterView.as_view()),
    path("auth/refresh", sign_in.RefreshView.as_view()),
    path("auth/logout", sign_in.LogoutView.as_view()),
    path("auth/me", account.MeView.as_view()),
    path("auth/change-password", account.ChangePasswordView.as_view()),
    path("auth/sensor-token", sensor_tokens.SensorTokenView.as_view()),
    path("auth/internal/sensor-token", sensor_tokens.InternalSensorTokenView.as_view()),
    path("auth/oidc/login", later.OidcView.as_view()),
    path("auth/callback", later.OidcView.as_view()),
    path("auth/ldap/login", later.LdapLoginView.as_view()),
    path("api/v1/agent/binary", later.AgentBinaryView.as_view()),
    path("api/v1/agent/info", later.AgentInfoView.as_view()),
    # Fixed words ahead of the ids in their place.
    path("api/v1/identities/roles/<str:id>", IdentityRoleView.as_view()),
    path("api/v1/permissions/sets/roles/<str:id>", permissions.SetRoleView.as_view()),
    path("api/v1/permissions/explain", explain.ExplainView.as_view()),
    path("api/v1/permissions/assignments", permissions.AssignmentsView.as_view()),
    path("api/v1/permissions/assignments/<str:id>", permissions.AssignmentView.as_view()),
    path(_TOKENS, integration_tokens.IntegrationTokensView.as_view()),
    path(f"{_TOKENS}/<str:token_id>", integration_tokens.IntegrationTokenView.as_view()),
    path(f"{_TOKENS}/<str:token_id>/revoke", integration_tokens.RevocationView.as_view()),
    path(_AUDIT, AuditEventViewSet.as_view({"get": "list"})),
    path(f"{_AUDIT}/by-request/<str:request_id>", AuditEventViewSet.as_view({"get": "by_request"})),
    path(f"{_AUDIT}/<str:id>", AuditEventViewSet.as_view({"get": "retrieve"})),
    *router.urls,
]
