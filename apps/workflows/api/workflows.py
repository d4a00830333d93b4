"""Create, list, read, change, delete and validate workflow definitions."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import BooleanField, Func, QuerySet, Value
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action as route
from rest_framework.request import Request
from rest_framework.response import Response

from apps.actions.rules import schema_problem
from apps.actions.visibility import visible_to as visible_actions
from apps.core.api import contains, envelopes, query
from apps.core.api.grants import ANY_TOKEN, filtered
from apps.core.api.views import AttuneViewSet, DestroyMixin, ListMixin, RetrieveMixin
from apps.core.errors import NotFound, ValidationFailed
from apps.identity.grants import require_delegation
from apps.packs.visibility import visible_to as visible_packs
from apps.workflows import services
from apps.workflows.api.serializers import (
    ValidateBody,
    ValidatedSerializer,
    WorkflowCreateBody,
    WorkflowFileBody,
    WorkflowSerializer,
    WorkflowSummarySerializer,
    WorkflowUpdateBody,
)
from apps.workflows.checks import checked
from apps.workflows.definition.checking import described, permission_sets_named
from apps.workflows.definition.parsing import read_definition
from apps.workflows.definition.problems import Entry
from apps.workflows.definition.source import UnreadableSource, entries, read_source
from apps.workflows.models import WorkflowDefinition
from apps.workflows.visibility import visible_to

BEYOND_OWN_ACCESS = "Cannot save a workflow with permission sets beyond current access"
_NOT_LISTED = ("definition", "param_schema", "out_schema")  # large, and no part of a summary
_NO_GRAPH: dict[str, list[Any]] = {"entry": [], "edges": [], "cycles": []}


class WorkflowViewSet(ListMixin, RetrieveMixin, DestroyMixin, AttuneViewSet[WorkflowDefinition]):
    """Workflows: several actions, in an order."""

    queryset = WorkflowDefinition.objects.order_by("label", "id")
    visible_to = staticmethod(visible_to)
    noun = "Workflow"
    serializer_class = WorkflowSerializer
    serializer_classes: ClassVar = {
        "list": WorkflowSummarySerializer,
        "create": WorkflowCreateBody,
        "update": WorkflowUpdateBody,
        "file": WorkflowFileBody,
        "validate": ValidateBody,
    }
    grants: ClassVar = {
        "list": filtered("actions:read"),
        "retrieve": filtered("actions:read"),
        "create": "actions:create",
        "update": "actions:update",
        "file": "actions:update",
        "destroy": "actions:delete",
        "validate": ANY_TOKEN,
    }

    @extend_schema(
        parameters=[
            OpenApiParameter("tags", str, description="tags, separated by commas; one of them is enough"),
            OpenApiParameter("search", str, description="text in label or description"),
            OpenApiParameter("pack_ref", str),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """List workflows by label."""
        return super().list(request, *args, **kwargs)

    def filter_rows(self, rows: "QuerySet[WorkflowDefinition]") -> "QuerySet[WorkflowDefinition]":
        params = self.request.query_params
        if tags := query.names(params, "tags"):
            rows = rows.filter(HasAny("tags", *map(Value, tags)))
        if text := query.fragment(params, "search"):
            rows = rows.filter(contains.in_any_case("label", text) | contains.in_any_case("description", text))
        if pack_ref := query.text(params, "pack_ref"):
            rows = rows.filter(query.ref_filter("pack_ref", pack_ref))
        return rows.defer(*_NOT_LISTED)

    @extend_schema(request=WorkflowCreateBody, responses={201: WorkflowSerializer})
    def create(self, request: Request) -> Response:
        """Create a workflow and the action that runs it."""
        data = self.validated(WorkflowCreateBody)
        self.authorize_new(data)
        _require_sets(self.caller, data["definition"], None)
        saved = services.create_workflow(**data, among=visible_actions(self.caller))
        return _warned(envelopes.created(self.shown(saved.workflow), "Workflow created successfully"), saved.warnings)

    @extend_schema(request=WorkflowUpdateBody, responses=WorkflowSerializer)
    def update(self, request: Request, ref: str) -> Response:
        """Change a workflow and the action that runs it; runs under way go on as they began."""
        workflow = self.get_object()
        data = self.validated(WorkflowUpdateBody, partial=True)
        _require_sets(self.caller, data.get("definition", workflow.definition), workflow)
        saved = services.update_workflow(workflow.pk, data, among=visible_actions(self.caller))
        return _warned(envelopes.single(self.shown(saved.workflow), "Workflow updated successfully"), saved.warnings)

    @extend_schema(request=WorkflowFileBody, responses=WorkflowSerializer)
    @route(detail=True, methods=["put"])
    def file(self, request: Request, ref: str) -> Response:
        """Change a workflow and write its files into the folder of its pack."""
        workflow = self.get_object()
        data = dict(self.validated(WorkflowFileBody))
        _refuse_renaming(workflow, data.pop("pack_ref"), data.pop("name"))
        _require_sets(self.caller, data["definition"], workflow)
        saved = services.update_workflow_files(workflow, data, among=visible_actions(self.caller))
        return _warned(envelopes.single(self.shown(saved.workflow), "Workflow updated successfully"), saved.warnings)

    def perform_destroy(self, row: WorkflowDefinition) -> None:
        services.delete_workflow(row.pk)

    @extend_schema(request=ValidateBody, responses=ValidatedSerializer)
    @route(detail=False, methods=["post"])
    def validate(self, request: Request) -> Response:
        """Check a definition, an object or YAML or JSON text, and show its graph; nothing is stored."""
        body = self.validated(ValidateBody)
        if problem := schema_problem(body.get("param_schema")):
            raise ValidationFailed(details=[{"field": "param_schema", "message": problem}])
        return envelopes.single(_validated(body["definition"], visible_actions(self.caller)))


class PackWorkflowFilesViewSet(AttuneViewSet[WorkflowDefinition]):
    """Workflows that are written into the folder of their pack."""

    queryset = WorkflowDefinition.objects.order_by("ref")
    noun = "Workflow"
    serializer_class = WorkflowSerializer
    serializer_classes: ClassVar = {"create": WorkflowFileBody}
    grants: ClassVar = {"create": "actions:create"}

    def before_denial(self) -> None:
        services.pack_of(self.kwargs["ref"])

    def facts_of_new(self, data: Mapping[str, Any]) -> Any:
        pack_ref = self.kwargs["ref"]
        return {"ref": f"{pack_ref}.{data.get('name')}", "pack_ref": pack_ref}

    @extend_schema(request=WorkflowFileBody, responses={201: WorkflowSerializer})
    def create(self, request: Request, ref: str) -> Response:
        """Create a workflow and its companion action, and write both into the folder of the pack."""
        # The pack is in the address: who may not write there hears that, and not what is wrong with the body.
        self.authorize_new(request.data if isinstance(request.data, Mapping) else {})
        data = dict(self.validated(WorkflowFileBody))
        if data.pop("pack_ref") != ref:
            raise ValidationFailed(details=[{"field": "pack_ref", "message": f"Must be '{ref}', as in the address."}])
        _require_sets(self.caller, data["definition"], None)
        saved = services.create_workflow_files(pack_ref=ref, **data, among=visible_actions(self.caller))
        return _warned(envelopes.created(self.shown(saved.workflow), "Workflow created successfully"), saved.warnings)


class PackWorkflowsViewSet(AttuneViewSet[WorkflowDefinition]):
    """The workflows of one pack."""

    queryset = WorkflowDefinition.objects.order_by("label", "id")
    visible_to = staticmethod(visible_to)
    grants: ClassVar = {"list": filtered("actions:read")}

    @extend_schema(responses=WorkflowSummarySerializer(many=True))
    def list(self, request: Request, ref: str) -> Response:
        """List the workflows of a pack by label."""
        rows = self.rows().filter(pack_ref=ref).defer(*_NOT_LISTED)
        if not visible_packs(self.caller).filter(ref=ref).exists() and not rows.exists():
            raise NotFound(f"Pack '{ref}' not found")
        return self.listed(rows, WorkflowSummarySerializer)


class HasAny(Func):
    """Whether a JSON list of texts holds one of some texts: ``HasAny("tags", Value("a"), Value("b"))``."""

    output_field = BooleanField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self._with_values(compiler, "jsonb_exists_any({column}, ARRAY[{values}]::text[])")

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self._with_values(compiler, "EXISTS (SELECT 1 FROM json_each({column}) WHERE value IN ({values}))")

    def _with_values(self, compiler: Any, template: str) -> Any:
        column, *values = (compiler.compile(expression) for expression in self.source_expressions)
        text = template.format(column=column[0], values=", ".join(sql for sql, _ in values))
        return text, [*column[1], *(parameter for _, parameters in values for parameter in parameters)]


def _validated(definition: Any, among: Any) -> dict[str, Any]:
    source = None
    if isinstance(definition, str):
        try:
            source = read_source(definition)
        except UnreadableSource as error:
            return {"valid": False, "errors": [error.entry], "warnings": [], "graph": _NO_GRAPH}
        definition = source.value
    found = checked(definition, among=among)
    errors = entries(found.errors(strict=True), source)
    warnings = entries(found.warnings(strict=True), source)
    return {"valid": not errors, "errors": errors, "warnings": warnings, "graph": described(found.graph)}


def _require_sets(caller: Any, definition: Any, before: WorkflowDefinition | None) -> None:
    """Raise Forbidden when tasks name permission sets beyond the caller's grants; as they are they may stay."""
    named = permission_sets_named(read_definition(definition).graph)
    if before is not None and named == permission_sets_named(read_definition(before.definition).graph):
        return
    refs = dict.fromkeys(ref for task in named.values() for ref in task)
    require_delegation(caller, refs, BEYOND_OWN_ACCESS)


def _refuse_renaming(workflow: WorkflowDefinition, pack_ref: str, name: str) -> None:
    if f"{pack_ref}.{name}" != workflow.ref or pack_ref != workflow.pack_ref:
        message = f"A workflow keeps its pack and name: '{workflow.ref}'."
        raise ValidationFailed(details=[{"field": "name", "message": message}])


def _warned(response: Response, warnings: "list[Entry]") -> Response:
    """Put what is doubtful about a definition beside the data; it is stored all the same."""
    if warnings:
        response.data["warnings"] = warnings
    return response
