"""``manage.py timer_list``: which timers run, and when they fire next."""

from typing import Any

from django.core.management.base import CommandParser
from django.db.models import F

from apps.core import clock
from apps.core.commands import ConsoleCommand
from apps.core.markup import absolute
from apps.events.models import Timer, TimerState


class Command(ConsoleCommand):
    help = (
        "List the timers of rules, the next to fire first.\n\n"
        "active: it fires. stopped: its rule or trigger is disabled. finished: nothing is left to fire. invalid: its\n"
        "settings cannot be used, and the list says why. What is coming after the next firing shows\n"
        "GET /api/v1/rules/{ref}/upcoming."
    )
    examples = """
Examples:
  manage.py timer_list
  manage.py timer_list --state invalid
  manage.py timer_list --rule 'demo.*' --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--state", action="append", choices=TimerState.values, metavar="STATE",
            help=f"only in this state; may be given many times. One of {', '.join(TimerState.values)}",
        )  # fmt: skip
        parser.add_argument("--rule", metavar="REF", help="only of this rule, or of a pack's: demo.*")
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = Timer.objects.order_by(F("next_fire_at").asc(nulls_last=True), "rule_ref")
        if options["state"]:
            rows = rows.filter(state__in=options["state"])
        if ref := options["rule"]:
            rows = rows.filter(rule_ref__startswith=ref[:-1]) if ref.endswith(".*") else rows.filter(rule_ref=ref)
        timers = list(rows)
        if options["json"]:
            self.write_json([_data(timer) for timer in timers])
        elif timers:
            self.write_table(
                ("rule", "kind", "state", "next (UTC)", "last fired (UTC)", "fired", "missed", "time zone", "error"),
                [_row(timer) for timer in timers],
            )
        else:
            self.stdout.write("No timers.")


def _row(timer: Timer) -> tuple[Any, ...]:
    moments = (timer.next_fire_at, timer.last_fired_at)
    return (
        timer.rule_ref,
        timer.kind,
        timer.state,
        *(absolute(moment) if moment is not None else None for moment in moments),
        timer.execution_count,
        timer.missed_count,
        timer.timezone,
        timer.error,
    )


def _data(timer: Timer) -> dict[str, Any]:
    plain = (
        "rule",
        "rule_ref",
        "trigger_ref",
        "kind",
        "state",
        "error",
        "timezone",
        "execution_count",
        "missed_count",
    )
    moments = ("anchored_at", "next_fire_at", "last_due_at", "last_fired_at", "last_missed_at")
    return {name: getattr(timer, name) for name in plain} | {
        name: clock.as_text(getattr(timer, name)) for name in moments
    }
