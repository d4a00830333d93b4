"""What rules leave behind: decisions, enforcements, and the windows they count in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from apps.core import markup
from apps.core.admin import CreatedFilter, MachineRows, as_badge, as_time, linked_filter
from apps.events.admin.links import event_link
from apps.events.models import Trigger
from apps.identity.grants import narrowed, under
from apps.rules.admin.decided import execution_marks, executions_of, shown_decision
from apps.rules.models import Enforcement, Outcome, Rule, RuleDecision, RuleWindow
from apps.rules.visibility import readable, readable_enforcements, with_their_rule

LONGEST_REASON = 160
SEARCHED_DECISIONS = 100_000  # by outcome, which has no index: some 30 ms


class OutcomeFilter(admin.SimpleListFilter):
    """Decisions by outcome; of all rules together only among the newest, since most outcomes are rare."""

    title = "outcome"
    parameter_name = "outcome"
    NARROWING = ("rule", "rule_ref", "event", "enforcement")  # each has its index

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(request, *args)
        self.narrowed = any(name in request.GET for name in self.NARROWING)
        if not self.narrowed:
            self.title = f"outcome (of the newest {SEARCHED_DECISIONS:,})"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in Outcome.values]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[RuleDecision]") -> "QuerySet[RuleDecision]":
        outcome = self.value()
        if outcome not in Outcome.values:
            return queryset
        if not self.narrowed and (oldest := _oldest_searched()) is not None:
            queryset = queryset.filter(created__gte=oldest)
        return queryset.filter(outcome=outcome)


def _oldest_searched() -> datetime | None:
    """Return from when on decisions are searched by outcome; None: all of them."""
    newest = RuleDecision.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    rows = RuleDecision.objects.filter(pk__lte=newest - SEARCHED_DECISIONS).order_by("-pk")
    return rows.values_list("created", flat=True).first()


@admin.register(RuleDecision)
class RuleDecisionAdmin(MachineRows):
    needs = {"view": "rules:read"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, with_their_rule(caller)))
    list_display = ("created", as_badge("outcome"), "of_rule", "of_event", "why", "short_key", "of_enforcement")
    list_display_links = ("created",)
    list_filter = (
        OutcomeFilter, CreatedFilter, linked_filter("rule", "rule"), linked_filter("rule_ref", "rule"), linked_filter("event", "event"),
        linked_filter("enforcement", "enforcement"),
    )  # fmt: skip
    list_defer = ("criteria", "params_warnings", "error")
    ordering = ("-created", "-id")
    fields = (
        "of_rule",
        "of_event",
        as_badge("outcome"),
        "judgement",
        "of_enforcement",
        "executions",
        "took",
        "created",
    )

    @admin.display(description="rule")
    def of_rule(self, decision: RuleDecision) -> SafeString:
        return markup.row_link("rules_rule", decision.rule_id, decision.rule_ref)

    @admin.display(description="event")
    def of_event(self, decision: RuleDecision) -> SafeString:
        return markup.joined((event_link(decision.event), decision.trigger_ref))

    @admin.display(description="why")
    def why(self, decision: RuleDecision) -> str | SafeString:
        return markup.cut(decision.reason, LONGEST_REASON)

    @admin.display(description="key")
    def short_key(self, decision: RuleDecision) -> str | SafeString:
        return markup.cut(decision.key, 40)

    @admin.display(description="enforcement")
    def of_enforcement(self, decision: RuleDecision) -> SafeString:
        pk = decision.enforcement_id
        return markup.row_link("rules_enforcement", pk, pk and f"#{pk}")

    @admin.display(description="what it made of it")
    def judgement(self, decision: RuleDecision) -> SafeString:
        return render_to_string("admin/rules/judgement.html", {"shown": shown_decision(decision)})

    @admin.display(description="executions")
    def executions(self, decision: Any) -> SafeString:
        pk = decision.enforcement_id
        return execution_marks(executions_of([pk], decision.seen_by).get(pk, []) if pk is not None else [])

    @admin.display(description="took")
    def took(self, decision: RuleDecision) -> str:
        return f"{decision.duration_us / 1000:.1f} ms"


@admin.register(Enforcement)
class EnforcementAdmin(MachineRows):
    needs = {"view": "enforcements:read"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_enforcements(caller)))
    list_display = ("name", as_badge("status"), "of_rule", "of_event", "executions", "created")
    list_filter = (
        "status", CreatedFilter, linked_filter("rule", "rule"), linked_filter("rule_ref", "rule"),
        linked_filter("trigger_ref", "trigger"), linked_filter("event", "event"),
    )  # fmt: skip
    list_defer = ("config", "payload", "conditions")
    ordering = ("-created", "-id")
    fields = (
        "of_rule", "of_event", as_badge("status"), "why", "executions", "config", "shown_payload", "conditions",
        "created", as_time("resolved_at", "processed"),
    )  # fmt: skip

    def prepare(self, rows: Sequence[Any]) -> None:
        executions = executions_of([row.pk for row in rows], rows[0].seen_by) if rows else {}
        for row in rows:
            row.executions = executions.get(row.pk, [])

    @admin.display(description="enforcement")
    def name(self, row: Enforcement) -> str:
        return f"#{row.pk}"

    @admin.display(description="rule")
    def of_rule(self, row: Enforcement) -> SafeString:
        return markup.row_link("rules_rule", row.rule_id, row.rule_ref)

    @admin.display(description="event")
    def of_event(self, row: Enforcement) -> SafeString:
        return markup.joined((event_link(row.event), row.trigger_ref))

    @admin.display(description="executions")
    def executions(self, row: Any) -> SafeString:
        found = getattr(row, "executions", None)
        return execution_marks(executions_of([row.pk], row.seen_by).get(row.pk, []) if found is None else found)

    @admin.display(description="because")
    def why(self, row: Enforcement) -> str | SafeString:
        decision = RuleDecision.objects.filter(enforcement=row.pk).only("reason").first()
        return (decision.reason if decision is not None else None) or markup.EMPTY

    @admin.display(description="payload")
    def shown_payload(self, row: Enforcement) -> SafeString:
        schema = Trigger.objects.filter(ref=row.trigger_ref).values_list("out_schema", flat=True).first()
        return markup.json_block(markup.without_secrets(schema, row.payload))


@admin.register(RuleWindow)
class RuleWindowAdmin(MachineRows):
    needs = {"view": "rules:read"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, under("rule", Rule.objects.all(), readable(caller))))
    list_display = (
        "of_rule",
        "kind",
        "group_key",
        as_time("window_start", "counted"),
        as_time("expires_at", "forgotten"),
    )
    list_filter = ("kind", linked_filter("rule", "rule"))
    list_select_related = ("rule",)
    ordering = ("-id",)

    @admin.display(description="rule")
    def of_rule(self, row: RuleWindow) -> SafeString:
        return markup.row_link("rules_rule", row.rule_id, row.rule)
