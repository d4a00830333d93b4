"""Requests to webhooks: what came, what became of it."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import MachineRows, linked_filter
from apps.events.admin.links import event_link
from apps.events.models import WebhookEventLog
from apps.events.visibility import COLUMNS_OF_THEIR_TRIGGER
from apps.identity.grants import condition, narrowed


@admin.register(WebhookEventLog)
class WebhookEventLogAdmin(MachineRows):
    needs = {"view": "triggers:update"}  # they hold what senders sent
    visible = staticmethod(
        lambda caller, rows: narrowed(rows, condition(caller, "triggers:update", COLUMNS_OF_THEIR_TRIGGER))
    )
    list_display = (
        "created",
        "of_trigger",
        "status",
        "of_event",
        "error_message",
        "source_ip",
        "signed",
        "size",
        "took",
    )
    list_display_links = ("created",)
    list_filter = (linked_filter("trigger", "trigger"), linked_filter("event_id", "event"))
    list_defer = ("headers",)
    ordering = ("-created", "-id")
    fields = (
        "created", "of_trigger", "webhook_key", "status", "error_message", "of_event", "source_ip", "user_agent", "size",
        "took", "signed", "ip_allowed", "rate_limited", "idempotency_key", "body_sha256", "headers",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[WebhookEventLog]:
        rows: QuerySet[WebhookEventLog] = super().get_queryset(request)
        return rows.select_related("trigger")

    @admin.display(description="trigger")
    def of_trigger(self, row: WebhookEventLog) -> SafeString:
        return markup.row_link("events_trigger", row.trigger_id, row.trigger_ref)

    @admin.display(description="status")
    def status(self, row: WebhookEventLog) -> SafeString:
        return markup.badge(str(row.status_code), tone="good" if row.status_code < 300 else "bad")

    @admin.display(description="event")
    def of_event(self, row: WebhookEventLog) -> SafeString:
        return event_link(row.event_id)

    @admin.display(description="signature")
    def signed(self, row: WebhookEventLog) -> SafeString | str:
        if row.hmac_verified is None:
            return markup.EMPTY
        return "good" if row.hmac_verified else markup.badge("wrong", tone="bad")

    @admin.display(description="size")
    def size(self, row: WebhookEventLog) -> str:
        return markup.size_text(row.payload_size_bytes)

    @admin.display(description="took")
    def took(self, row: WebhookEventLog) -> SafeString:
        return markup.milliseconds(row.processing_time_ms)
