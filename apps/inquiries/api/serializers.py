"""What answers about inquiries look like, and the bodies of requests."""

from typing import Any

from rest_framework import serializers

from apps.core.api.fields import Body, Boolean, Integer, JSONObject, Moment, Text
from apps.inquiries.models import Inquiry, InquiryStatus
from apps.inquiries.questions import LONGEST_PROMPT

# --- Answers ----------------------------------------------------------------------------------------------------


class InquirySummarySerializer(serializers.ModelSerializer):
    """A row of a list of inquiries."""

    execution = serializers.IntegerField(source="execution_id", read_only=True)
    assigned_to = serializers.IntegerField(source="assigned_to_id", read_only=True, allow_null=True)
    status = serializers.ChoiceField(choices=InquiryStatus.choices)
    has_response = serializers.SerializerMethodField()

    class Meta:
        model = Inquiry
        fields = ("id", "execution", "prompt", "assigned_to", "status", "has_response", "timeout_at", "created")

    def get_has_response(self, inquiry: Inquiry) -> bool:
        return inquiry.responded_at is not None


class InquirySerializer(serializers.ModelSerializer):
    """An inquiry."""

    execution = serializers.IntegerField(source="execution_id", read_only=True)
    response_schema = serializers.DictField(allow_null=True)
    assigned_to = serializers.IntegerField(source="assigned_to_id", read_only=True, allow_null=True)
    status = serializers.ChoiceField(choices=InquiryStatus.choices)
    response = serializers.JSONField(allow_null=True, help_text="Any JSON; null until it is answered.")
    responded_by = serializers.IntegerField(source="responded_by_id", read_only=True, allow_null=True)

    class Meta:
        model = Inquiry
        fields = (
            "id", "execution", "prompt", "response_schema", "assigned_to", "status", "response", "timeout_at",
            "responded_at", "responded_by", "validate_response", "created", "updated",
        )  # fmt: skip


# --- Bodies -----------------------------------------------------------------------------------------------------


class InquiryCreate(Body):
    """A question about an execution."""

    execution = Integer(help_text="Id of an existing execution that has no inquiry.")
    prompt = Text(max_length=LONGEST_PROMPT)
    response_schema = JSONObject(
        required=False, allow_null=True, help_text="What an answer looks like; the console makes a form of it."
    )
    assigned_to = Integer(required=False, allow_null=True, help_text="Id of the identity that alone may answer.")
    timeout_at = Moment(required=False, allow_null=True, help_text="Nobody may answer later.")
    validate_response = Boolean(required=False, default=False, help_text="Refuse answers that the schema forbids.")


class InquiryUpdate(Body):
    """What of an inquiry can be changed; status and response only while it is pending."""

    status = serializers.ChoiceField(choices=InquiryStatus.choices, required=False)
    response = serializers.JSONField(required=False, allow_null=True, help_text="Any JSON, with status responded.")
    assigned_to = Integer(required=False, allow_null=True)


class InquiryRespond(Body):
    """An answer."""

    response: Any = serializers.JSONField(allow_null=True, help_text="Any JSON, kept as it is.")
