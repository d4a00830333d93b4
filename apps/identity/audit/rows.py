"""Audit events as the wire shows them."""

from typing import Any, Final

from rest_framework import serializers

from apps.core import clock
from apps.identity.models import AuditCategory, AuditEvent, AuditOutcome

KEYS: Final = (
    "id", "created", "category", "event_type", "outcome", "actor_identity", "actor_login", "actor_token_type",
    "actor_ip", "actor_user_agent", "request_id", "resource_type", "resource_id", "resource_ref", "http_method",
    "http_path", "http_status", "duration_ms", "details", "correlation_chain",
)  # fmt: skip


def event_data(event: AuditEvent) -> dict[str, Any]:
    """Return an audit event as JSON."""
    shown = {name: getattr(event, name) for name in KEYS}
    shown["created"] = clock.as_text(event.created)
    shown["request_id"] = str(event.request_id) if event.request_id is not None else None
    return shown


class ChainLinkSerializer(serializers.Serializer):
    """One step of what led to an event."""

    type = serializers.CharField(help_text="request, event, enforcement, execution")
    id = serializers.JSONField(help_text="a number, of a request its UUID")


class AuditEventSerializer(serializers.Serializer):
    """Who did what, when, and with what outcome."""

    id = serializers.IntegerField()
    created = serializers.DateTimeField()
    category = serializers.ChoiceField(AuditCategory.choices)
    event_type = serializers.CharField()
    outcome = serializers.ChoiceField(AuditOutcome.choices)
    actor_identity = serializers.IntegerField(allow_null=True, help_text="stays when the identity is gone")
    actor_login = serializers.CharField(allow_null=True)
    actor_token_type = serializers.CharField(allow_null=True)
    actor_ip = serializers.CharField(allow_null=True)
    actor_user_agent = serializers.CharField(allow_null=True)
    request_id = serializers.UUIDField(allow_null=True)
    resource_type = serializers.CharField(allow_null=True)
    resource_id = serializers.IntegerField(allow_null=True)
    resource_ref = serializers.CharField(allow_null=True)
    http_method = serializers.CharField(allow_null=True)
    http_path = serializers.CharField(allow_null=True)
    http_status = serializers.IntegerField(allow_null=True)
    duration_ms = serializers.IntegerField(allow_null=True)
    details = serializers.DictField()
    correlation_chain = ChainLinkSerializer(many=True)

    def to_representation(self, instance: AuditEvent) -> dict[str, Any]:
        return event_data(instance)
