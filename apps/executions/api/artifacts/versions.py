"""Versions of artifacts: stored as JSON, uploaded, allocated; read and downloaded."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import by_object, filtered
from apps.core.api.parsers import StrictFormParser
from apps.core.api.schema import Bare, unpaged
from apps.executions import artifacts as services
from apps.executions import storage, visibility
from apps.executions.api.artifacts.serializers import (
    ArtifactFileBody,
    ArtifactFileByRefBody,
    ArtifactUploadBody,
    ArtifactUploadByRefBody,
    ArtifactVersionBody,
    VersionSerializer,
    VersionSummarySerializer,
    version_data,
    version_summary_data,
)
from apps.executions.api.artifacts.uploads import checked_upload, limit_uploads
from apps.executions.api.artifacts.views import ArtifactViews
from apps.executions.api.raw import Content, serve
from apps.executions.artifact_files import download_name, is_content_type, type_for
from apps.executions.models import Artifact, ArtifactVersion, OwnerType


class VersionViews(ArtifactViews):
    """What versions share."""

    serializer_class = VersionSerializer  # type: ignore[assignment]  # of another kind than the base view's

    def origin(self, body: dict[str, Any]) -> services.Origin:
        """Return where a version comes from; an execution token's execution is filled in."""
        execution = body.get("execution")
        return services.Origin(
            execution=self.caller.execution_id if execution is None else execution,
            content_type=body.get("content_type"),
            meta=body.get("meta"),
            created_by=body.get("created_by"),
        )

    def stored(self, version: ArtifactVersion) -> Response:
        self.record("updated", version.artifact, version=version.version)
        return envelopes.created(version_data(version), f"Version {version.version} created successfully")

    def artifact_by_ref(self, body: dict[str, Any]) -> Artifact:
        """Return the artifact that the path names, made when it is not there, as far as the caller may."""
        ref = self.kwargs["ref"]
        artifact, made = Artifact.objects.filter(ref=ref).first(), False
        if artifact is None:
            new = self._described(ref, body)
            facts = visibility.artifact_facts(**services.described(new))
            if not self.caller.may_create("artifacts:create", facts):
                self.caller.require("artifacts:create", facts)
            artifact, made = services.find_or_create(new)
            if made:
                self.record("created", artifact)
        if not made:
            self.caller.require("artifacts:update", artifact)
        return artifact

    def _described(self, ref: str, body: dict[str, Any]) -> services.NewArtifact:
        by_execution = self.caller.action_ref is not None and body.get("scope") is None
        return services.NewArtifact(
            ref=ref,
            scope=OwnerType.ACTION if by_execution else body.get("scope") or OwnerType.SYSTEM,
            owner=body.get("owner") or (self.caller.action_ref or "" if by_execution else ""),
            type=body.get("type") or type_for(body.get("content_type")),
            visibility=body.get("visibility"),
            retention_policy=body.get("retention_policy"),
            retention_limit=body.get("retention_limit"),
            name=body.get("name"),
            description=body.get("description"),
            content_type=body.get("content_type"),
            execution=self.caller.execution_id if body.get("execution") is None else body["execution"],
        )


class VersionViewSet(VersionViews):
    """Versions of an artifact."""

    grants: ClassVar = {
        "list": filtered("artifacts:read"),
        "latest": filtered("artifacts:read"),
        "retrieve": filtered("artifacts:read"),
        "download": filtered("artifacts:read"),
        "create": by_object("artifacts:update"),
        "allocate": by_object("artifacts:update"),
        "allocate_by_ref": by_object("artifacts:update"),
        "destroy": by_object("artifacts:delete"),
    }
    serializer_classes: ClassVar = {
        "create": ArtifactVersionBody,
        "allocate": ArtifactFileBody,
        "allocate_by_ref": ArtifactFileByRefBody,
    }

    @extend_schema(operation_id="artifacts_versions_list", responses=unpaged(VersionSummarySerializer))
    def list(self, request: Request, pk: str) -> Response:
        """List the versions of an artifact, newest first; all of them, no pages."""
        versions = self.get_object().versions.order_by("-version").defer("content", "content_json", "meta")
        return envelopes.single([version_summary_data(version) for version in versions])

    @extend_schema(request=ArtifactVersionBody, responses={201: VersionSerializer})
    def create(self, request: Request, pk: str) -> Response:
        """Store a JSON value as the next version."""
        artifact = self.get_object()
        body = self.validated(ArtifactVersionBody)
        return self.stored(services.add_json_version(artifact.pk, body["content"], self.origin(body)))

    @extend_schema(request=ArtifactFileBody, responses={201: VersionSerializer})
    def allocate(self, request: Request, pk: str) -> Response:
        """Reserve the next version for a file that the caller writes itself."""
        artifact = self.get_object()
        return self.stored(services.allocate_file(artifact.pk, self.origin(self.validated(ArtifactFileBody))))

    @extend_schema(request=ArtifactFileByRefBody, responses={201: VersionSerializer})
    def allocate_by_ref(self, request: Request, ref: str) -> Response:
        """Reserve the next version of an artifact that is made when it is not there."""
        body = self.validated(ArtifactFileByRefBody)
        artifact = self.artifact_by_ref(body)
        return self.stored(services.allocate_file(artifact.pk, self.origin(body)))

    @extend_schema(responses=VersionSerializer)
    def latest(self, request: Request, pk: str) -> Response:
        """Read the latest version."""
        return self._read(self._version())

    @extend_schema(responses=VersionSerializer)
    def retrieve(self, request: Request, pk: str, number: str) -> Response:
        """Read one version."""
        return self._read(self._version())

    def destroy(self, request: Request, pk: str, number: str) -> Response:
        """Delete one version and its file."""
        artifact = self.get_object()
        version = query.path_id(number)
        services.delete_version(artifact.pk, version)
        self.record("updated", artifact, deleted_version=version)
        return envelopes.done(f"Version {version} of artifact '{artifact.ref}' deleted successfully")

    @extend_schema(responses={(200, "*/*"): Bare(OpenApiTypes.BINARY)})
    def download(self, request: Request, pk: str, number: str | None = None) -> HttpResponseBase:
        """Download the bytes of a version, the latest unless one is named."""
        version = self._version()
        content = content_of(version)
        self.record("downloaded", version.artifact, version=version.version)
        name = download_name(version.artifact, version.version, content.content_type)
        return serve(request, content, headers={"Content-Disposition": f'attachment; filename="{name}"'})

    def _read(self, version: ArtifactVersion) -> Response:
        self.record("read", version.artifact, version=version.version)
        return envelopes.single(version_data(version))

    def _version(self) -> ArtifactVersion:
        artifact = self.get_object()
        versions = ArtifactVersion.objects.filter(artifact=artifact).select_related("artifact").order_by("-version")
        number = self.kwargs.get("number")
        if number is not None:
            versions = versions.filter(version=query.path_id(number))
        version = versions.first()
        if version is None:
            wanted = f"version {number}" if number is not None else "version"
            raise services.VersionNotFound(f"Artifact '{artifact.ref}' has no {wanted}")
        return version


