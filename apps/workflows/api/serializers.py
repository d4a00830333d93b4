"""What answers about workflow definitions look like, and the bodies of requests."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.core.api.fields import Body, JSONObject, Text, TextList
from apps.core.refs import validate_component_ref
from apps.workflows.models import WorkflowDefinition

SUMMARY = ("id", "ref", "pack_ref", "label", "description", "version", "tags", "created", "updated")
DETAIL = (*SUMMARY, "pack", "param_schema", "out_schema", "definition")


# --- Answers ----------------------------------------------------------------------------------------------------


class WorkflowSummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = WorkflowDefinition
        fields = SUMMARY


class WorkflowSerializer(serializers.ModelSerializer):
    pack = serializers.IntegerField(source="pack_id", read_only=True)

    class Meta:
        model = WorkflowDefinition
        fields = DETAIL


class EntrySerializer(serializers.Serializer):
    """One thing that is wrong with a definition, or doubtful."""

    code = serializers.CharField()
    message = serializers.CharField()
    path = serializers.CharField(help_text="A JSON pointer into the definition.")
    line = serializers.IntegerField(allow_null=True)
    column = serializers.IntegerField(allow_null=True)


class GraphSerializer(serializers.Serializer):
    entry = serializers.ListField(child=serializers.CharField())
    edges = serializers.ListField(child=serializers.DictField(), help_text="{from, to, when}")
    cycles = serializers.ListField(child=serializers.ListField(child=serializers.CharField()))


class ValidatedSerializer(serializers.Serializer):
    valid = serializers.BooleanField()
    errors = EntrySerializer(many=True)  # type: ignore[assignment]  # the name that the contract gives it
    warnings = EntrySerializer(many=True)
    graph = GraphSerializer()


class PackValidatedSerializer(serializers.Serializer):
    pack_ref = serializers.CharField()
    validated_count = serializers.IntegerField()
    error_count = serializers.IntegerField()
    errors = serializers.DictField(  # type: ignore[assignment]  # the name that the contract gives it
        child=serializers.ListField(child=serializers.CharField())
    )


class SyncedWorkflowSerializer(serializers.Serializer):
    ref_name = serializers.CharField()
    created = serializers.BooleanField()
    workflow_def_id = serializers.IntegerField()
    warnings = serializers.ListField(child=serializers.CharField())


class PackSyncedSerializer(serializers.Serializer):
    pack_ref = serializers.CharField()
    loaded_count = serializers.IntegerField()
    registered_count = serializers.IntegerField()
    workflows = SyncedWorkflowSerializer(many=True)
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]  # the contract's name


# --- Bodies -----------------------------------------------------------------------------------------------------


class _Fields(Body):
    label = Text(max_length=255)  # type: ignore[assignment]  # DRF's fields have an attribute of that name
    version = Text(max_length=50)
    definition = JSONObject()
    description = Text(required=False, allow_blank=True)
    param_schema = JSONObject(required=False)
    out_schema = JSONObject(required=False)
    tags = TextList(required=False)


class WorkflowCreateBody(_Fields):
    ref = Text(max_length=255, validators=[validate_component_ref])
    pack_ref = Text(max_length=255)


class WorkflowUpdateBody(Body):
    label = Text(required=False, max_length=255)  # type: ignore[assignment]  # as above
    description = Text(required=False, allow_blank=True)
    version = Text(required=False, max_length=50)
    param_schema = JSONObject(required=False)
    out_schema = JSONObject(required=False)
    definition = JSONObject(required=False)
    tags = TextList(required=False)


class WorkflowFileBody(_Fields):
    name = Text(max_length=255)
    pack_ref = Text(max_length=255)


@extend_schema_field({"oneOf": [{"type": "object", "additionalProperties": True}, {"type": "string"}]})
class ObjectOrText(serializers.JSONField):
    """A JSON object, or a text in which one is written."""

    default_error_messages = {"kind": "Must be an object or a text."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict | str):
            self.fail("kind")
        return data


class ValidateBody(Body):
    definition = ObjectOrText()
    param_schema = JSONObject(required=False)
    pack_ref = Text(required=False, max_length=255)
