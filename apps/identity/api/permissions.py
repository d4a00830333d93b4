"""Permission sets, what roles give, and assignments (api.md section 20)."""

from typing import ClassVar

from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.schema import bare_list
from apps.core.api.views import AttuneView, AttuneViewSet
from apps.core.collisions import despite_others
from apps.core.errors import BadRequest, NotFound
from apps.identity import rights
from apps.identity.api.lookup import ReadsRefused, row_with_id
from apps.identity.api.serializers import (
    AssignmentBody,
    AssignmentSerializer,
    PermissionSetSerializer,
    PermissionSetUpdateBody,
    RoleBody,
    SetRoleSerializer,
    SuccessSerializer,
    is_possible_id,
)
from apps.identity.callers import Caller
from apps.identity.models import Identity, PermissionAssignment, PermissionSet, PermissionSetRoleAssignment
from apps.identity.visibility import visible_sets


def _with_roles(rows: "QuerySet[PermissionSet]") -> "QuerySet[PermissionSet]":
    roles = PermissionSetRoleAssignment.objects.select_related("permset").order_by("created", "id")
    return rows.prefetch_related(Prefetch("roles", queryset=roles))


def visible_with_roles(caller: Caller) -> "QuerySet[PermissionSet]":
    return _with_roles(visible_sets(caller))


class PermissionSetViewSet(ReadsRefused, AttuneViewSet[PermissionSet]):
    """Permission sets: named lists of grants."""

    queryset = _with_roles(PermissionSet.objects.order_by("ref"))
    visible_to = staticmethod(visible_with_roles)
    lookup_field = "pk"
    noun = "Permission set"
    serializer_class = PermissionSetSerializer
    grants: ClassVar = {
        "list": "permissions:read",
        "update": "permissions:manage",
        "destroy": "permissions:manage",
        "roles": "permissions:manage",
    }

    @extend_schema(parameters=[OpenApiParameter("pack_ref", str)], responses=bare_list(PermissionSetSerializer))
    def list(self, request: Request) -> Response:
        """List all permission sets by ref."""
        rows = self.rows()
        if (pack_ref := query.text(request.query_params, "pack_ref")) is not None:
            rows = rows.filter(query.ref_filter("pack_ref", pack_ref))
        return Response(PermissionSetSerializer(rows, many=True).data)

    @extend_schema(request=PermissionSetUpdateBody, responses=PermissionSetSerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Replace the grants; label and description where they are named."""
        permset = self.get_object()
        changed = rights.update_set(permset, self.validated(PermissionSetUpdateBody))
        return envelopes.single(self.shown(changed), "Permission set updated successfully")

    @extend_schema(responses={200: SuccessSerializer})
    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a set; whoever holds it loses it."""
        ref = despite_others(self._delete_found)
        return envelopes.wrapped_done(f"Permission set '{ref}' deleted successfully")

    def _delete_found(self) -> str:
        permset = self.get_object()
        rights.delete_set(permset)
        return permset.ref

    @extend_schema(request=RoleBody, responses={201: SetRoleSerializer})
    @route(detail=True, methods=["post"])
    def roles(self, request: Request, pk: str) -> Response:
        """Let a role give the set."""
        given = rights.give_set_to_role(self.get_object(), self.validated(RoleBody)["role"])
        return envelopes.created(SetRoleSerializer(given).data, f"Role '{given.role}' assigned successfully")


class SetRoleView(AttuneView):
    """A role that gives a permission set."""

    name = "Role of a permission set"
    grants: ClassVar = {"delete": "permissions:manage"}

    def before_denial(self) -> None:
        self.found()

    @extend_schema(responses={200: SuccessSerializer})
    def delete(self, request: Request, **_path: str) -> Response:
        """Take the set from the role, and so from everybody who holds it by the role."""
        given = self.found()
        self.authorize(given.permset)
        rights.take_set_from_role(given)
        return envelopes.wrapped_done(f"Role '{given.role}' removed successfully")

    def found(self) -> PermissionSetRoleAssignment:
        rows = PermissionSetRoleAssignment.objects.select_related("permset")
        return row_with_id(rows, self.kwargs["id"], "Role assignment")


class AssignmentsView(AttuneView):
    """Give permission sets to identities."""

    name = "Assignments"
    grants: ClassVar = {"post": "permissions:manage"}

    @extend_schema(request=AssignmentBody, responses={201: AssignmentSerializer})
    def post(self, request: Request) -> Response:
        """Let an identity, named by its id or its login, hold a permission set."""
        body = self.validated(AssignmentBody)
        identity = _named(body)
        permset = PermissionSet.objects.filter(ref=body["permission_set_ref"]).first()
        if permset is None:
            raise NotFound(f"Permission set '{body['permission_set_ref']}' not found")
        self.authorize(permset)
        held = rights.assign(permset, identity)
        return envelopes.created(
            AssignmentSerializer(held).data, f"Permission set '{permset.ref}' assigned successfully"
        )


def _named(body: dict[str, object]) -> Identity:
    """Return the identity that a body names. Raises BadRequest unless it does so in one way, NotFound."""
    number, login = body.get("identity_id"), body.get("identity_login")
    if (number is None) == (login is None):
        raise BadRequest("Name the identity by exactly one of identity_id and identity_login")
    if isinstance(number, int):
        found = Identity.objects.filter(pk=number).first() if is_possible_id(number) else None
        name = f"with ID {number}"
    else:
        found, name = Identity.objects.filter(login=str(login)).first(), f"'{login}'"
    if found is None:
        raise NotFound(f"Identity {name} not found")
    return found


class AssignmentView(AttuneView):
    """A permission set that an identity holds directly."""

    name = "Assignment"
    grants: ClassVar = {"delete": "permissions:manage"}

    def before_denial(self) -> None:
        self.found()

    @extend_schema(responses={200: SuccessSerializer})
    def delete(self, request: Request, **_path: str) -> Response:
        """Take the set away."""
        held = self.found()
        self.authorize(held.permset)
        rights.withdraw(held)
        return envelopes.wrapped_done(f"Permission set '{held.permset.ref}' removed successfully")

    def found(self) -> PermissionAssignment:
        rows = PermissionAssignment.objects.select_related("permset")
        return row_with_id(rows, self.kwargs["id"], "Assignment")
