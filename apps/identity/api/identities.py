"""Identities: list, create, read, change, freeze, delete, and their roles (api.md section 20)."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes
from apps.core.api.schema import bare_list
from apps.core.api.views import AttuneView, AttuneViewSet, CreateMixin, ListMixin, RetrieveMixin
from apps.core.collisions import despite_others
from apps.identity import rights, services
from apps.identity.api.lookup import ReadsRefused, row_with_id
from apps.identity.api.serializers import (
    AssignmentSerializer,
    IdentityCreateBody,
    IdentitySerializer,
    IdentitySummarySerializer,
    IdentityUpdateBody,
    RoleAssignmentSerializer,
    RoleBody,
    SuccessSerializer,
)
from apps.identity.callers import Caller
from apps.identity.grants import Facts
from apps.identity.models import Identity, IdentityRoleAssignment, PermissionAssignment
from apps.identity.visibility import visible_assignments, visible_identities

# What answers do not show; an identity may have a lot of it.
_NOT_SHOWN = ("password_hash", "external_id")


def _with_rights(rows: "QuerySet[Identity]") -> "QuerySet[Identity]":
    roles = IdentityRoleAssignment.objects.order_by("created", "id")
    return rows.defer(*_NOT_SHOWN).prefetch_related(Prefetch("roles", queryset=roles))


def visible_with_rights(caller: Caller) -> "QuerySet[Identity]":
    return _with_rights(visible_identities(caller))


class IdentityViewSet(ReadsRefused, ListMixin, RetrieveMixin, CreateMixin, AttuneViewSet[Identity]):
    """Identities: who signs in, people and programs."""

    queryset = Identity.objects.order_by("login")
    visible_to = staticmethod(visible_with_rights)
    lookup_field = "pk"
    noun = "Identity"
    serializer_class = IdentitySerializer
    serializer_classes: ClassVar = {
        "list": IdentitySummarySerializer,
        "create": IdentityCreateBody,
        "update": IdentityUpdateBody,
    }
    grants: ClassVar = {
        "list": "identities:read",
        "retrieve": "identities:read",
        "create": "identities:create",
        "update": "identities:update",
        "destroy": "identities:delete",
        "freeze": "identities:update",
        "unfreeze": "identities:update",
        "permissions": "permissions:read",
        "roles": "permissions:manage",
    }
    holds_secrets = frozenset({"create"})

    def rows(self) -> "QuerySet[Identity]":
        rows = super().rows()
        if self.operation != "retrieve":
            return rows
        held = PermissionAssignment.objects.select_related("permset").order_by("created", "id")
        return rows.prefetch_related(Prefetch("assignments", queryset=held))

    def facts_of_new(self, data: Mapping[str, Any]) -> Facts:
        return Facts(ref=data["login"])

    def perform_create(self, data: dict[str, Any]) -> Identity:
        return services.create_identity(**data)

    @extend_schema(request=IdentityUpdateBody, responses=IdentitySerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Change name, password, attributes, or whether it is frozen. The answer names no rights."""
        identity = self.get_object()
        changed = services.update_identity(identity, self.validated(IdentityUpdateBody, partial=True), by=self.caller)
        told = {**IdentitySummarySerializer().to_representation(changed), "roles": [], "direct_permissions": []}
        return envelopes.single(told, "Identity updated successfully")

    @extend_schema(responses={200: SuccessSerializer})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete an identity with its rights and tokens; refused while a key belongs to it."""
        login = despite_others(self._delete_found)
        return envelopes.wrapped_done(f"Identity '{login}' deleted successfully")

    def _delete_found(self) -> str:
        identity = self.get_object()
        services.delete_identity(identity, by=self.caller)
        return identity.login

    @extend_schema(request=None, responses=SuccessSerializer)
    @route(detail=True, methods=["post"])
    def freeze(self, request: Request, pk: str) -> Response:
        """Take the access away; what runs for it goes on."""
        identity = self.get_object()
        rights.freeze(identity, by=self.caller)
        return envelopes.wrapped_done(f"Identity '{identity.login}' is frozen")

    @extend_schema(request=None, responses=SuccessSerializer)
    @route(detail=True, methods=["post"])
    def unfreeze(self, request: Request, pk: str) -> Response:
        """Give the access back."""
        identity = self.get_object()
        rights.unfreeze(identity)
        return envelopes.wrapped_done(f"Identity '{identity.login}' is no longer frozen")

    @extend_schema(responses=bare_list(AssignmentSerializer))
    @route(detail=True)
    def permissions(self, request: Request, pk: str) -> Response:
        """List the permission sets that were assigned to it directly."""
        identity = row_with_id(Identity.objects.all(), pk, self.noun)
        rows = visible_assignments(self.caller).filter(identity=identity)
        return Response(AssignmentSerializer(rows, many=True).data)

    @extend_schema(request=RoleBody, responses={201: RoleAssignmentSerializer})
    @route(detail=True, methods=["post"])
    def roles(self, request: Request, pk: str) -> Response:
        """Give it a role."""
        identity = row_with_id(Identity.objects.all(), pk, self.noun)
        self.authorize(Facts())  # a role may give any set, today or later
        held = rights.give_role(identity, self.validated(RoleBody)["role"])
        return envelopes.created(RoleAssignmentSerializer(held).data, f"Role '{held.role}' assigned successfully")


class IdentityRoleView(AttuneView):
    """A role that an identity has."""

    name = "Role of an identity"
    grants: ClassVar = {"delete": "permissions:manage"}

    def before_denial(self) -> None:
        self.found()

    @extend_schema(responses={200: SuccessSerializer})
    def delete(self, request: Request, **_path: str) -> Response:
        """Take the role away."""
        held = self.found()
        self.authorize(Facts())
        rights.take_role(held)
        return envelopes.wrapped_done(f"Role '{held.role}' removed successfully")

    def found(self) -> IdentityRoleAssignment:
        return row_with_id(IdentityRoleAssignment.objects.all(), self.kwargs["id"], "Role assignment")
