"""What artifacts look like on the wire, and the bodies of requests about them."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.fields import empty

from apps.actions.models import ArtifactRetentionPolicy
from apps.core import refs
from apps.core.api.fields import Body, Integer, Patch, Text
from apps.core.api.parsers import loads
from apps.core.errors import BadRequest
from apps.executions.api.bodies import AnyValue
from apps.executions.api.serializers import AnyJSON, wire
from apps.executions.artifact_files import is_content_type
from apps.executions.models import Artifact, ArtifactType, ArtifactVersion, OwnerType, Visibility


# --- Answers -------------------------------------------------------------------------------------------------------
def artifact_summary_data(artifact: Artifact) -> dict[str, Any]:
    """Return an ArtifactSummary object of the wire."""
    return {
        "id": artifact.pk,
        "ref": artifact.ref,
        "scope": artifact.scope,
        "owner": artifact.owner,
        "type": artifact.type,
        "visibility": artifact.visibility,
        "name": artifact.name,
        "content_type": artifact.content_type,
        "size_bytes": artifact.size_bytes,
        "created": wire(artifact.created),
        "updated": wire(artifact.updated),
    }


def artifact_data(artifact: Artifact) -> dict[str, Any]:
    """Return an Artifact object of the wire."""
    data = artifact_summary_data(artifact)
    data["description"] = artifact.description
    data["retention_policy"] = artifact.retention_policy
    data["retention_limit"] = artifact.retention_limit
    if artifact.data is not None:
        data["data"] = artifact.data
    return data


def version_summary_data(version: ArtifactVersion) -> dict[str, Any]:
    """Return a VersionSummary object of the wire."""
    data: dict[str, Any] = {"id": version.pk, "version": version.version}
    if version.execution is not None:
        data["execution"] = version.execution
    data["content_type"] = version.content_type
    data["size_bytes"] = version.size_bytes
    if version.file_path is not None:
        data["file_path"] = version.file_path
    data["created_by"] = version.created_by
    data["created"] = wire(version.created)
    return data


def version_data(version: ArtifactVersion) -> dict[str, Any]:
    """Return a Version object of the wire."""
    data = {**version_summary_data(version), "artifact": version.artifact_id}
    if version.content_json is not None:
        data["content_json"] = version.content_json
    if version.meta is not None:
        data["meta"] = version.meta
    return data


class ArtifactSummarySerializer(serializers.Serializer):
    """A row of a list of artifacts."""

    id = serializers.IntegerField()
    ref = serializers.CharField()
    scope = serializers.ChoiceField(choices=OwnerType.choices)
    owner = serializers.CharField()
    type = serializers.ChoiceField(choices=ArtifactType.choices)
    visibility = serializers.ChoiceField(choices=Visibility.choices)
    name = serializers.CharField(allow_null=True)
    content_type = serializers.CharField(allow_null=True)
    size_bytes = serializers.IntegerField(allow_null=True)
    created = serializers.DateTimeField()
    updated = serializers.DateTimeField()

    def to_representation(self, instance: Artifact) -> dict[str, Any]:
        return artifact_summary_data(instance)


class ArtifactSerializer(ArtifactSummarySerializer):
    """An artifact."""

    description = serializers.CharField(allow_null=True)
    retention_policy = serializers.ChoiceField(choices=ArtifactRetentionPolicy.choices)
    retention_limit = serializers.IntegerField()
    data = AnyJSON(required=False)  # type: ignore[assignment]  # a field, not the attribute

    def to_representation(self, instance: Artifact) -> dict[str, Any]:
        return artifact_data(instance)


class VersionSummarySerializer(serializers.Serializer):
    """A row of a list of versions."""

    id = serializers.IntegerField()
    version = serializers.IntegerField()
    execution = serializers.IntegerField(required=False)
    content_type = serializers.CharField(allow_null=True)
    size_bytes = serializers.IntegerField(allow_null=True)
    file_path = serializers.CharField(required=False)
    created_by = serializers.CharField(allow_null=True)
    created = serializers.DateTimeField()


class VersionSerializer(VersionSummarySerializer):
    """A version of an artifact."""

    artifact = serializers.IntegerField()
    content_json = AnyJSON(required=False)
    meta = AnyJSON(required=False)


# --- Bodies --------------------------------------------------------------------------------------------------------
class ContentType(Text):
    """What can stand in a Content-Type header."""

    default_error_messages = {"content_type": "Must be a content type such as text/plain."}

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not is_content_type(text):
            self.fail("content_type")
        return text


class Ref(Text):
    """The ref of an artifact: any text that is not blank (400), without control characters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_blank=True, max_length=255, validators=[refs.validate_artifact_ref], **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        if isinstance(data, str) and not data.strip():
            raise BadRequest("The ref of an artifact must not be blank")
        return super().run_validation(data)


