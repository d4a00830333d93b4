"""
Base views. A ViewSet states what exists by composing mixins; what is not offered is not there::

    class ActionViewSet(ListMixin, RetrieveMixin, CreateMixin, UpdateMixin, DestroyMixin, AttuneViewSet[Action]):
        queryset = Action.objects.select_related("runtime").order_by("ref")
        visible_to = staticmethod(visibility.visible_to)        # Caller -> QuerySet, for reads
        lookup_field = "ref"
        noun = "Action"
        serializer_class = ActionSerializer                     # what answers look like
        serializer_classes = {"list": ActionSummarySerializer, "create": ActionCreate, "update": ActionUpdate}
        grants = {"list": filtered("actions:read"), "retrieve": filtered("actions:read"),
                  "create": "actions:create", "update": "actions:update", "destroy": "actions:delete"}

        def filter_rows(self, rows): ...                        # query parameters -> filters, for lists
        def perform_create(self, data): return services.create_action(..., by=self.caller.identity)
        def perform_update(self, row, data): return services.update_action(row.pk, data)
        def perform_destroy(self, row): services.delete_action(row)

Verbs are POST sub-resources: ``@route(detail=True, methods=["post"])`` on a method, classified in ``grants`` by the
method's name. Errors are raised (``apps.core.errors``), never returned. Every POST takes an ``Idempotency-Key``.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from apps.core import consequences
from apps.core.api import envelopes, idempotency, query
from apps.core.api.grants import Classification, Mode, classified
from apps.core.api.pagination import PagePagination
from apps.core.api.renderers import BrowsableRenderer
from apps.core.collisions import despite_others
from apps.core.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from apps.identity.callers import Caller  # the layer above; here it is only a name for the checker

# Of the pages for browsers: scripts and styles from our own files, no script in the page.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

Row = TypeVar("Row", bound=Model)


_serializers: dict[tuple[type, bool], serializers.BaseSerializer] = {}


def shared(serializer_class: type[serializers.BaseSerializer], *, partial: bool = False) -> Any:
    """
    Return the one serializer of this class; it holds neither data nor context, so all threads may use it.

    Building the fields of a serializer costs more than reading a body or showing a row with them.
    """
    found = _serializers.get((serializer_class, partial))
    if found is None:
        found = _serializers[serializer_class, partial] = serializer_class(partial=partial)
    return found


class AttuneView(APIView):
    """A view with classified methods; ``grants`` is keyed by method in lower case, or by action in a ViewSet."""

    grants: ClassVar[Mapping[str, str | Classification]] = {}
    # Which kinds of token an action admits; access and execution tokens where nothing is said.
    token_types: ClassVar[Mapping[str, frozenset[str]]] = {}
    # Whether the view itself looks after Idempotency-Key (the caller names keys in other places too).
    keeps_own_answers: ClassVar[bool] = False
    # Operations whose body or answer holds a secret: what Idempotency-Key keeps of them is encrypted.
    holds_secrets: ClassVar[frozenset[str]] = frozenset()

    request: Request

    @property
    def operation(self) -> str:
        """The key into ``grants``: the ViewSet's action, else the method."""
        method = (self.request.method or "").lower()
        actions: Mapping[str, str] | None = getattr(self, "action_map", None)
        if actions is not None:
            return actions.get(method, method)
        return "get" if method == "head" else method

    @property
    def caller(self) -> "Caller":
        """Who asks; only behind the gate."""
        caller: Caller = self.request.auth  # type: ignore[assignment]  # set by our authentication only
        return caller

    def classification(self) -> Classification | None:
        """Return what the present operation needs; None for a method that the view does not have."""
        found = self.grants.get(self.operation)
        return None if found is None else classified(found)

    def get_authenticators(self) -> list[Any]:
        """A public operation looks at no token: a stale cookie must not keep anybody from signing in."""
        # The document's generator asks without a request.
        classification = self.classification() if getattr(self, "request", None) is not None else None
        if classification is not None and classification.mode is Mode.PUBLIC:
            return []
        return super().get_authenticators()

    @property
    def mode(self) -> Mode | None:
        """How the present operation is decided; None for a method that the view does not have."""
        classification = self.classification()
        return None if classification is None else classification.mode

    def authorize(self, row: Any = None) -> None:
        """Raise Forbidden unless the caller may do the present operation on the row."""
        self.caller.require(self.needed(), row)

    def needed(self) -> str:
        """Return the ``resource:action`` that the present operation takes."""
        classification = self.classification()
        assert classification is not None, f"{type(self).__name__}.{self.operation} is not classified"
        return classification.grant

    def facts_of_new(self, data: Mapping[str, Any]) -> Any:
        """Return what a check looks at of an object that does not exist yet: the values of the request."""
        return {name: data.get(name) for name in ("ref", "pack_ref")}

    def authorize_new(self, data: Mapping[str, Any]) -> None:
        """Raise Forbidden unless the caller may make such an object; what comes ahead of that is raised first."""
        facts = self.facts_of_new(data)
        if self.mode is Mode.REQUIRED and not self.caller.may_create(self.needed(), facts):
            self.before_denial()
            self.authorize(facts)

    def authorize_changed(self, row: Any, data: Mapping[str, Any]) -> None:
        """Raise Forbidden unless the caller may have the row with these values, too."""
        if self.mode is Mode.REQUIRED:
            self.caller.require_changed(self.needed(), row, data)

    def before_denial(self) -> None:
        """
        Raise what comes ahead of "403, no grant": 404 for an absent object, the 409 of a pack that exists.

        Called only when the caller lacks the grant.
        """

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("The character U+0000 is not allowed")
        if request.method != "POST" or self.keeps_own_answers or not request.path.startswith("/api/"):
            return
        if key := idempotency.key_of(request):
            # DRF looks the handler up on the instance right after this.
            self.post = idempotency.guarded(self, self.post, key)  # type: ignore[has-type]

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        answer: Response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(getattr(answer, "accepted_renderer", None), BrowsableRenderer):
            answer.headers["Content-Security-Policy"] = PAGE_POLICY
        return answer

    def validated(self, serializer_class: type[serializers.BaseSerializer], *, partial: bool = False) -> Any:
        """Return the checked body. Raises the 422 of what is missing or wrong. The serializer has no context."""
        return shared(serializer_class, partial=partial).run_validation(self.request.data)

    def get_serializer_context(self) -> dict[str, Any]:
        return {"request": self.request, "format": self.format_kwarg, "view": self}


