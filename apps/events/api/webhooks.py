"""Webhooks: switching them on and off, their settings, their request log, and the public receivers (api.md 8)."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import envelopes, query
from apps.core.api.grants import PUBLIC
from apps.core.api.idempotency import REPLAYED
from apps.core.api.pagination import EventPagination
from apps.core.api.views import AttuneView, AttuneViewSet
from apps.core.errors import Detail, ValidationFailed
from apps.events.api.serializers import TriggerSerializer, shown_trigger
from apps.events.api.webhook_bodies import WebhookConfigBody, WebhookSettingsBody
from apps.events.models import Trigger, WebhookEventLog
from apps.events.webhooks import editing, receiving, secrets, services
from apps.events.webhooks.requests import read
from apps.keys.services import plain_value
from apps.keys.visibility import may
from apps.keys.visibility import visible_to as visible_keys

_ACCESS_ONLY = frozenset({"access"})


class WebhookSettingsSerializer(serializers.Serializer):
    trigger_ref = serializers.CharField()
    webhook_enabled = serializers.BooleanField()
    webhook_key = serializers.CharField(allow_null=True)
    url = serializers.CharField(allow_null=True, help_text="where senders post to; null while webhooks are off")
    webhook_config = WebhookConfigBody()

    def to_representation(self, trigger: Trigger) -> dict[str, Any]:
        return {
            "trigger_ref": trigger.ref,
            "webhook_enabled": trigger.webhook_enabled,
            "webhook_key": trigger.webhook_key,
            "url": services.url_of(trigger),
            "webhook_config": editing.shown(trigger.webhook_config),
        }


class DeliverySerializer(serializers.ModelSerializer):
    trigger_id = serializers.IntegerField()

    class Meta:
        model = WebhookEventLog
        fields = (
            "id", "trigger_id", "trigger_ref", "webhook_key", "event_id", "source_ip", "user_agent",
            "payload_size_bytes", "headers", "hmac_verified", "rate_limited", "ip_allowed", "status_code",
            "error_message", "processing_time_ms", "created",
        )  # fmt: skip


class TriggerWebhookViewSet(AttuneViewSet[Trigger]):
    """The webhook of one trigger."""

    queryset = Trigger.objects.order_by("ref")
    noun = "Trigger"
    serializer_class = WebhookSettingsSerializer
    pagination_class = EventPagination
    grants: ClassVar = dict.fromkeys(
        ("retrieve", "update", "enable", "disable", "regenerate", "deliveries"), "triggers:update"
    )
    token_types: ClassVar = dict.fromkeys(grants, _ACCESS_ONLY)

    def retrieve(self, request: Request, ref: str) -> Response:
        """Return key, URL and settings of a webhook."""
        return envelopes.single(self.shown(self.get_object()))

    @extend_schema(request=WebhookSettingsBody)
    def update(self, request: Request, ref: str) -> Response:
        """Change sections of the settings: null removes a section, an absent one stays."""
        trigger = self.get_object()
        changes = self.validated(WebhookSettingsBody)["webhook_config"]
        self._check_key((changes.get("hmac") or {}).get(secrets.KEY_REF))
        return envelopes.single(
            self.shown(services.configure(trigger, changes)), "Webhook settings updated successfully"
        )

    @extend_schema(request=None, responses=TriggerSerializer)
    def enable(self, request: Request, ref: str) -> Response:
        """Switch the webhook on; a key that is there stays."""
        return self._trigger(services.enable(self.get_object()), "Webhooks enabled successfully")

    @extend_schema(request=None, responses=TriggerSerializer)
    def disable(self, request: Request, ref: str) -> Response:
        """Switch the webhook off and clear its key."""
        return self._trigger(services.disable(self.get_object()), "Webhooks disabled successfully")

    @extend_schema(request=None, responses=TriggerSerializer)
    def regenerate(self, request: Request, ref: str) -> Response:
        """Give the webhook another key; the old one is dead at once."""
        return self._trigger(services.regenerate(self.get_object()), "Webhook key regenerated successfully")

    @extend_schema(
        responses=DeliverySerializer(many=True),
        parameters=[
            OpenApiParameter("status_code", int),
            OpenApiParameter("event_id", int),
            OpenApiParameter("created_after", OpenApiTypes.DATETIME),
            OpenApiParameter("created_before", OpenApiTypes.DATETIME),
        ],
    )
    def deliveries(self, request: Request, ref: str) -> Response:
        """List the requests to the webhook, refused ones too, newest first."""
        return self.listed(
            self._filtered(WebhookEventLog.objects.filter(trigger=self.get_object())), DeliverySerializer
        )

    def _filtered(self, rows: "QuerySet[WebhookEventLog]") -> "QuerySet[WebhookEventLog]":
        params = self.request.query_params
        asked = {
            "status_code": query.integer(params, "status_code", minimum=100, maximum=599),
            "event_id": query.identifier(params, "event_id"),
            "created__gte": query.moment(params, "created_after"),
            "created__lt": query.moment(params, "created_before"),
        }
        conditions = {name: value for name, value in asked.items() if value is not None}
        return rows.filter(**conditions).order_by("-created", "-id")

    def _check_key(self, ref: str | None) -> None:
        """Raise ValidationFailed unless the caller could read the secret in the key itself."""
        if ref is None:
            return
        key = visible_keys(self.caller).filter(ref=ref).first()
        if key is None or (key.encrypted and not may(self.caller, "decrypt", key)):
            problem = f"There is no key '{ref}', or you may not read its value."
        elif not secrets.revealed(plain_value(key)):
            problem = f"The value of key '{ref}' is no text."
        else:
            return
        raise ValidationFailed(details=[Detail(field="webhook_config.hmac.secret_key_ref", message=problem)])

    def _trigger(self, trigger: Trigger, message: str) -> Response:
        return envelopes.single(shown_trigger(trigger, self.caller), message)


class WrappedWebhookBody(serializers.Serializer):
    payload = serializers.JSONField(help_text="Any JSON; becomes the event's payload.")
    headers = serializers.JSONField(required=False)
    source_ip = serializers.CharField(required=False)
    user_agent = serializers.CharField(required=False)
    idempotency_key = serializers.CharField(required=False, max_length=255)


class ReceivedSerializer(serializers.Serializer):
    event_id = serializers.IntegerField()
    trigger_ref = serializers.CharField()
    received_at = serializers.DateTimeField()
    message = serializers.CharField()


class _Receiver(AttuneView):
    """Public: the key in the path, and what the trigger's config asks for, are its only protection."""

    grants: ClassVar = {"post": PUBLIC}
    renderer_classes = (JSONRenderer,)  # nothing here reads the body but ``requests.read``
    keeps_own_answers = True
    to_raw_url: ClassVar[bool]

    def receive(self, request: Request, webhook_key: str) -> Response:
        answer = receiving.receive(read(request._request, key=webhook_key, to_raw_url=self.to_raw_url))
        return Response(answer.body, headers={REPLAYED: "true"} if answer.replayed else None)


class WebhookReceiver(_Receiver):
    to_raw_url = False

    @extend_schema(operation_id="webhook_receive", request=WrappedWebhookBody, responses=ReceivedSerializer)
    def post(self, request: Request, webhook_key: str) -> Response:
        """Store an event from a wrapped payload; answered once it is stored for good."""
        return self.receive(request, webhook_key)


class RawWebhookReceiver(_Receiver):
    to_raw_url = True

    @extend_schema(
        operation_id="webhook_receive_raw",
        request={"application/json": OpenApiTypes.ANY, "application/octet-stream": OpenApiTypes.BINARY},
        responses=ReceivedSerializer,
    )
    def post(self, request: Request, webhook_key: str) -> Response:
        """Store an event whose payload is the whole body; answered once it is stored for good."""
        return self.receive(request, webhook_key)
