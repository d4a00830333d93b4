"""Why somebody may do something, or what is missing (api.md section 20)."""

from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import ANY_TOKEN
from apps.core.api.views import AttuneView
from apps.core.errors import BadRequest, NotFound
from apps.identity.callers import Caller
from apps.identity.grants.explaining import explain
from apps.identity.models import Identity


class GrantReasonSerializer(serializers.Serializer):
    permission_set = serializers.CharField(allow_null=True)
    role = serializers.CharField(allow_null=True, help_text="null: the set is assigned directly")
    constraint = serializers.CharField(allow_null=True)
    message = serializers.CharField()


class ExplanationSerializer(serializers.Serializer):
    allowed = serializers.BooleanField()
    because = GrantReasonSerializer(many=True)


class ExplainView(AttuneView):
    """Whether an action is allowed, and which permission set, role and constraint decide."""

    name = "Explain a permission"
    grants: ClassVar = {"get": ANY_TOKEN}

    @extend_schema(
        parameters=[
            OpenApiParameter("resource", str, required=True),
            OpenApiParameter("action", str, required=True),
            OpenApiParameter("ref", str, description="the object; of executions, events and enforcements the id"),
            OpenApiParameter("identity", str, description="id or login of somebody else: takes permissions:read"),
        ],
        responses=ExplanationSerializer,
    )
    def get(self, request: Request) -> Response:
        """Explain what the caller, or another identity, may do."""
        params = request.query_params
        resource, action = query.text(params, "resource"), query.text(params, "action")
        if resource is None or action is None:
            raise BadRequest("Query parameters 'resource' and 'action' are needed")
        whom = self._whom(query.text(params, "identity"))
        told = explain(whom, resource, action, query.text(params, "ref"), asker=self.caller)
        return envelopes.single(ExplanationSerializer(told).data)

    def _whom(self, name: str | None) -> Caller:
        """Return who is asked about. Raises Forbidden ahead of NotFound: who there is, is not for everybody."""
        own = self.caller.holder
        if name is None or (
            self.caller.token_type == "access" and own is not None and name in (own.login, str(own.pk))
        ):
            return self.caller
        self.caller.require("permissions:read")
        identity = Identity.objects.named(name)
        if identity is None:
            raise NotFound(f"Identity '{name[:200]}' not found")
        return Caller(holder=identity, token_type="access", login=identity.login)
