"""Timers: when rules of timer triggers fire next, and how each due time went."""

from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import MachineRows, as_badge, as_time, linked_filter
from apps.events.admin.links import event_link, rule_link
from apps.events.models import Timer, TimerFire
from apps.events.visibility import with_rules
from apps.identity.grants import narrowed


@admin.register(Timer)
class TimerAdmin(MachineRows):
    needs = {"view": "rules:read"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, with_rules(caller)))
    list_display = (
        "of_rule", "schedule", as_badge("state"), as_time("next_fire_at", "next due"), as_time("last_fired_at", "last fired"),
        "fired", "missed", "short_error", "details",
    )  # fmt: skip
    list_display_links = None
    list_filter = ("state", "kind", linked_filter("rule", "rule"))
    ordering = ("rule_ref",)
    search_fields = ("rule_ref",)
    search_help_text = "A part of the rule's ref"
    fields = (
        "of_rule", "trigger_ref", "schedule", as_badge("state"), "error", as_time("next_fire_at", "next due"),
        as_time("last_due_at", "last due"), as_time("last_fired_at", "last fired"), "execution_count",
        "missed_count", as_time("last_missed_at", "last missed"), "timezone", "misfire", "misfire_grace_seconds", "misfire_limit",
        "dst_policy", as_time("anchored_at", "started"), as_time("start_at", "not before"), as_time("end_at", "not after"), "spec",
        "due_times",
    )  # fmt: skip

    @admin.display(description="rule")
    def of_rule(self, timer: Timer) -> SafeString:
        return rule_link(timer.rule, timer.rule_ref)

    @admin.display(description="fires")
    def schedule(self, timer: Timer) -> SafeString:
        return schedule_words(timer)

    @admin.display(description="missed")
    def missed(self, timer: Timer) -> SafeString:
        if not timer.missed_count:
            return markup.EMPTY
        title = f"the last {markup.relative(timer.last_missed_at)}" if timer.last_missed_at else ""
        return markup.badge(str(timer.missed_count), tone="warn", title=title)

    @admin.display(description="fired")
    def fired(self, timer: Timer) -> int:
        return timer.execution_count

    @admin.display(description="error")
    def short_error(self, timer: Timer) -> SafeString:
        return markup.cut(timer.error, 60)

    @admin.display(description="")
    def details(self, timer: Timer) -> SafeString:
        return markup.link(markup.page_of("events_timer", timer.pk), "Details")

    @admin.display(description="due times")
    def due_times(self, timer: Timer) -> SafeString:
        return markup.link(markup.list_of("events_timerfire", rule=timer.rule), "How each went")


def schedule_words(timer: Timer) -> SafeString:
    """Return when a timer fires, as its settings say it: ``every 5 minutes``, ``0 9 * * 1-5 (Europe/Berlin)``."""
    spec: dict[str, Any] = timer.spec if isinstance(timer.spec, dict) else {}
    match timer.kind:
        case "interval":
            text = f"every {spec.get('interval', '?')} {spec.get('unit', 'seconds')}"
        case "cron":
            text = str(spec.get("expression", "?"))
        case "datetime":
            text = f"once, at {spec.get('fire_at', '?')}"
        case _:
            text = str(spec.get("rule") or spec.get("freq") or "?")
    zone = "" if timer.timezone == "UTC" else f" ({timer.timezone})"
    return format_html('<span class="at-mono">{}</span>{}', text[:120], zone)


@admin.register(TimerFire)
class TimerFireAdmin(MachineRows):
    needs = {"view": "rules:read"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, with_rules(caller)))
    list_display = ("due_at", "of_rule", as_badge("outcome"), "late", "of_event")
    list_display_links = None
    list_filter = ("outcome", linked_filter("rule", "rule"), linked_filter("rule_ref", "rule"))
    ordering = ("-created", "-id")
    fields = ("of_rule", "due_at", "fired_at", "late", as_badge("outcome"), "of_event")

    @admin.display(description="rule")
    def of_rule(self, fire: TimerFire) -> SafeString:
        return rule_link(fire.rule, fire.rule_ref)

    @admin.display(description="late by")
    def late(self, fire: TimerFire) -> str:
        return markup.seconds_text(max(0.0, (fire.fired_at - fire.due_at).total_seconds()))

    @admin.display(description="event")
    def of_event(self, fire: TimerFire) -> SafeString:
        return event_link(fire.event_id)
