"""What answers about keys look like, and the bodies of requests (api.md section 16)."""

from typing import Any

from rest_framework import serializers

from apps.core.api.fields import Body, Boolean, Integer, Moment, Patch, Text
from apps.core.refs import validate_key_ref
from apps.keys.models import Key, OwnerType


class KeySummarySerializer(serializers.ModelSerializer):
    class Meta:
        model = Key
        fields = ("id", "ref", "owner_type", "owner", "name", "encrypted", "created")


class KeySerializer(serializers.ModelSerializer):
    owner_identity = serializers.IntegerField(source="owner_identity_id", read_only=True, allow_null=True)
    owner_pack = serializers.IntegerField(source="owner_pack_id", read_only=True, allow_null=True)
    value = serializers.JSONField(
        read_only=True, allow_null=True, help_text="null when it is encrypted and may not be shown"
    )

    class Meta:
        model = Key
        fields = (
            "id", "ref", "owner_type", "owner", "owner_identity", "owner_pack", "owner_pack_ref", "owner_action",
            "owner_action_ref", "owner_sensor", "owner_sensor_ref", "name", "encrypted", "value", "expires_at",
            "version", "created", "updated",
        )  # fmt: skip


_key = KeySerializer()


def shown_key(key: Key, value: Any) -> dict[str, Any]:
    """Return a Key of the wire with this value in place of the stored one."""
    return {**_key.to_representation(key), "value": value}


class KeyCreateBody(Body):
    ref = Text(max_length=255, validators=[validate_key_ref])
    owner_type = serializers.ChoiceField(choices=OwnerType.choices)
    name = Text(max_length=255)
    value = serializers.JSONField(allow_null=True, help_text="any JSON")
    owner = Text(max_length=255, required=False, allow_blank=True)
    owner_identity = Integer(required=False)
    owner_pack = Integer(required=False)
    owner_pack_ref = Text(max_length=255, required=False)
    owner_action = Integer(required=False)
    owner_action_ref = Text(max_length=255, required=False)
    owner_sensor = Integer(required=False)
    owner_sensor_ref = Text(max_length=255, required=False)
    encrypted = Boolean(required=False)
    expires_at = Moment(required=False, help_text="From then on it reads as absent.")


class KeyUpdateBody(Body):
    name = Text(max_length=255, required=False)
    value = serializers.JSONField(required=False, help_text="any JSON but null, which keeps the value")
    encrypted = Boolean(required=False)
    expires_at = Patch(Moment())
