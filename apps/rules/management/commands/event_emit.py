"""``manage.py event_emit``: send an event from the shell, and see what rules make of it."""

import sys
from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand, Problem, given_json
from apps.events.api.serializers import event_data
from apps.events.models import Event, Trigger
from apps.events.rule_port import RuleUse, rule_port
from apps.events.services import EventRequest, store_event
from apps.executions.following import Following, Readers, exit_code_of
from apps.executions.logs import Stream
from apps.executions.models import Execution
from apps.rules.api.decisions import shown_decisions
from apps.rules.models import Rule, RuleDecision

SOURCE = "event_emit"
NOTHING_STARTED = 1


class Command(ConsoleCommand):
    help = (
        "Send an event and print what each rule made of it.\n\n"
        "The event is stored and decided like any other, by this command itself; the executions that follow are run by\n"
        "a worker: one works inside `manage.py up`. To see what a rule would do without doing it: `manage.py rule_test`.\n\n"
        "With --wait the command stays until all executions have ended and prints their output; the exit status is that\n"
        "of the first that did not complete, 1 when nothing was started, 2 when this command was used wrongly. Ctrl-C\n"
        "leaves them to themselves."
    )
    examples = """
Examples:
  manage.py event_emit disk.full --payload '{"host": "db1", "free_mb": 12}'
  manage.py event_emit disk.full --payload @event.json --wait
  df --output=avail / | jq -nR '{free: input}' | manage.py event_emit disk.full --payload -
  manage.py event_emit disk.full --rule disk.alert --payload '{"host": "db1"}'
  manage.py event_emit disk.full --json | jq '.decisions[] | {rule_ref, outcome, reason}'
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("trigger_ref", help="what happened, e.g. disk.full (GET /api/v1/triggers lists them)")
        parser.add_argument(
            "--payload", metavar="JSON", help="what it carries; @FILE reads it from a file, - from standard input"
        )
        parser.add_argument("--rule", metavar="REF", help="only this rule looks at the event")
        parser.add_argument("--wait", action="store_true", help="wait for the executions and print their output")
        parser.add_argument("--json", action="store_true", help="print event and decisions as JSON, as the API does")

    def handle(self, *_args: Any, **options: Any) -> None:
        event = store_event(_request(options))
        decisions = list(RuleDecision.objects.filter(event=event.pk).order_by("rule_ref", "pk"))
        shown = shown_decisions(decisions)
        if options["json"]:
            self.write_json({"event": event_data(event), "decisions": shown})
        else:
            self._print(event, shown)
        if options["wait"]:
            sys.exit(self._wait([pk for decision in shown for pk in decision["executions"]], options))

    def _print(self, event: Event, decisions: list[dict[str, Any]]) -> None:
        self.stdout.write(f"Event {event.pk} of {event.trigger_ref} was stored.")
        if event.processed_at is None:
            self._remark("Its rules could not be decided now; the scheduler tries again")
        elif not decisions:
            self.stdout.write(_nobody(event))
        for decision in decisions:
            executions = ", ".join(str(pk) for pk in decision["executions"])
            came_of_it = f", execution {executions}" if executions else ""
            self.stdout.write(f"  {decision['rule_ref']}: {decision['outcome']}{came_of_it}")
            if decision["reason"]:
                self.stdout.write(f"    {decision['reason']}")
            for warning in decision["params_warnings"]:
                self.stdout.write(f"    {warning.get('path')}: {warning.get('error')}")

    def _wait(self, executions: list[int], options: Mapping[str, Any]) -> int:
        output = None if options["json"] else self._output
        codes = []
        for pk in executions:
            with Following(pk, Readers(output=output, remark=self._remark)) as following:
                ended = following.until_end()
            codes.append(exit_code_of(ended))
            self._remark(f"Execution {pk} of {ended.action_ref} ended {ended.status}{_why(ended)}")
        if not codes:
            self._remark("Nothing was started")
            return NOTHING_STARTED
        return next((code for code in codes if code), 0)

    def _output(self, stream: Stream, text: str) -> None:
        place = self.stdout if stream == "stdout" else self.stderr
        place.write(text, style_func=str, ending="")
        place.flush()

    def _remark(self, sentence: str) -> None:
        self.stderr.write(f"attune: {sentence}", style_func=str)
        self.stderr.flush()


def _request(options: Mapping[str, Any]) -> EventRequest:
    trigger = Trigger.objects.filter(ref=options["trigger_ref"]).first()
    if trigger is None:
        raise Problem(_unknown(options["trigger_ref"]))
    return EventRequest(
        trigger=trigger, payload=_payload(options["payload"]), source_ref=SOURCE, rule=_rule(options["rule"], trigger)
    )


def _payload(given: str | None) -> Any:
    return None if given is None else given_json("@-" if given == "-" else given, "--payload")


def _rule(ref: str | None, trigger: Trigger) -> RuleUse | None:
    if ref is None:
        return None
    rule = rule_port.by_ref(ref)
    if rule is None:
        raise Problem(f"There is no rule '{ref}'.")
    if rule.trigger_ref != trigger.ref:
        raise Problem(f"Rule '{ref}' has another trigger: {rule.trigger_ref}.")
    return rule


def _unknown(ref: str) -> str:
    near = Trigger.objects.filter(ref__icontains=ref.rpartition(".")[2] or ref).order_by("ref")
    names = list(near.values_list("ref", flat=True)[:5]) or list(
        Trigger.objects.order_by("ref").values_list("ref", flat=True)[:5]
    )
    hint = f" There is, for example: {', '.join(names)}." if names else " No trigger is registered yet."
    return f"There is no trigger '{ref}'.{hint}"


def _nobody(event: Event) -> str:
    """Return why no rule looked at the event, as a sentence."""
    refs = list(Rule.objects.filter(trigger_ref=event.trigger_ref).order_by("ref").values_list("ref", flat=True)[:5])
    if not refs:
        return "No rule uses this trigger."
    return f"No rule looked at it: {', '.join(refs)} {'is' if len(refs) == 1 else 'are'} disabled."


def _why(execution: Execution) -> str:
    """Return the error as the end of a sentence; of one that is long, its last line."""
    result = execution.result if isinstance(execution.result, dict) else {}
    lines = str(result.get("error") or "").strip().splitlines()
    return f": {lines[-1]}" if lines and execution.status != "completed" else ""
