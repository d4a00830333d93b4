"""Routes of signing in; they have no version prefix."""

from django.urls import path

from apps.identity import api

urlpatterns = [
    path("auth/settings", api.SettingsView.as_view()),
    path("auth/login", api.LoginView.as_view()),
    path("auth/token-login", api.TokenLoginView.as_view()),
    path("auth/register", api.RegisterView.as_view()),
    path("auth/refresh", api.RefreshView.as_view()),
    path("auth/me", api.MeView.as_view()),
    path("auth/change-password", api.ChangePasswordView.as_view()),
    path("auth/logout", api.LogoutView.as_view()),
    path("auth/sensor-token", api.SensorTokenView.as_view()),
    path("auth/internal/sensor-token", api.InternalSensorTokenView.as_view()),
    path("auth/oidc/login", api.OidcView.as_view()),
    path("auth/callback", api.OidcView.as_view()),
    path("auth/ldap/login", api.LdapLoginView.as_view()),
]
