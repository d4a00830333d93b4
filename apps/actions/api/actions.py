"""Create, list, search, read, change and delete actions."""

from typing import Any, ClassVar

from django.db.models import F, Q, QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.actions import services
from apps.actions.api.serializers import (
    ActionCreateBody,
    ActionSerializer,
    ActionSummarySerializer,
    ActionUpdateBody,
    FoundActionSerializer,
)
from apps.actions.models import Action
from apps.actions.visibility import executable_by, visible_to
from apps.core.api import contains, query
from apps.core.api.grants import filtered
from apps.core.api.views import AttuneViewSet, CreateMixin, DestroyMixin, ListMixin, RetrieveMixin, UpdateMixin
from apps.core.deletions import delete_once
from apps.core.errors import BadRequest, NotFound
from apps.identity.callers import Caller
from apps.identity.grants import require_delegation
from apps.packs.visibility import visible_to as visible_packs

MOST_WORDS = 50
SEARCHED = ("ref", "label", "description", "pack_ref")
SETS = "default_execution_permission_set_refs"
BEYOND_OWN_ACCESS = "Cannot save an action with permission sets beyond current access"
# Large, and no part of a summary.
_NOT_LISTED = ("param_schema", "out_schema")


def shown_rows(rows: "QuerySet[Action]") -> "QuerySet[Action]":
    """Return the rows with the ref of their runtime, without reading the runtimes themselves."""
    return rows.annotate(runtime_ref=F("runtime__ref"))


def visible_actions(caller: Caller) -> "QuerySet[Action]":
    return shown_rows(visible_to(caller))


class ActionViewSet(ListMixin, RetrieveMixin, CreateMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Action]):
    """Actions: what can be run."""

    queryset = shown_rows(Action.objects.order_by("ref"))
    visible_to = staticmethod(visible_actions)
    noun = "Action"
    serializer_class = ActionSerializer
    serializer_classes: ClassVar = {
        "list": ActionSummarySerializer,
        "create": ActionCreateBody,
        "update": ActionUpdateBody,
    }
    grants: ClassVar = {
        "list": filtered("actions:read"),
        "search": filtered("actions:read"),
        "retrieve": filtered("actions:read"),
        "create": "actions:create",
        "update": "actions:update",
        "destroy": "actions:delete",
    }

    @extend_schema(parameters=[OpenApiParameter("executable_with_current_access", OpenApiTypes.BOOL)])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List actions by ref."""
        return super().list(request, *args, **kwargs)

    def filter_rows(self, rows: "QuerySet[Action]") -> "QuerySet[Action]":
        if query.boolean(self.request.query_params, "executable_with_current_access"):
            rows = shown_rows(executable_by(self.caller))
        return rows.defer(*_NOT_LISTED)

    @extend_schema(
        parameters=[
            OpenApiParameter("q", str, description="words that must all occur in ref, label, description or pack"),
            OpenApiParameter("packs", str, description="refs of packs, separated by commas"),
        ],
        responses=FoundActionSerializer(many=True),
    )
    @route(detail=False)
    def search(self, request: Request) -> Response:
        """Find actions by words."""
        rows = self.rows().defer(*_NOT_LISTED)
        for word in _words(request):
            rows = rows.filter(_occurs(word))
        refs = query.names(request.query_params, "packs")
        if refs:
            _check_packs(self.caller, refs)
            rows = rows.filter(pack_ref__in=refs)
        return self.listed(rows, FoundActionSerializer)

    def perform_create(self, data: dict[str, Any]) -> Action:
        require_delegation(self.caller, data.get(SETS), BEYOND_OWN_ACCESS)
        return self._reread(services.create_action(**data))

    def perform_update(self, row: Action, data: dict[str, Any]) -> Action:
        if SETS in data and data[SETS] != getattr(row, SETS):
            require_delegation(self.caller, data[SETS], BEYOND_OWN_ACCESS)
        return self._reread(services.update_action(row.pk, data))

    def perform_destroy(self, row: Action) -> None:
        delete_once(row)

    def _reread(self, row: Action) -> Action:
        return shown_rows(Action.objects.all()).get(pk=row.pk)


class PackActionsViewSet(AttuneViewSet[Action]):
    """The actions of one pack."""

    queryset = Action.objects.order_by("ref")
    visible_to = staticmethod(visible_actions)
    grants: ClassVar = {"list": filtered("actions:read")}

    @extend_schema(responses=ActionSummarySerializer(many=True))
    def list(self, request: Request, ref: str) -> Response:
        """List the actions of a pack by ref."""
        rows = self.rows().filter(pack_ref=ref).defer(*_NOT_LISTED)
        if not visible_packs(self.caller).filter(ref=ref).exists() and not rows.exists():
            raise NotFound(f"Pack '{ref}' not found")
        return self.listed(rows, ActionSummarySerializer)


def _words(request: Request) -> "set[str]":
    """Return the different words of ``q``. Raises BadRequest for more than a query can be made of."""
    words = set((query.fragment(request.query_params, "q") or "").split())
    if len(words) > MOST_WORDS:
        raise BadRequest(f"Query parameter 'q' takes at most {MOST_WORDS} words")
    return words


def _occurs(word: str) -> Q:
    condition = Q()
    for field in SEARCHED:
        condition |= contains.in_any_case(field, word)
    return condition


def _check_packs(caller: Caller, refs: "list[str]") -> None:
    known = set(visible_packs(caller).filter(ref__in=refs).values_list("ref", flat=True))
    # A pack one may not read can hold actions one may: then it is no secret that it exists.
    known |= set(visible_to(caller).filter(pack_ref__in=refs).values_list("pack_ref", flat=True))
    for ref in refs:
        if ref not in known:
            raise NotFound(f"Pack '{ref}' not found")
