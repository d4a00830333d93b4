"""``manage.py execution_list``: what ran, and what is about to."""

from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand
from apps.core.markup import absolute, seconds_text
from apps.executions.api.serializers import SUMMARY_COLUMNS, summary_data
from apps.executions.models import Execution
from apps.executions.states import Status


class Command(ConsoleCommand):
    help = "List executions, the newest first."
    examples = """
Examples:
  manage.py execution_list
  manage.py execution_list --status failed --status timeout --limit 50
  manage.py execution_list --action core.echo
  manage.py execution_list --action 'core.*' --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--status", action="append", choices=Status.values, metavar="STATUS",
            help=f"only with this status; may be given many times. One of {', '.join(Status.values)}",
        )  # fmt: skip
        parser.add_argument("--action", metavar="REF", help="only of this action, or of a pack's: core.*")
        parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (20)")
        parser.add_argument("--json", action="store_true", help="print a JSON list, as the API gives it")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = Execution.objects.select_related("worker").only(*SUMMARY_COLUMNS, "worker__name").newest_first()
        if options["status"]:
            rows = rows.filter(status__in=options["status"])
        if ref := options["action"]:
            rows = rows.filter(pack_ref=ref[:-2]) if ref.endswith(".*") else rows.filter(action_ref=ref)
        found = list(rows[: max(0, options["limit"])])
        if options["json"]:
            self.write_json([summary_data(execution) for execution in found])
        elif found:
            self.write_table(
                ("id", "action", "status", "created (UTC)", "ran", "exit", "worker"),
                [
                    (row.pk, row.action_ref, row.status, absolute(row.created), _ran(row), row.exit_code, row.worker)
                    for row in found
                ],
            )
        else:
            self.stdout.write("No executions.")


def _ran(execution: Execution) -> str | None:
    return None if execution.duration_ms is None else seconds_text(execution.duration_ms / 1000)
