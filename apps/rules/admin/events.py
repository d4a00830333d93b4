"""Events: the list, the page of one with what rules made of it, replay, and a test against its rules."""

import uuid
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminExpandableTextareaWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.core import markup
from apps.core.admin import CreatedFilter, MachineRows, linked_filter
from apps.core.row_verbs import RowsWithVerbs, RowVerb
from apps.events.models import Event, Trigger
from apps.events.replay import AS_IT_WAS, replay_event
from apps.events.visibility import readable_events, trigger_facts_of
from apps.identity.grants import Facts, narrowed
from apps.identity.sessions import person_of
from apps.rules.admin.decided import shown_judgement
from apps.rules.admin.event_page import event_page
from apps.rules.admin.fields import JsonField
from apps.rules.admin.trying import obstacle
from apps.rules.drafts import draft_of_rule
from apps.rules.models import Rule, RuleDecision
from apps.rules.tester import stored_event, try_rule
from apps.rules.visibility import visible_rules

MATCHED_TRIGGERS = 50  # a search for a word that more triggers contain is too wide to be of use
TESTED_RULES = 50
MOST_UNDECIDED = 1000


class UndecidedFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("undecided", "Not decided yet")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        if self.value() != "undecided":
            return queryset
        # By the small index of undecided rows; together with the list's order SQLite would walk all events.
        newest = Event.objects.undecided().order_by("-pk").values_list("pk", flat=True)
        return queryset.filter(pk__in=list(newest[:MOST_UNDECIDED]))


class ReplayForm(forms.Form):
    """What ``POST /events/{id}/replay`` takes."""

    rule_ref = forms.ChoiceField(label="Rules that look at it", required=False, widget=UnfoldAdminSelectWidget)
    payload = JsonField(
        label="Another payload", required=False, widget=UnfoldAdminExpandableTextareaWidget,
        help_text="JSON. Leave it empty to send what was sent the first time.",
    )  # fmt: skip
    reason = forms.CharField(
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="Optional. It is written to the log.",
    )

    def __init__(self, data: Any, *, event: Event) -> None:
        super().__init__(data)
        refs = list(
            Rule.objects.filter(trigger_ref=event.trigger_ref).order_by("ref").values_list("ref", flat=True)[:500]
        )
        usual = f"{event.rule_ref}, as the first time" if event.rule_ref else "All enabled rules of the trigger"
        self.fields["rule_ref"].choices = [("", usual), *((ref, f"Only {ref}") for ref in refs)]  # type: ignore[attr-defined]


def _replay(event: Event, request: HttpRequest) -> Event:
    return replay_event(event, by=person_of(request).login, reason="console")


