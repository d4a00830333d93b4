"""The pages that try a rule: on one event or payload, and on the events of the past. Nothing is stored or run."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminExpandableTextareaWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
)

from apps.core import clock, markup
from apps.core.errors import AttuneError
from apps.events.models import Event
from apps.identity.callers import Caller
from apps.identity.grants import Facts
from apps.rules.admin.decided import Shown, shown_judgement
from apps.rules.admin.fields import ConditionsField, HoldingForm, JsonField, ObjectField, as_text
from apps.rules.admin.hiding import hide, restore
from apps.rules.backtest import Report, Span, backtest
from apps.rules.drafts import Draft, draft_of_rule
from apps.rules.models import Rule
from apps.rules.tester import imagined_event, stored_event, try_rule

MOST_EVENTS = 10_000
SHOWN_SAMPLES = 30
LONGEST_WORK_SECONDS = 10.0  # a page must come back while somebody waits for it
SPANS = {"1": "the last hour", "24": "the last 24 hours", "168": "the last 7 days", "720": "the last 30 days"}


class DraftFields(forms.Form):
    """The parts of a rule that can be tried before they are saved."""

    conditions = ConditionsField(
        required=False, help_text="An expression, or the JSON of a list or combination. Empty: always."
    )
    action_params = ObjectField(label="Parameters of the action", required=False)

    def __init__(self, data: Any = None, *, rule: Rule, initial: dict[str, Any] | None = None) -> None:
        shown = hide(self.schema_of(rule), rule.action_params)
        params = as_text(shown) if rule.action_params else ""
        own = {"conditions": ConditionsField.text_of(rule.conditions), "action_params": params}
        super().__init__(data, initial={**own, **(initial or {})})
        self.rule = rule

    @staticmethod
    def schema_of(rule: Rule) -> Any:
        return rule.action.param_schema if rule.action is not None else None

    def changes(self) -> dict[str, Any]:
        given = self.cleaned_data
        params = restore(self.schema_of(self.rule), given["action_params"], self.rule.action_params)
        return {"conditions": given["conditions"], "action_params": params}

    def draft(self) -> Draft:
        return draft_of_rule(self.rule, self.changes())


class TestForm(DraftFields):
    """One event to try the rule on."""

    asked_by: Caller  # set by the page

    event = forms.IntegerField(
        label="A stored event", required=False, min_value=1, max_value=2**63 - 1, widget=UnfoldAdminTextInputWidget,
        help_text="Its id.",
    )  # fmt: skip
    payload = JsonField(
        label="Or a payload", required=False, widget=UnfoldAdminExpandableTextareaWidget,
        help_text="JSON of an event that is made up. It wins over a stored one.",
    )  # fmt: skip

    def attempt(self) -> "Tried | None":
        """Return what the rule would make of it; None when that cannot be said, which the form then says."""
        draft, given = self.draft(), self.cleaned_data
        try:
            if given["payload"] is not JsonField.NOTHING:
                return _tried(self.rule, draft, imagined_event(draft, given["payload"], None), "this payload", None)
            if given["event"] is not None:
                self.asked_by.require("events:read", Facts(id=given["event"]))
                event = stored_event(draft, given["event"])
                return _tried(self.rule, draft, event, f"event #{event.id}", event.id)
        except AttuneError as error:
            self.add_error("event", error.message)
            return None
        self.add_error("event", "Name a stored event, or write a payload.")
        return None


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a draft would make of one event."""

    subject: str
    link: str | None
    shown: Shown
    matched: bool
    params: SafeString
    obstacle: str


def obstacle(rule: Rule) -> str:
    """Return why nothing would happen as the rule stands, whatever its conditions say; empty when something would."""
    if not rule.enabled:
        return "the rule is disabled"
    if rule.trigger is None or not rule.trigger.enabled:
        return "its trigger is disabled" if rule.trigger is not None else "its trigger was deleted"
    return "" if rule.action is not None else "its action was deleted"


def _tried(rule: Rule, draft: Draft, event: Any, subject: str, event_id: int | None) -> Tried:
    judgement = try_rule(draft, event)
    return Tried(
        subject=subject,
        link=markup.page_of("events_event", event_id),
        shown=shown_judgement(judgement),
        matched=judgement.matched,
        params=markup.json_block(judgement.shown_params),
        obstacle=obstacle(rule),
    )


def newest_event(rule: Rule) -> int | None:
    """Return the newest stored event of the rule's trigger, the likeliest to be tried."""
    events = Event.objects.filter(trigger_ref=rule.trigger_ref).newest_first()
    return events.values_list("pk", flat=True).first()


# --- Back-test ---------------------------------------------------------------------------------------------------


class BacktestForm(DraftFields, HoldingForm):
    """Which events of the past to try the rule on."""

    hours = forms.ChoiceField(label="Events of", choices=SPANS.items(), initial="24", widget=UnfoldAdminSelectWidget)

    def __init__(self, data: Any = None, *, rule: Rule, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, rule=rule, initial={**HoldingForm.holding_initial(rule), **(initial or {})})

    def changes(self) -> dict[str, Any]:
        return {**super().changes(), **self.holding()}

    def report(self) -> "Past":
        until = clock.now()
        span = Span(since=until - timedelta(hours=int(self.cleaned_data["hours"])), until=until, limit=MOST_EVENTS)
        draft = self.draft()
        return _past(backtest(draft, span, samples=SHOWN_SAMPLES, work_seconds=LONGEST_WORK_SECONDS))


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a draft would have made of the events of the past."""

    examined: int
    matched: int
    outcomes: list[tuple[SafeString, int, float, str]]
    hours: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    stopped_at: SafeString | None
    oldest: SafeString


def _past(report: Report) -> Past:
    total = report.events_examined or 1
    highest = max((bucket.events for bucket in report.buckets.values()), default=1)
    return Past(
        examined=report.events_examined,
        matched=sum(bucket.matched for bucket in report.buckets.values()),
        outcomes=[
            (markup.badge(outcome), count, 100 * count / total, outcome)
            for outcome, count in report.outcomes.most_common()
        ],
        hours=[
            {
                "at": markup.absolute(hour)[:16],
                "events": bucket.events,
                "matched": bucket.matched,
                "height": max(2, round(100 * bucket.events / highest)),
                "share": round(100 * bucket.matched / bucket.events) if bucket.events else 0,
            }
            for hour, bucket in sorted(report.buckets.items())
        ],
        samples=[
            {
                "event": markup.link(markup.page_of("events_event", sample.event), f"#{sample.event}"),
                "created": markup.when(sample.created),
                "badge": markup.badge(str(sample.judgement.outcome)),
                "reason": markup.cut(sample.judgement.reason, 200),
            }
            for sample in report.samples
        ],
        stopped_at=markup.when(report.next_since) if report.next_since is not None else None,
        oldest=markup.when(report.oldest_event_at),
    )
