"""List, create, read, change and delete policies (api.md section 6)."""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.actions.models import Policy, PolicyMethod, PolicyScope
from apps.actions.policies import services
from apps.actions.policies.access import Scope, require_update, scope_of, visible_to
from apps.actions.policies.rules import MOST_PARAMETERS
from apps.core.api import query
from apps.core.api.fields import Body, Boolean, Integer, Patch, Text, TextList
from apps.core.api.grants import Mode, by_object, filtered
from apps.core.api.views import AttuneViewSet, CreateMixin, DestroyMixin, ListMixin, RetrieveMixin, UpdateMixin
from apps.core.refs import validate_policy_ref

_SHARED = ~Q(action_refs=[]) | Q(semaphore__isnull=False)
_OF_SCOPE = {
    PolicyScope.ACTION: ~_SHARED & Q(action_ref__isnull=False),
    PolicyScope.PACK: ~_SHARED & Q(action_ref=None, pack_ref__isnull=False),
    PolicyScope.GLOBAL: ~_SHARED & Q(action_ref=None, pack_ref=None),
    PolicyScope.SHARED: _SHARED,
}


class PolicySerializer(serializers.ModelSerializer):
    pack = serializers.IntegerField(source="pack_id", allow_null=True, read_only=True)
    action = serializers.IntegerField(source="action_id", allow_null=True, read_only=True)
    scope = serializers.ChoiceField(choices=PolicyScope.choices, read_only=True)
    parameters = TextList(read_only=True)
    tags = TextList(read_only=True)
    action_refs = TextList(read_only=True)

    class Meta:
        model = Policy
        fields = (
            "id", "ref", "name", "description", "pack", "pack_ref", "action", "action_ref", "scope", "parameters",
            "method", "threshold", "max_executions", "window_seconds", "enabled", "tags", "created", "updated",
            "max_waiting", "action_refs", "semaphore",
        )  # fmt: skip


def _limit(most: int = 2**31 - 1) -> Integer:
    return Integer(min_value=1, max_value=most, required=False)


def _window() -> Integer:
    return _limit(2_592_000)


class _PolicyBody(Body):
    parameters = TextList(required=False, max_length=MOST_PARAMETERS)
    method = serializers.ChoiceField(choices=PolicyMethod.choices, required=False)
    enabled = Boolean(required=False)
    tags = TextList(required=False)
    action_refs = TextList(required=False)


class PolicyCreateBody(_PolicyBody):
    ref = Text(max_length=255, validators=[validate_policy_ref])
    name = Text(max_length=255)
    description = Text(required=False, allow_blank=True)
    action_ref = Text(max_length=255, required=False)
    pack_ref = Text(max_length=255, required=False)
    semaphore = Text(max_length=255, required=False)
    threshold = _limit()
    max_executions = _limit()
    window_seconds = _window()
    max_waiting = _limit()


class PolicyUpdateBody(_PolicyBody):
    name = Text(max_length=255, required=False)
    description = Patch(Text(allow_blank=True))
    threshold = Patch(_limit())
    max_executions = Patch(_limit())
    window_seconds = Patch(_window())
    max_waiting = Patch(_limit())


class PolicyViewSet(ListMixin, RetrieveMixin, CreateMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Policy]):
    """Policies: limits on how executions start."""

    queryset = Policy.objects.order_by("ref")
    visible_to = staticmethod(visible_to)
    noun = "Policy"
    serializer_class = PolicySerializer
    serializer_classes: ClassVar = {"create": PolicyCreateBody, "update": PolicyUpdateBody}
    grants: ClassVar = {
        "list": filtered("actions:read"),
        "retrieve": filtered("actions:read"),
        "create": by_object("actions:update"),
        "update": by_object("actions:update"),
        "destroy": by_object("actions:update"),
    }

    @extend_schema(
        parameters=[
            OpenApiParameter("action_ref", str),
            OpenApiParameter("pack_ref", str),
            OpenApiParameter("scope", str, enum=PolicyScope.values),
            OpenApiParameter("enabled", OpenApiTypes.BOOL),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List policies by ref."""
        return super().list(request, *args, **kwargs)

    def filter_rows(self, rows: "QuerySet[Policy]") -> "QuerySet[Policy]":
        given = self.request.query_params
        rows = rows.filter(query.ref_filter("action_ref", query.text(given, "action_ref")))
        rows = rows.filter(query.ref_filter("pack_ref", query.text(given, "pack_ref")))
        if (scope := query.choice(given, "scope", PolicyScope.values)) is not None:
            rows = rows.filter(_OF_SCOPE[PolicyScope(scope)])
        if (enabled := query.boolean(given, "enabled")) is not None:
            rows = rows.filter(enabled=enabled)
        return rows

    def get_object(self) -> Policy:
        """Return the policy; what changes it takes the grant on all that it limits."""
        policy = super().get_object()
        if self.mode is Mode.BY_OBJECT:
            require_update(self.caller, scope_of(policy))
        return policy

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Create a policy."""
        self.authorize()  # whoever may change nothing is told that and no more
        return super().create(request, *args, **kwargs)

    def perform_create(self, data: dict[str, Any]) -> Policy:
        scope = Scope(
            action_ref=data.pop("action_ref", None),
            pack_ref=data.pop("pack_ref", None),
            action_refs=tuple(data.pop("action_refs", ())),
            semaphore=data.pop("semaphore", None),
        )
        services.scope_columns(scope)  # an action that is not there is told before rights on it
        require_update(self.caller, scope)
        return services.create_policy(scope=scope, **data)

    def perform_update(self, row: Policy, data: dict[str, Any]) -> Policy:
        if data.get("action_refs"):
            require_update(self.caller, Scope(action_refs=tuple(data["action_refs"])))
        return services.update_policy(row.pk, data)

    def perform_destroy(self, row: Policy) -> None:
        services.delete_policy(row.pk)