@admin.register(Event)
class EventAdmin(RowsWithVerbs, MachineRows):
    needs = {"view": "events:read", "replay": "triggers:update"}
    visible = staticmethod(lambda caller, rows: narrowed(rows, readable_events(caller)))
    open_to_all = True  # filtered: whoever may read a trigger reads its events
    verbs = {
        "replay": RowVerb(
            label="Replay",
            done="was sent again",
            asks="Each of them is sent once more, as a new event: enabled rules look at it and may start actions.",
            call=_replay,
        )
    }
    page_template = "admin/rules/event/page.html"
    list_display = ("name", "decided", "of_source", "of_rule", "created")
    list_display_links = None
    list_filter = (
        CreatedFilter, UndecidedFilter, linked_filter("trigger_ref", "trigger"), linked_filter("rule_ref", "rule"),
        linked_filter("source", "sensor"), linked_filter("replay_of", "replays of"), linked_filter("correlation_id", "correlation"),
    )  # fmt: skip
    list_defer = ("payload", "config")
    ordering = ("-created", "-id")
    search_fields = ("id",)  # how it searches stands below
    search_help_text = "Id, trigger, or a part of it"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        """Look things up by their indexes: a row's text is never scanned."""
        term = search_term.strip().removeprefix("#")
        if not term:
            return queryset, False
        if term.isdecimal():
            return queryset.filter(pk=term) if len(term) < 19 else queryset.none(), False
        try:
            return queryset.filter(correlation_id=uuid.UUID(term)), False
        except ValueError:
            pass  # no UUID
        known = Trigger.objects.filter(ref__icontains=term).order_by("ref").values_list("ref", flat=True)
        refs = list(known[:MATCHED_TRIGGERS])
        if not refs or term in refs:
            return queryset.filter(trigger_ref=term), False
        return queryset.filter(trigger_ref__in=refs), False

    def prepare(self, rows: Sequence[Any]) -> None:
        outcomes: dict[int, dict[str, int]] = defaultdict(dict)
        decisions = RuleDecision.objects.filter(event__in=[event.pk for event in rows]).order_by()
        for event_id, outcome, count in decisions.values_list("event", "outcome").annotate(count=Count("pk")):
            outcomes[event_id][outcome] = count
        for event in rows:
            event.outcomes = sorted(outcomes[event.pk].items())

    @admin.display(description="Event")
    def name(self, event: Event) -> SafeString:
        return format_html(
            '<a class="at-strong" href="{}">{}</a> <span class="at-muted at-number">#{}</span>',
            markup.page_of("events_event", event.pk), event.trigger_ref, event.pk,
        )  # fmt: skip

    @admin.display(description="What rules decided")
    def decided(self, event: Any) -> SafeString:
        if event.processed_at is None:
            return markup.badge("undecided")
        if not event.outcomes:
            return format_html('<span class="at-muted">{}</span>', "no rule looked at it")
        return markup.joined(
            markup.badge(outcome, text=f"{outcome} {count}" if count > 1 else outcome)
            for outcome, count in event.outcomes
        )

    @admin.display(description="From")
    def of_source(self, event: Event) -> SafeString:
        return markup.row_link("events_sensor", event.source_id, event.source_ref)

    @admin.display(description="Only for rule")
    def of_rule(self, event: Event) -> SafeString:
        return markup.row_link("rules_rule", event.rule, event.rule_ref)

    def subject(self, row: Event) -> Facts:
        return trigger_facts_of(row)

    # --- The page -----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        protect = self.admin_site.admin_view
        test = path("<int:pk>/test/", protect(self.test_view), name=self._name("test"))
        return [test, *super().get_urls()]

    def find(self, pk: int) -> Event | None:
        return Event.objects.select_related("trigger").filter(pk=pk).first()

    def page_context(self, row: Event, caller: Any) -> dict[str, Any]:
        return event_page(row, caller)

    def verb_view(self, request: HttpRequest, pk: int, name: str) -> HttpResponse:
        """Replay, with another payload or for one rule."""
        event = self.found(request, pk)
        if event is None:
            return self.gone(request, pk)
        self.guard(request, name, event)
        form = ReplayForm(request.POST if request.method == "POST" else None, event=event)
        if form.is_valid() and (new := self._replay(request, event, form.cleaned_data)) is not None:
            return HttpResponseRedirect(self.address("change", new.pk))
        return self.page(
            request, "admin/rules/event/replay.html", f"Replay {event}",
            original=event, event=event, form=form, back=self.address("change", pk),
        )  # fmt: skip

    def _replay(self, request: HttpRequest, event: Event, given: dict[str, Any]) -> Event | None:
        payload = AS_IT_WAS if given["payload"] is JsonField.NOTHING else given["payload"]
        verb = partial(
            replay_event, event, by=person_of(request).login, rule_ref=given["rule_ref"] or None, payload=payload,
            reason=given["reason"],
        )  # fmt: skip
        new: Event | None = self.attempt(request, verb, f"{event} was sent again; this is the new event.")
        return new

    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What each rule of the trigger would make of the event now; nothing is stored."""
        event = self.found(request, pk)
        if event is None:
            return self.gone(request, pk)
        rules = (
            visible_rules(self.caller(request))
            .filter(trigger_ref=event.trigger_ref)
            .select_related("pack", "action", "trigger")
        )
        chosen = list(rules.order_by("ref")[: TESTED_RULES + 1])
        return self.page(
            request, "admin/rules/event/test.html", f"Test {event}",
            original=event, event=event, tested=[_tested(rule, event) for rule in chosen[:TESTED_RULES]],
            more=len(chosen) > TESTED_RULES, back=self.address("change", pk),
        )  # fmt: skip


def _tested(rule: Rule, event: Event) -> dict[str, Any]:
    draft = draft_of_rule(rule, {})
    judgement = try_rule(draft, stored_event(draft, event.pk))
    return {
        "rule": rule,
        "shown": shown_judgement(judgement),
        "params": markup.json_block(judgement.shown_params),
        "matched": judgement.matched,
        "obstacle": obstacle(rule),
    }