class UploadViewSet(VersionViews):
    """Uploads of files."""

    grants: ClassVar = {"upload": by_object("artifacts:update"), "upload_by_ref": by_object("artifacts:update")}
    serializer_classes: ClassVar = {"upload": ArtifactUploadBody, "upload_by_ref": ArtifactUploadByRefBody}
    parser_classes = (StrictFormParser,)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        limit_uploads(request)
        return super().initialize_request(request, *args, **kwargs)

    @extend_schema(request={"multipart/form-data": ArtifactUploadBody}, responses={201: VersionSerializer})
    def upload(self, request: Request, pk: str) -> Response:
        """Store a file as the next version."""
        artifact = self.get_object()
        body = checked_upload(ArtifactUploadBody(data=request.data), request)
        return self._store(artifact, body)

    @extend_schema(request={"multipart/form-data": ArtifactUploadByRefBody}, responses={201: VersionSerializer})
    def upload_by_ref(self, request: Request, ref: str) -> Response:
        """Store a file as the next version of an artifact that is made when it is not there."""
        body = checked_upload(ArtifactUploadByRefBody(data=request.data), request)
        body.setdefault("content_type", _content_type_of(body))
        return self._store(self.artifact_by_ref(body), body)

    def _store(self, artifact: Artifact, body: dict[str, Any]) -> Response:
        body.setdefault("content_type", _content_type_of(body))
        blocks = body["file"].chunks(storage.BLOCK_BYTES)
        return self.stored(services.add_file_version(artifact, blocks, self.origin(body)))


def _content_type_of(body: dict[str, Any]) -> str | None:
    """The content type that the form's part names, when it says anything."""
    named = str(body["file"].content_type or "")
    return named if is_content_type(named) and named != "application/octet-stream" else None


def content_of(version: ArtifactVersion) -> Content:
    """Return the bytes of a version. Raises ContentMissing."""
    kind = version.content_type if version.content_type and is_content_type(version.content_type) else None
    if version.file_path is not None:
        file, size = services.open_version(version)
        return Content(
            size=size,
            content_type=kind or "application/octet-stream",
            read=lambda start, end: storage.read_range(file, start, end),
            close=file.close,
            # A file that a program writes itself may still change.
            etag=f'"version-{version.pk}-{size}"' if version.storage_name is not None else None,
        )
    if version.content is not None:
        whole, kind = bytes(version.content), kind or "application/octet-stream"
    else:
        whole, kind = _json_bytes(version.content_json, kind), kind or "application/json"
    return Content(
        size=len(whole),
        content_type=kind,
        read=lambda start, end: _from_memory(whole, start, end),
        close=_nothing,
        etag=f'"version-{version.pk}-{len(whole)}"',
    )


def _json_bytes(value: Any, kind: str | None) -> bytes:
    if isinstance(value, str) and kind is not None and kind.startswith("text/"):
        return value.encode(errors="replace")
    return json.dumps(value, ensure_ascii=False).encode(errors="replace")


def _from_memory(whole: bytes, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, storage.BLOCK_BYTES):
        yield whole[position : min(position + storage.BLOCK_BYTES, end)]


def _nothing() -> None:
    """Bytes in memory need no closing."""