class AttuneViewSet(AttuneView, GenericViewSet, Generic[Row]):
    """A ViewSet over one model; see the module's text."""

    queryset: "QuerySet[Row]"
    # One rule per model for list, get, search, statistics and export.
    visible_to: ClassVar[Callable[..., "QuerySet[Any]"] | None] = None
    serializer_classes: ClassVar[Mapping[str, type[serializers.BaseSerializer]]] = {}
    pagination_class = PagePagination
    lookup_field = "ref"
    lookup_value_converter = "str"
    noun: ClassVar[str] = "Object"
    filter_backends = ()

    READS: ClassVar[frozenset[str]] = frozenset({"GET", "HEAD", "OPTIONS"})

    def rows(self) -> "QuerySet[Row]":
        """Return all rows for writes (absent: 404, no grant: 403), the visible ones for reads and where they decide."""
        if self.visible_to is not None and (self.request.method in self.READS or self.mode is Mode.FILTERED):
            visible: QuerySet[Row] = self.visible_to(self.caller)
            return visible
        return self.get_queryset()

    def filter_rows(self, rows: "QuerySet[Row]") -> "QuerySet[Row]":
        """Return the rows that the query parameters ask for; lists only."""
        return rows

    def get_object(self) -> Row:
        """
        Return the row that the path names.

        Raises NotFound (what may not be seen is absent), Forbidden where the operation takes a grant that the caller
        does not hold on this row.
        """
        value = self.kwargs[self.lookup_url_kwarg or self.lookup_field]
        if self.lookup_field in {"pk", "id"}:
            value = query.path_id(value)
        wanted = {self.lookup_field: value}
        row = self.rows().filter(**wanted).first()
        if row is None and self.mode is Mode.REQUIRED:
            row = (
                self.get_queryset().filter(**wanted).first()
            )  # of what takes a grant it is no secret that it is there
        if row is None:
            raise NotFound(self.absent(value))
        if self.mode is Mode.REQUIRED:
            self.authorize(row)
        return row

    def absent(self, value: Any) -> str:
        """Return the message of a 404."""
        name = f"with ID {value}" if isinstance(value, int) else f"'{value}'"
        return f"{self.noun} {name} not found"

    def before_denial(self) -> None:
        if (self.lookup_url_kwarg or self.lookup_field) in self.kwargs:
            self.get_object()

    def get_serializer_class(self) -> type[Any]:
        own = self.serializer_classes.get(self.operation)
        if own is not None:
            return own
        is_verb = self.request.method not in self.READS and self.operation not in {"create", "update"}
        return serializers.Serializer if is_verb or self.serializer_class is None else self.serializer_class

    def shown(self, row: Row) -> Any:
        """Return the row as answers show it."""
        assert self.serializer_class is not None
        return shared(self.serializer_class).to_representation(row)

    def listed(self, rows: "QuerySet[Any]", serializer_class: type[Any] | None = None) -> Response:
        """Return one page of the rows in the list envelope."""
        show = shared(serializer_class or self.get_serializer_class()).to_representation
        page = self.paginate_queryset(rows) or ()
        return self.get_paginated_response([show(row) for row in page])


class ListMixin:
    def list(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.listed(self.filter_rows(self.rows()))  # type: ignore[no-any-return]


class RetrieveMixin:
    def retrieve(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        return envelopes.single(self.shown(self.get_object()))


class CreateMixin:
    def create(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        data = self.validated(self.get_serializer_class())
        self.authorize_new(data)
        row = self.perform_create(data)
        return envelopes.created(self.shown(row), f"{self.noun} created successfully")


class UpdateMixin:
    """PUT; absent keys keep their values."""

    def update(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        row = self.get_object()
        data = self.validated(self.get_serializer_class(), partial=True)
        self.authorize_changed(row, data)
        row = self.perform_update(row, data)
        return envelopes.single(self.shown(row), f"{self.noun} updated successfully")


class DestroyMixin:
    def destroy(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        name, further = despite_others(self._destroy_found)
        return envelopes.done("; ".join([f"{self.noun} '{name}' deleted successfully", *further]))

    def _destroy_found(self: Any) -> tuple[Any, list[str]]:
        row = self.get_object()
        name, further = getattr(row, self.lookup_field), consequences.of(row)
        self.perform_destroy(row)
        return name, further
