"""Integration tokens of identities (api.md section 20)."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.schema import unpaged
from apps.core.api.views import AttuneView
from apps.core.errors import BadRequest, UnsupportedMediaType
from apps.identity import integration_tokens
from apps.identity.api.lookup import row_with_id
from apps.identity.api.serializers import (
    IntegrationTokenBody,
    IntegrationTokenSerializer,
    NewIntegrationTokenSerializer,
    RevocationBody,
    SuccessSerializer,
)
from apps.identity.models import Identity, IntegrationToken
from apps.identity.visibility import visible_identities


class _OfIdentity(AttuneView):
    """What lies below one identity."""

    def before_denial(self) -> None:
        if self.request.method not in ("GET", "HEAD"):
            self.identity()

    def identity(self) -> Identity:
        """Return the identity that the path names. Raises NotFound."""
        return row_with_id(Identity.objects.all(), self.kwargs["id"], "Identity")

    def own_identity(self) -> Identity:
        """Return the identity that the path names, which the caller may change."""
        identity = self.identity()
        self.authorize(identity)
        return identity

    def token(self) -> IntegrationToken:
        """Return the token that the path names, of an identity that the caller may change."""
        rows = IntegrationToken.objects.filter(identity=self.own_identity())
        return row_with_id(rows, self.kwargs["token_id"], "Integration token")


class IntegrationTokensView(_OfIdentity):
    """The integration tokens of an identity."""

    name = "Integration tokens"
    grants: ClassVar = {"get": "identities:read", "post": "identities:update"}
    holds_secrets = frozenset({"post"})

    @extend_schema(responses=unpaged(IntegrationTokenSerializer))
    def get(self, request: Request, **_path: str) -> Response:
        """List the tokens, newest first; their secrets are kept nowhere."""
        identity = row_with_id(visible_identities(self.caller), self.kwargs["id"], "Identity")
        rows = IntegrationToken.objects.filter(identity=identity).order_by("-created", "-id")
        return envelopes.single(IntegrationTokenSerializer(rows, many=True).data)

    @extend_schema(request=IntegrationTokenBody, responses={201: NewIntegrationTokenSerializer})
    def post(self, request: Request, **_path: str) -> Response:
        """Make a token. The answer shows its secret, this once."""
        identity = self.own_identity()
        made = integration_tokens.create(identity, **self.validated(IntegrationTokenBody), by=self.caller)
        shown = {"token": made.secret, "integration_token": IntegrationTokenSerializer(made.token).data}
        return envelopes.created(shown, "Integration token created successfully")


class IntegrationTokenView(_OfIdentity):
    """One integration token."""

    name = "Integration token"
    grants: ClassVar = {"delete": "identities:update"}

    @extend_schema(responses={200: SuccessSerializer})
    def delete(self, request: Request, **_path: str) -> Response:
        """Delete a token; it signs in no longer."""
        token = self.token()
        integration_tokens.delete(token)
        return envelopes.wrapped_done(f"Integration token '{token.label}' deleted successfully")


class RevocationView(_OfIdentity):
    """The end of an integration token."""

    name = "Revoke an integration token"
    grants: ClassVar = {"post": "identities:update"}

    @extend_schema(request=RevocationBody, responses=IntegrationTokenSerializer)
    def post(self, request: Request, **_path: str) -> Response:
        """Revoke a token: it stays listed and signs in no longer."""
        token = self.token()
        _require_json(request)
        revoked = integration_tokens.revoke(token, reason=self.validated(RevocationBody).get("reason"), by=self.caller)
        return envelopes.single(IntegrationTokenSerializer(revoked).data, "Integration token revoked successfully")


def _require_json(request: Request) -> None:
    """Raise UnsupportedMediaType, BadRequest for no body at all: nothing is revoked by a slip of the hand."""
    if not request.META.get("CONTENT_TYPE"):
        raise UnsupportedMediaType
    if request.META.get("CONTENT_LENGTH") in (None, "", "0"):
        raise BadRequest('The body must be JSON: {} or {"reason": "..."}')
