"""``manage.py rule_test``: try a rule on an event, a payload or the events of the past."""

import json
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandParser

from apps.core import clock
from apps.core.commands import ConsoleCommand, Problem, given_json
from apps.core.markup import absolute
from apps.events.models import Event
from apps.rules.backtest import Report, Span, backtest
from apps.rules.drafts import Draft, draft_of_rule
from apps.rules.judging import EventView, Judgement
from apps.rules.models import Rule
from apps.rules.tester import imagined_event, stored_event, try_rule

NOT_MATCHED = 1
_MOST_EVENTS = 100_000
_MARKS = {True: "yes", False: "no", None: "-"}


class Command(ConsoleCommand):
    help = (
        "Try a rule: what it would make of an event, criterion by criterion. Nothing is stored and nothing runs.\n\n"
        "Without --event and --payload the newest stored event of the rule's trigger is taken. The rule is judged as if\n"
        "rule and trigger were enabled. The exit status is 0 when it matches, 1 when it does not, 2 when this command\n"
        "was used wrongly."
    )
    examples = """
Examples:
  manage.py rule_test disk.alert
  manage.py rule_test disk.alert --event 42
  manage.py rule_test disk.alert --payload '{"host": "db1", "free_mb": 812}'
  manage.py rule_test disk.alert --payload @event.json --conditions '{"expression": "event.payload.free_mb < 1000"}'
  manage.py rule_test disk.alert --past 48
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ref", help="the rule, e.g. disk.alert")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--event", type=int, metavar="ID", help="a stored event")
        what.add_argument("--payload", metavar="JSON", help="an event that is made up; @FILE reads it, @- from stdin")
        what.add_argument("--past", type=float, metavar="HOURS", help="all stored events of the last hours")
        parser.add_argument("--conditions", metavar="JSON", help="other conditions than the rule's")
        parser.add_argument("--params", metavar="JSON", help="other action_params than the rule's")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        draft = _draft(options)
        if options["past"] is not None:
            matched = self._past(draft, options["past"], as_json=options["json"])
        else:
            matched = self._one(draft, _event(draft, options), as_json=options["json"])
        sys.exit(0 if matched else NOT_MATCHED)

    def _one(self, draft: Draft, event: EventView, *, as_json: bool) -> bool:
        judgement = try_rule(draft, event)
        if as_json:
            self.write_json(_told(draft, event, judgement))
            return judgement.matched
        subject = f"event {event.id}" if event.id is not None else "this payload"
        self.stdout.write(f"Rule {draft.rule_ref} on {subject}: {judgement.outcome}")
        if judgement.reason:
            self.stdout.write(f"  {judgement.reason}")
        if not draft.rule_enabled or not draft.trigger_enabled:
            who = "the rule" if not draft.rule_enabled else "its trigger"
            self.stdout.write(f"  (but {who} is disabled or gone, so nothing would happen)")
        if judgement.steps:
            self.stdout.write("")
            self.write_table(("holds", "criterion", "found"), [_row(step) for step in judgement.steps])
        if judgement.matched:
            self._block("Parameters", judgement.shown_params)
        for warning in judgement.params_warnings:
            self.stdout.write(f"  {warning.get('path')}: {warning.get('error')}")
        return judgement.matched

    def _past(self, draft: Draft, hours: float, *, as_json: bool) -> bool:
        if not 0 < hours <= 24 * 30:
            raise Problem("--past takes from 0 to 720 hours.")
        until = clock.now()
        span = Span(since=until - timedelta(hours=hours), until=until, limit=_MOST_EVENTS)
        report = backtest(draft, span, samples=10)
        matches = sum(bucket.matched for bucket in report.buckets.values())
        if as_json:
            self.write_json({"events_examined": report.events_examined, "outcomes": dict(report.outcomes)})
        else:
            self._report(draft, report)
        return matches > 0

    def _report(self, draft: Draft, report: Report) -> None:
        self.stdout.write(f"Rule {draft.rule_ref} on {report.events_examined} events:")
        for outcome, number in report.outcomes.most_common():
            self.stdout.write(f"  {outcome:<15}{number}")
        if report.next_since is not None:
            self.stdout.write(f"It stopped before the events of {absolute(report.next_since)} UTC.")
        if report.samples:
            self.stdout.write("")
            rows = [
                (sample.event, f"{absolute(sample.created)} UTC", sample.judgement.outcome, sample.judgement.reason)
                for sample in report.samples
            ]
            self.write_table(("event", "created", "outcome", "reason"), rows)

    def _block(self, head: str, value: Any) -> None:
        self.stdout.write(f"\n{head}\n{json.dumps(value, indent=2, ensure_ascii=False, default=str)}")


def _draft(options: Mapping[str, Any]) -> Draft:
    rule = Rule.objects.select_related("pack", "action", "trigger").filter(ref=options["ref"]).first()
    if rule is None:
        raise Problem(f"There is no rule '{options['ref']}'.")
    changes: dict[str, Any] = {}
    if options["conditions"] is not None:
        changes["conditions"] = given_json(options["conditions"], "--conditions")
        if not isinstance(changes["conditions"], dict | list):
            raise Problem("--conditions must be a JSON object or list.")
    if options["params"] is not None:
        changes["action_params"] = given_json(options["params"], "--params")
        if not isinstance(changes["action_params"], dict):
            raise Problem("--params must be a JSON object.")
    return draft_of_rule(rule, changes)


def _event(draft: Draft, options: Mapping[str, Any]) -> EventView:
    if options["payload"] is not None:
        return imagined_event(draft, given_json(options["payload"], "--payload"), None)
    event_id = options["event"]
    if event_id is None:
        newest = Event.objects.filter(trigger_ref=draft.trigger_ref).order_by("-created", "-id")
        event_id = newest.values_list("pk", flat=True).first()
        if event_id is None:
            raise Problem(f"There is no event of trigger '{draft.trigger_ref}' yet; try --payload.")
    return stored_event(draft, event_id)


def _told(draft: Draft, event: EventView, judgement: Judgement) -> dict[str, Any]:
    return {
        "rule_ref": draft.rule_ref,
        "event": event.id,
        "outcome": judgement.outcome,
        "matched": judgement.matched,
        "reason": judgement.reason,
        "error": judgement.error,
        "trace": list(judgement.steps),
        "rendered_params": judgement.shown_params,
        "params_warnings": list(judgement.params_warnings),
    }


def _row(step: Mapping[str, Any]) -> tuple[str, str, str | None]:
    mark = _MARKS.get(step.get("result"), "-")
    match step.get("kind"):
        case "field":
            criterion = f"{step.get('field')} {step.get('operator')} {_short(step.get('value'))}"
            found = step.get("error") or _short(step.get("actual"))
        case "expression":
            criterion = str(step.get("expression"))
            operands = (f"{read.get('path')} = {_short(read.get('value'))}" for read in step.get("operands") or ())
            found = step.get("error") or ", ".join(operands)
        case _:
            criterion, found = "always", None
    return mark, criterion, found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."
