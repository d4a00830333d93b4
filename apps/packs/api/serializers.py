"""What answers about packs look like, and the bodies of requests."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.fields import Body, Boolean, JSONObject, Patch, Text, TextList
from apps.core.errors import UnprocessableEntity
from apps.core.refs import validate_pack_ref, validate_version
from apps.core.schemas import check_budget
from apps.packs.models import Pack
from apps.packs.secrets import shown_config

SUMMARY = ("id", "ref", "label", "description", "version", "tags", "is_standard", "created", "updated")
DETAIL = (
    "id", "ref", "label", "description", "version", "conf_schema", "config", "meta", "tags", "runtime_deps",
    "dependencies", "is_standard", "created", "updated",
)  # fmt: skip


class PackSummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = Pack
        fields = SUMMARY


class PackSerializer(serializers.ModelSerializer):
    config = serializers.SerializerMethodField()

    class Meta:
        model = Pack
        fields = DETAIL

    @extend_schema_field({"type": "object", "additionalProperties": {}})
    def get_config(self, pack: Pack) -> Any:
        return shown_config(pack)


class _PackBody(Body):
    """What create and update share."""

    def validate_conf_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        check_schema(schema)
        return schema


def check_schema(schema: Any) -> None:
    """Raise the 422 of a schema that is over its budget."""
    try:
        check_budget(schema)
    except UnprocessableEntity as error:
        raise serializers.ValidationError(error.message) from error


class PackCreateBody(_PackBody):
    ref = Text(max_length=255, validators=[validate_pack_ref])
    label = Text(max_length=255)  # type: ignore[assignment]  # a field, not the attribute
    version = Text(max_length=50, validators=[validate_version])
    description = Text(required=False, allow_blank=True)
    conf_schema = JSONObject(required=False)
    config = JSONObject(required=False)
    meta = JSONObject(required=False)
    tags = TextList(required=False)
    runtime_deps = TextList(required=False)
    dependencies = TextList(required=False)
    is_standard = Boolean(required=False)


class PackUpdateBody(_PackBody):
    label = Text(max_length=255, required=False)  # type: ignore[assignment]  # a field, not the attribute
    description = Patch(Text(allow_blank=True))
    version = Text(max_length=50, validators=[validate_version], required=False)
    conf_schema = JSONObject(required=False)
    config = JSONObject(required=False)
    meta = JSONObject(required=False)
    tags = TextList(required=False)
    runtime_deps = TextList(required=False)
    dependencies = TextList(required=False)
    is_standard = Boolean(required=False)


class RegisterBody(Body):
    path = Text(help_text="A folder on the server.")
    force = Boolean(required=False, default=False, help_text="Register a pack again that is already there.")
    skip_tests = Boolean(required=False, default=False)


class UploadBody(serializers.Serializer):
    pack = serializers.FileField(help_text="A .tar.gz of at most 100 MiB.")
    force = serializers.CharField(required=False, help_text='"true": replace the pack when it is already there.')
    skip_tests = serializers.CharField(required=False, help_text='"true": leave the tests out.')


class UploadedSerializer(serializers.Serializer):
    """What an upload answers."""

    pack = PackSerializer()
    test_result = JSONObject(allow_null=True)
    tests_skipped = Boolean()


class RegisteredSerializer(PackSerializer):
    """What a registration answers: the pack's fields, and the pack once more."""

    pack = PackSerializer(source="*")
    tests_skipped = serializers.SerializerMethodField()
    test_result = serializers.SerializerMethodField()

    class Meta(PackSerializer.Meta):
        fields = (*DETAIL, "pack", "tests_skipped", "test_result")  # type: ignore[assignment]  # more of them

    def get_tests_skipped(self, _pack: Pack) -> bool:
        return bool(self.context["registration"].tests_skipped)

    def get_test_result(self, _pack: Pack) -> dict[str, Any] | None:
        result: dict[str, Any] | None = self.context["registration"].test_result
        return result
