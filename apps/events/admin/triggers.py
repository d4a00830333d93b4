"""Triggers: on or off, their webhook, the rules that use them, their latest events."""

import json
from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import MachineRows, as_time
from apps.core.parameter_text import declared_parameters
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.events import triggers
from apps.events.admin.links import event_link, rule_link, rules_panel
from apps.events.models import Trigger, WebhookEventLog
from apps.events.rule_port import rule_port
from apps.events.visibility import readable, visible_events
from apps.events.webhooks import editing, services, traces
from apps.identity.grants import narrowed

SHOWN_EVENTS = 10
SHOWN_REQUESTS = 8

VERBS = {
    "enable": RowVerb(
        label="Enable",
        done="is enabled",
        offered=lambda trigger: not trigger.enabled,
        call=lambda trigger, _request: triggers.set_enabled(trigger, enabled=True),
    ),
    "disable": RowVerb(
        label="Disable",
        done="is disabled",
        asks="Its events are still stored, but no rule fires on them, and its timers stop.",
        offered=lambda trigger: trigger.enabled,
        call=lambda trigger, _request: triggers.set_enabled(trigger, enabled=False),
    ),
    "webhook-on": RowVerb(
        label="Enable webhook",
        done="takes webhooks",
        offered=lambda trigger: not trigger.webhook_enabled,
        call=lambda trigger, _request: services.enable(trigger),
    ),
    "webhook-new-key": RowVerb(
        label="New webhook key",
        done="has a new webhook key",
        asks="The old URL is dead at once: every sender has to be given the new one.",
        danger=True,
        in_list=False,
        offered=lambda trigger: trigger.webhook_enabled,
        call=lambda trigger, _request: services.regenerate(trigger),
    ),
    "webhook-off": RowVerb(
        label="Disable webhook",
        done="takes no webhooks any more",
        asks="The URL is dead at once and its key is forgotten; enabling the webhook again makes another one. "
        "The settings stay.",
        danger=True,
        offered=lambda trigger: trigger.webhook_enabled,
        call=lambda trigger, _request: services.disable(trigger),
    ),
}


@admin.register(Trigger)
class TriggerAdmin(RowsWithVerbs, MachineRows):
    needs = {"view": "triggers:read", **dict.fromkeys((*VERBS, "webhook"), "triggers:update")}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable(caller)))
    verbs = VERBS
    page_template = "admin/events/trigger/page.html"
    list_display = ("ref", "label", "of_pack", "state", "webhook", "served_by", "rule_count", as_time("updated"))
    list_filter = ("enabled", "webhook_enabled", "is_adhoc", "pack")
    list_defer = ("param_schema", "out_schema", "webhook_config", "description")
    list_select_related = ("pack", "sensor")
    ordering = ("ref",)
    search_fields = ("ref", "label")
    search_help_text = "Ref or label"

    def prepare(self, rows: Sequence[Any]) -> None:
        used = rule_port.of_triggers([trigger.ref for trigger in rows], enabled_only=False)
        for trigger in rows:
            own = [rule for rule in used if rule.trigger_ref == trigger.ref]
            trigger.rule_counts = (sum(rule.enabled for rule in own), len(own))

    @admin.display(description="pack", ordering="pack_ref")
    def of_pack(self, trigger: Trigger) -> SafeString:
        return markup.row_link("packs_pack", trigger.pack_id, trigger.pack_ref)

    @admin.display(description="state")
    def state(self, trigger: Trigger) -> SafeString:
        return markup.badge("enabled" if trigger.enabled else "disabled")

    @admin.display(description="webhook")
    def webhook(self, trigger: Trigger) -> str | SafeString:
        if not trigger.webhook_enabled:
            return markup.EMPTY
        return traces.shortened(trigger.webhook_key or "")

    @admin.display(description="sensor")
    def served_by(self, trigger: Trigger) -> SafeString:
        return markup.row_link("events_sensor", trigger.sensor_id, trigger.sensor_ref)

    @admin.display(description="rules")
    def rule_count(self, trigger: Any) -> SafeString | str:
        enabled, count = trigger.rule_counts
        if not count:
            return markup.EMPTY
        return f"{enabled}" if enabled == count else f"{enabled} of {count}"

    # --- The page -----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        reveal = path(
            "<int:pk>/webhook-url/", self.admin_site.admin_view(self.url_view), name=self._name("webhook_url")
        )
        return [reveal, *super().get_urls()]

    def url_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """How to send to the webhook; fetched when somebody asks to see it, so that no page shows a key by itself."""
        trigger = self.found(request, pk)
        self.guard(request, "webhook", trigger)
        url = services.url_of(trigger) if trigger is not None else None
        return HttpResponse(markup.code_block(_example(url) if url is not None else "The webhook is off."))

    def find(self, pk: int) -> Trigger | None:
        return Trigger.objects.select_related("pack", "sensor").filter(pk=pk).first()

    def page_context(self, row: Trigger, caller: Any) -> dict[str, Any]:
        return {
            "state": self.state(row),
            "webhook": _webhook(row, may_change=caller.allows("triggers:update", row)),
            "events": _latest_events(row, caller),
            "all_events": markup.list_of("events_event", trigger_ref=row.ref),
            "all_rules": markup.list_of("rules_rule", trigger_ref=row.ref),
            "new_rule": markup.page_named("admin:rules_rule_add", trigger_ref=row.ref),
            "settings": declared_parameters(row.param_schema),
            "payload_fields": declared_parameters(row.out_schema),
            "param_schema": markup.json_block(row.param_schema),
            "out_schema": markup.json_block(row.out_schema),
            "facts": _facts(row),
            **rules_panel([row.ref], caller),
        }


def _facts(trigger: Trigger) -> list[tuple[str, Any]]:
    return [
        ("Pack", markup.row_link("packs_pack", trigger.pack_id, trigger.pack_ref)),
        ("Sensor", markup.row_link("events_sensor", trigger.sensor_id, trigger.sensor_ref)),
        ("Made by hand", "yes" if trigger.is_adhoc else "no"),
        ("Created", markup.when(trigger.created)),
        ("Updated", markup.when(trigger.updated)),
    ]


def _latest_events(trigger: Trigger, caller: Any) -> list[dict[str, Any]]:
    rows = visible_events(caller).filter(trigger_ref=trigger.ref).newest_first()
    found = rows.only("id", "created", "source_ref", "rule", "rule_ref", "processed_at")[:SHOWN_EVENTS]
    return [
        {
            "link": event_link(event.pk),
            "source": event.source_ref or markup.EMPTY,
            "rule": rule_link(event.rule, event.rule_ref),
            "created": markup.when(event.created),
        }
        for event in found
    ]


def _webhook(trigger: Trigger, *, may_change: bool) -> dict[str, Any]:
    requests = WebhookEventLog.objects.filter(trigger=trigger).order_by("-created", "-id")
    latest = list(requests.defer("headers")[:SHOWN_REQUESTS]) if may_change else []
    return {
        "on": trigger.webhook_enabled,
        "may_change": may_change,
        "short_key": traces.shortened(trigger.webhook_key or ""),
        "config": markup.json_block(editing.shown(trigger.webhook_config)),
        "requests": latest,
        "all_requests": markup.list_of("events_webhookeventlog", trigger=trigger.pk),
    }


def _example(url: str) -> str:
    body = json.dumps({"payload": {"message": "hello"}})
    return f"curl -X POST {url} \\\n     -d '{body}'"
