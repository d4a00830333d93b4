"""Artifacts: list, create, read, change, delete; their data and progress."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import contains, envelopes, query
from apps.core.api.grants import Mode, by_object, filtered
from apps.core.api.pagination import ExecutionPagination
from apps.core.api.query import Params
from apps.core.api.schema import unpaged
from apps.core.api.views import AttuneViewSet
from apps.core.errors import BadRequest, NotImplementedYet
from apps.executions import artifacts as services
from apps.executions import visibility
from apps.executions.api.artifacts.serializers import (
    ArtifactCreateBody,
    ArtifactDataBody,
    ArtifactProgressBody,
    ArtifactSerializer,
    ArtifactSummarySerializer,
    ArtifactUpdateBody,
    artifact_data,
    artifact_summary_data,
)
from apps.executions.api.documents import ARTIFACT_PARAMETERS
from apps.executions.models import FILE_BACKED, Artifact, ArtifactType, OwnerType, Visibility
from apps.identity import audit
from apps.identity.grants import Facts


class ArtifactViews(AttuneViewSet[Artifact]):
    """
    One artifact by its id; what may not be read is absent, for writes too.

    Private ones open to their owner and by their pack, so each operation is checked on its artifact.
    """

    queryset = Artifact.objects.order_by("-created", "-id")
    serializer_class = ArtifactSerializer
    pagination_class = ExecutionPagination
    lookup_field = "pk"
    noun = "Artifact"

    def rows(self) -> "QuerySet[Artifact]":
        return visibility.visible_artifacts(self.caller)

    def get_object(self) -> Artifact:
        artifact = super().get_object()
        if self.mode is Mode.BY_OBJECT:
            self.authorize(artifact)
        return artifact

    def shown(self, row: Artifact) -> dict[str, Any]:
        return artifact_data(row)

    @staticmethod
    def record(what: str, artifact: Artifact, **details: Any) -> None:
        """Tell the audit trail what was done: created, read, downloaded, updated, deleted."""
        audit.record(
            f"artifact.{what}",
            resource_type="artifact",
            resource_id=artifact.pk,
            resource_ref=artifact.ref,
            details=details,
        )


class ArtifactViewSet(ArtifactViews):
    """Artifacts: what executions and people stored."""

    grants: ClassVar = {
        "list": filtered("artifacts:read"),
        "of_execution": filtered("artifacts:read"),
        "create": "artifacts:create",
        "retrieve": filtered("artifacts:read"),
        "by_ref": filtered("artifacts:read"),
        "update": by_object("artifacts:update"),
        "destroy": by_object("artifacts:delete"),
        "progress": by_object("artifacts:update"),
        "data": by_object("artifacts:update"),
        "stream": by_object("artifacts:read"),
    }
    serializer_classes: ClassVar = {
        "create": ArtifactCreateBody,
        "update": ArtifactUpdateBody,
        "progress": ArtifactProgressBody,
        "data": ArtifactDataBody,
    }

    @extend_schema(parameters=ARTIFACT_PARAMETERS, responses=ArtifactSummarySerializer(many=True))
    def list(self, request: Request) -> Response:
        """List artifacts, newest first."""
        params = request.query_params
        rows = self.rows().filter(**_filters(params))
        if name := query.fragment(params, "name"):
            rows = rows.filter(contains.in_any_case("name", name))
        return self.listed(rows.defer("data", "description"), ArtifactSummarySerializer)

    @extend_schema(operation_id="executions_artifacts_list", responses=unpaged(ArtifactSummarySerializer))
    def of_execution(self, request: Request, pk: str) -> Response:
        """List the artifacts that have versions from an execution; all of them, no pages."""
        execution_id = query.parse_integer(pk)
        if execution_id is None:
            raise BadRequest("The id of an execution is a whole number")
        # An execution that nobody knows has none, whatever its number.
        known = execution_id if 0 < execution_id <= query.MAX_ID else 0
        rows = self.rows().filter(**_from_execution(known)).order_by("-created", "-id")
        return envelopes.single([artifact_summary_data(row) for row in rows.defer("data", "description")])

    @extend_schema(request=ArtifactCreateBody, responses={201: ArtifactSerializer})
    def create(self, request: Request) -> Response:
        """Make an artifact."""
        body = self.validated(ArtifactCreateBody)
        new = services.NewArtifact(**body, execution=self.caller.execution_id)
        self.authorize_new(services.described(new))
        artifact = services.create_artifact(new)
        self.record("created", artifact)
        return envelopes.created(self.shown(artifact), "Artifact created successfully")

    def facts_of_new(self, data: Mapping[str, Any]) -> Facts:
        return visibility.artifact_facts(**data)

    @extend_schema(responses=ArtifactSerializer)
    def retrieve(self, request: Request, pk: str) -> Response:
        """Read an artifact."""
        artifact = self.get_object()
        self.record("read", artifact)
        return envelopes.single(self.shown(artifact))

    @extend_schema(responses=ArtifactSerializer)
    def by_ref(self, request: Request, ref: str) -> Response:
        """Read an artifact by its ref; ``execution.<id>.stdout`` names the artifact of that log."""
        artifact = services.find_by_ref(self.rows(), ref)
        self.record("read", artifact)
        return envelopes.single(self.shown(artifact))

    @extend_schema(request=ArtifactUpdateBody, responses=ArtifactSerializer)
    def update(self, request: Request, pk: str) -> Response:
        """Change an artifact."""
        artifact = self.get_object()
        body = self.validated(ArtifactUpdateBody)
        self._check_change(artifact, body)
        changed = services.update_artifact(artifact.pk, body)
        self.record("updated", artifact, changed=sorted(body))
        return envelopes.single(self.shown(changed), "Artifact updated successfully")

    def _check_change(self, artifact: Artifact, body: Mapping[str, Any]) -> None:
        """Raise Forbidden unless the caller may change an artifact that is as this one is to be."""
        told = {name: body.get(name, getattr(artifact, name)) for name in ("scope", "owner", "visibility")}
        facts = visibility.artifact_facts(**told, ref=artifact.ref, artifact_id=artifact.pk)
        if not self.caller.may_create("artifacts:update", facts):
            self.authorize(facts)

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete an artifact with its versions and files."""
        artifact = self.get_object()
        services.delete_artifact(artifact.pk)
        self.record("deleted", artifact)
        return envelopes.done(f"Artifact '{artifact.ref}' deleted successfully")

    @extend_schema(request=ArtifactProgressBody, responses=ArtifactSerializer)
    def progress(self, request: Request, pk: str) -> Response:
        """Append an entry to the data of a progress artifact."""
        artifact = self.get_object()
        entry = self.validated(ArtifactProgressBody)["entry"]
        changed = services.append_progress(artifact.pk, entry)
        self.record("updated", artifact, changed=["progress"])
        return envelopes.single(self.shown(changed))

    @extend_schema(request=ArtifactDataBody, responses=ArtifactSerializer)
    def data(self, request: Request, pk: str) -> Response:
        """Replace the data of an artifact."""
        artifact = self.get_object()
        changed = services.update_artifact(artifact.pk, {"data": self.validated(ArtifactDataBody)["data"]})
        self.record("updated", artifact, changed=["data"])
        return envelopes.single(self.shown(changed))

    @extend_schema(exclude=True)
    def stream(self, request: Request, pk: str) -> Response:
        """Follow the latest version while it is written."""
        artifact = self.get_object()
        if artifact.type not in FILE_BACKED:
            raise services.NotFileBacked(f"An artifact of type {artifact.type} is not file-backed")
        raise NotImplementedYet("Live streams are not there yet")


def _filters(params: Params) -> dict[str, Any]:
    wanted = {
        "scope": query.choice(params, "scope", OwnerType.values),
        "owner": query.text(params, "owner"),
        "type": query.choice(params, "type", ArtifactType.values),
        "visibility": query.choice(params, "visibility", Visibility.values),
        "created__gte": query.moment(params, "created_after"),
        "created__lt": query.moment(params, "created_before"),
    }
    conditions = {name: value for name, value in wanted.items() if value is not None}
    execution = query.identifier(params, "execution")
    return conditions if execution is None else {**conditions, **_from_execution(execution)}


def _from_execution(execution_id: int) -> dict[str, Any]:
    """The condition of artifacts with a version from an execution; a subquery, so that none comes twice."""
    return {"pk__in": services.artifacts_of_execution(execution_id)}
