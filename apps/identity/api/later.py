"""Ways in that are not there yet and say so: OpenID Connect, LDAP, downloads of the agent (auth.md section 14)."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api.fields import Body, Text
from apps.core.api.grants import PUBLIC
from apps.core.api.views import AttuneView
from apps.core.errors import NotImplementedYet


class LdapLoginBody(Body):
    login = Text(max_length=255)
    password = Text(max_length=512)


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


class AgentBinaryView(AttuneView):
    """The agent's program. No token for downloads can be configured yet, so there is none to ask for."""

    name = "Agent download"
    grants = {"get": PUBLIC}

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return _not_there("Agent downloads disabled", "No token for downloads of the agent is configured")


class AgentInfoView(AttuneView):
    """Which programs of the agent there are: none can be configured yet."""

    name = "Agent programs"
    grants = {"get": PUBLIC}

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return _not_there("Not configured", "No folder with programs of the agent is configured")


def _not_there(error: str, message: str) -> Response:
    """Return the body that clients of these two know; it is not the common one (api.md section 24)."""
    return Response({"error": error, "message": message}, status=503)