def _optional_text(**kwargs: Any) -> Text:
    return Text(required=False, allow_null=True, allow_blank=True, **kwargs)


def _choice(choices: Any, **kwargs: Any) -> serializers.ChoiceField:
    return serializers.ChoiceField(choices=choices, **kwargs)


def check_limit(limit: int | None) -> None:
    """Raise BadRequest for a limit that keeps nothing."""
    if limit is not None and not 0 < limit < 2**31:
        raise BadRequest("retention_limit must be greater than 0")


class _Described(Body):
    """What may be said about an artifact that is made."""

    visibility = _choice(Visibility.choices, required=False, allow_null=True)
    retention_policy = _choice(ArtifactRetentionPolicy.choices, required=False, allow_null=True)
    retention_limit = Integer(required=False, allow_null=True)
    name = _optional_text()
    description = _optional_text()

    def validate_retention_limit(self, limit: int | None) -> int | None:
        check_limit(limit)
        return limit


class ArtifactCreateBody(_Described):
    """A new artifact."""

    ref = Ref()
    scope = _choice(OwnerType.choices)
    owner = Text(allow_blank=True)
    type = _choice(ArtifactType.choices)
    content_type = ContentType(required=False, allow_null=True)
    data = AnyValue(required=False, allow_null=True)  # type: ignore[assignment]  # a field, not the attribute


class ArtifactUpdateBody(Body):
    """Changes of an artifact; absent keys keep their values."""

    scope = _choice(OwnerType.choices, required=False)
    owner = Text(required=False, allow_blank=True)
    type = _choice(ArtifactType.choices, required=False)
    visibility = _choice(Visibility.choices, required=False)
    retention_policy = _choice(ArtifactRetentionPolicy.choices, required=False)
    retention_limit = Integer(required=False)
    name = Patch(Text(allow_blank=True))
    description = Patch(Text(allow_blank=True))
    content_type = Patch(ContentType())
    data = Patch(AnyValue(allow_null=True))  # type: ignore[assignment]  # a field, not the attribute

    def validate_retention_limit(self, limit: int) -> int:
        check_limit(limit)
        return limit


class ArtifactProgressBody(Body):
    """An entry to append."""

    entry = AnyValue(allow_null=True)


class ArtifactDataBody(Body):
    """The data to keep."""

    data = AnyValue(allow_null=True)  # type: ignore[assignment]  # a field, not the attribute


class _Origin(Body):
    """What is said about a version."""

    content_type = ContentType(required=False, allow_null=True)
    execution = Integer(required=False, allow_null=True, min_value=1)
    meta = AnyValue(required=False, allow_null=True)
    created_by = _optional_text()


class ArtifactVersionBody(_Origin):
    """A version whose content is JSON."""

    content = AnyValue(allow_null=True)


class ArtifactFileBody(_Origin):
    """A version whose file the caller writes itself."""


class _Made(_Described):
    """What an artifact is when a version by ref makes it; ignored when it is there."""

    scope = _choice(OwnerType.choices, required=False, allow_null=True)
    owner = _optional_text()
    type = _choice(ArtifactType.choices, required=False, allow_null=True)


class ArtifactFileByRefBody(_Made, _Origin):
    """A version whose file the caller writes itself, of an artifact that is made when it is not there."""


@extend_schema_field(OpenApiTypes.STR)
class MetaText(serializers.Field):
    """JSON as the text of a form field; as strict as a body."""

    default_error_messages = {"text": "Must be JSON as text."}

    def to_internal_value(self, data: Any) -> Any:
        try:
            return loads(data.encode()) if isinstance(data, str) else self.fail("text")
        except (ParseError, UnicodeError):
            raise BadRequest("meta is not JSON") from None

    def to_representation(self, value: Any) -> Any:
        return value


class ArtifactUploadBody(serializers.Serializer):
    """A file as multipart/form-data."""

    file = serializers.FileField(allow_empty_file=True)
    content_type = ContentType(required=False)
    meta = MetaText(required=False)
    created_by = Text(required=False, allow_blank=True)
    execution = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class ArtifactUploadByRefBody(ArtifactUploadBody):
    """A file, and what the artifact is when this makes it."""

    scope = _choice(OwnerType.choices, required=False)
    owner = Text(required=False, allow_blank=True)
    type = _choice(ArtifactType.choices, required=False)
    visibility = _choice(Visibility.choices, required=False)
    name = Text(required=False, allow_blank=True)
    description = Text(required=False, allow_blank=True)
    retention_policy = _choice(ArtifactRetentionPolicy.choices, required=False)
    retention_limit = serializers.IntegerField(required=False)

    def validate_retention_limit(self, limit: int) -> int:
        check_limit(limit)
        return limit
