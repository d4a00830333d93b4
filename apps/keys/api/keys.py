"""Create, list, read, change and delete keys (api.md section 16)."""

from typing import Any, ClassVar

from django.db import transaction
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import by_object, filtered
from apps.core.api.pagination import KeyPagination
from apps.core.api.views import AttuneViewSet
from apps.keys import services
from apps.keys.api.serializers import (
    KeyCreateBody,
    KeySerializer,
    KeySummarySerializer,
    KeyUpdateBody,
    shown_key,
)
from apps.keys.models import Key, OwnerType
from apps.keys.owners import Owner
from apps.keys.visibility import WITH_SENSORS, may, require, require_update, visible_to

# Of the body of a creation: what says who owns the key.
_OWNER = frozenset(Owner.__dataclass_fields__)


class KeyViewSet(AttuneViewSet[Key]):
    """Keys: stored values and secrets."""

    queryset = Key.objects.none()  # names the model; ``rows`` says which
    visible_to = staticmethod(visible_to)
    noun = "Key"
    serializer_class = KeySerializer
    serializer_classes: ClassVar = {"list": KeySummarySerializer, "create": KeyCreateBody, "update": KeyUpdateBody}
    pagination_class = KeyPagination
    holds_secrets = frozenset({"create"})
    grants: ClassVar = {
        "list": by_object("keys:read"),
        "retrieve": filtered("keys:read"),
        "create": by_object("keys:create"),
        "update": by_object("keys:update"),
        "destroy": by_object("keys:delete"),
    }
    token_types: ClassVar = dict.fromkeys(grants, WITH_SENSORS)

    def get_queryset(self) -> "QuerySet[Key]":
        return services.live_keys().select_related("owner_identity")

    @extend_schema(
        parameters=[
            OpenApiParameter("owner_type", str, enum=OwnerType.values),
            OpenApiParameter("owner", str, description="the owner's id or ref"),
        ]
    )
    def list(self, request: Request) -> Response:
        """List the readable keys by ref, without their values."""
        require(self.caller, "read")
        rows = self.rows().select_related(None).defer("value").filter(_asked_for(request))
        return self.listed(rows)

    def retrieve(self, request: Request, ref: str) -> Response:
        """Read a key; the value of an encrypted one takes keys:decrypt, and is null without it."""
        key = self.get_object()
        return envelopes.single(shown_key(key, self._readable_value(key)))

    @extend_schema(responses={201: KeySerializer})
    def create(self, request: Request) -> Response:
        """Create a key."""
        require(self.caller, "create")
        data = self.validated(KeyCreateBody)
        owner = Owner(**{name: data.pop(name) for name in _OWNER & data.keys()})
        key = services.new_key(owner=owner, **data)
        require(self.caller, "create", key)
        return envelopes.created(shown_key(services.store(key), data["value"]), "Key created successfully")

    def update(self, request: Request, ref: str) -> Response:
        """Change a key; a new value is encrypted when the key is, or is to be."""
        found = self.get_object()
        require(self.caller, "update", found)
        data = self.validated(KeyUpdateBody, partial=True)
        with transaction.atomic():
            key = services.locked(found.pk)  # checked as it is, not as it was when it was found
            require_update(self.caller, key, data)
            key = services.update_key(key, **data)
            value = data["value"] if "value" in data else self._readable_value(key)
        return envelopes.single(shown_key(key, value), "Key updated successfully")

    def destroy(self, request: Request, ref: str) -> Response:
        """Delete a key."""
        key = self.get_object()
        require(self.caller, "delete", key)
        services.delete_key(key)
        return envelopes.done(f"Key '{key.ref}' deleted successfully")

    def _readable_value(self, key: Key) -> Any:
        return services.read_value(key, decrypt=key.encrypted and may(self.caller, "decrypt", key))


def _asked_for(request: Request) -> Q:
    """Return the condition that the query parameters make."""
    condition = Q()
    if owner_type := query.choice(request.query_params, "owner_type", OwnerType.values):
        condition &= Q(owner_type=owner_type)
    if owner := query.text(request.query_params, "owner"):
        by_ref = Q(owner_pack_ref=owner) | Q(owner_action_ref=owner) | Q(owner_sensor_ref=owner)
        condition &= Q(owner=owner) | by_ref | Q(owner_identity__login=owner)
    return condition
