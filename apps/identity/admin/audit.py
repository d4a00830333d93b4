"""The audit trail."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import CreatedFilter, MachineRows, as_badge, as_json, as_time, linked_filter
from apps.identity import audit
from apps.identity.models import AuditEvent


@admin.register(AuditEvent)
class AuditEventAdmin(MachineRows):
    """The audit trail; whoever looks at it is in it."""

    needs = {"view": "audit_log:read"}
    list_display = (
        "created",
        "event_type",
        as_badge("outcome"),
        "actor",
        "actor_ip",
        "resource",
        "of_request",
        "took",
    )
    list_display_links = ("created",)
    list_filter = (
        "category", "outcome", CreatedFilter, linked_filter("event_type", "event type"),
        linked_filter("actor_identity", "actor"), linked_filter("request_id", "request"),
        linked_filter("resource_type", "kind of resource"), linked_filter("resource_id", "id of the resource"),
    )  # fmt: skip
    list_defer = ("details", "correlation_chain", "actor_user_agent")
    ordering = ("-created", "-id")
    search_fields = ("event_type__startswith", "request_id__exact", "actor_login__exact", "actor_ip__exact")
    search_help_text = "Type (its beginning); request id, login or address (whole)"
    fields = (
        as_time("created"), "event_type", "category", as_badge("outcome"), "actor", "actor_token_type", "actor_ip",
        "actor_user_agent", "resource", "of_request", "request_id", "same_request", "took", as_json("details"),
        as_json("correlation_chain", "what led to it"),
    )  # fmt: skip

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        audit.record("audit_log.read", details={"page": "list", "filters": dict(request.GET.items())})
        return super().changelist_view(request, extra_context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        audit.record("audit_log.read", details={"page": "event", "event": object_id})
        answer: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return answer

    @admin.display(description="actor")
    def actor(self, event: AuditEvent) -> str:
        return event.actor_login or (f"identity {event.actor_identity}" if event.actor_identity else markup.EMPTY)

    @admin.display(description="resource")
    def resource(self, event: AuditEvent) -> str:
        named = (event.resource_type, event.resource_ref or event.resource_id)
        return " ".join(str(part) for part in named if part is not None) or markup.EMPTY

    @admin.display(description="request")
    def of_request(self, event: AuditEvent) -> str:
        parts = (event.http_method, event.http_path, event.http_status)
        return " ".join(str(part) for part in parts if part is not None) or markup.EMPTY

    @admin.display(description="took")
    def took(self, event: AuditEvent) -> str:
        return markup.EMPTY if event.duration_ms is None else f"{event.duration_ms} ms"

    @admin.display(description="same request")
    def same_request(self, event: AuditEvent) -> SafeString | str:
        if event.request_id is None:
            return markup.EMPTY
        return markup.link(markup.list_of("identity_auditevent", request_id=event.request_id), "All events of it")
