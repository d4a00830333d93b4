"""What answers about identities and rights look like, and the bodies of requests (api.md section 20)."""

from typing import Any

from rest_framework import serializers

from apps.core import clock
from apps.core.api.fields import Body, Boolean, Integer, JSONObject, Moment, Text, TextList
from apps.core.api.query import MAX_ID
from apps.identity.models import (
    Identity,
    IdentityRoleAssignment,
    IntegrationToken,
    PermissionAssignment,
    PermissionSet,
    PermissionSetRoleAssignment,
)

# --- Answers ----------------------------------------------------------------------------------------------------


class SuccessSerializer(serializers.Serializer):
    success = serializers.BooleanField()
    message = serializers.CharField()


class RoleAssignmentSerializer(serializers.ModelSerializer):
    identity_id = serializers.IntegerField()

    class Meta:
        model = IdentityRoleAssignment
        fields = ("id", "identity_id", "role", "source", "managed", "created", "updated")


class AssignmentSerializer(serializers.ModelSerializer):
    identity_id = serializers.IntegerField()
    permission_set_id = serializers.IntegerField(source="permset_id")
    permission_set_ref = serializers.CharField(source="permset.ref")

    class Meta:
        model = PermissionAssignment
        fields = ("id", "identity_id", "permission_set_id", "permission_set_ref", "created")


class _RoleNames(TextList):
    def to_representation(self, data: Any) -> list[str]:
        return [held.role for held in data.all()]


class IdentitySummarySerializer(serializers.ModelSerializer):
    attributes = JSONObject()
    roles = _RoleNames()

    class Meta:
        model = Identity
        fields = ("id", "login", "display_name", "frozen", "attributes", "roles")


class IdentitySerializer(serializers.ModelSerializer):
    attributes = JSONObject()
    roles = RoleAssignmentSerializer(many=True)
    direct_permissions = AssignmentSerializer(many=True, source="assignments")

    class Meta:
        model = Identity
        fields = ("id", "login", "display_name", "frozen", "attributes", "roles", "direct_permissions")


class SetRoleSerializer(serializers.ModelSerializer):
    permission_set_id = serializers.IntegerField(source="permset_id")
    permission_set_ref = serializers.CharField(source="permset.ref", allow_null=True)

    class Meta:
        model = PermissionSetRoleAssignment
        fields = ("id", "permission_set_id", "permission_set_ref", "role", "created")


class PermissionSetSerializer(serializers.ModelSerializer):
    grants = serializers.ListField(child=serializers.JSONField())
    roles = SetRoleSerializer(many=True)

    class Meta:
        model = PermissionSet
        fields = ("id", "ref", "pack_ref", "label", "description", "grants", "roles")


class IntegrationTokenSerializer(serializers.ModelSerializer):
    identity_id = serializers.IntegerField()
    created_by = serializers.IntegerField(source="created_by_id", allow_null=True)
    revoked_by = serializers.IntegerField(source="revoked_by_id", allow_null=True)
    active = serializers.SerializerMethodField(help_text="Neither revoked nor expired.")

    class Meta:
        model = IntegrationToken
        fields = (
            "id", "identity_id", "label", "description", "token_prefix", "token_suffix", "created_by", "expires_at",
            "last_used_at", "last_used_ip", "revoked_at", "revoked_by", "revocation_reason", "active", "created", "updated",
        )  # fmt: skip

    def get_active(self, token: IntegrationToken) -> bool:
        return token.is_live(clock.now())


class NewIntegrationTokenSerializer(serializers.Serializer):
    token = serializers.CharField(help_text="The secret; it is shown this once.")
    integration_token = IntegrationTokenSerializer()


# --- Bodies -----------------------------------------------------------------------------------------------------


class IdentityCreateBody(Body):
    login = Text(min_length=3, max_length=255)
    display_name = Text(max_length=255, required=False, allow_blank=True)
    password = Text(min_length=8, max_length=128, required=False)
    attributes = JSONObject(required=False)


class IdentityUpdateBody(Body):
    display_name = Text(max_length=255, required=False, allow_blank=True, help_text="A blank one clears it.")
    password = Text(min_length=8, max_length=128, required=False)
    attributes = JSONObject(required=False)
    frozen = Boolean(required=False)


class RoleBody(Body):
    role = Text(min_length=1, max_length=255)


class PermissionSetUpdateBody(Body):
    label = Text(max_length=255, required=False, allow_blank=True)  # type: ignore[assignment]  # a field, not the attribute
    description = Text(required=False, allow_blank=True)
    grants = serializers.JSONField(
        allow_null=True, help_text="An array of {resource, actions, constraints?}; it replaces the present grants."
    )


class AssignmentBody(Body):
    identity_id = Integer(required=False, help_text="Either this or identity_login.")
    identity_login = Text(max_length=255, required=False)
    permission_set_ref = Text(max_length=255)


class IntegrationTokenBody(Body):
    label = Text(min_length=1, max_length=255)  # type: ignore[assignment]  # a field, not the attribute
    description = Text(max_length=2000, required=False, allow_blank=True)
    expires_at = Moment(required=False, help_text="Never, where nothing is said.")


class RevocationBody(Body):
    reason = Text(required=False, allow_blank=True)


def is_possible_id(number: int) -> bool:
    """Whether a row can have this id."""
    return 0 < number <= MAX_ID
