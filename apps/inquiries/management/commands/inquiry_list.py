"""``manage.py inquiry_list``: what waits for an answer."""

from typing import Any

from django.core.management.base import CommandParser

from apps.core import clock
from apps.core.commands import ConsoleCommand, Problem
from apps.core.markup import relative
from apps.identity.models import Identity
from apps.inquiries.api.serializers import InquirySummarySerializer
from apps.inquiries.models import Inquiry, InquiryStatus

ALL = "all"
_LONGEST_PROMPT = 60


class Command(ConsoleCommand):
    help = (
        "List questions to people: those that wait for an answer, the newest first.\n\n"
        "An execution of core.ask (a task of a workflow) asks and waits; others may have been asked about through the\n"
        "API. `manage.py inquiry_respond` answers; so do the console and POST /api/v1/inquiries/<id>/respond."
    )
    examples = """
Examples:
  manage.py inquiry_list
  manage.py inquiry_list --for anna
  manage.py inquiry_list --status all --limit 200
  manage.py inquiry_list --json | jq '.[] | select(.timeout_at != null) | .id'
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--status", choices=[*InquiryStatus.values, ALL], default=InquiryStatus.PENDING.value,
            help="which of them (default: pending)",
        )  # fmt: skip
        parser.add_argument("--for", dest="login", metavar="LOGIN", help="only those assigned to this identity")
        parser.add_argument("--execution", type=int, metavar="ID", help="only that of this execution")
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default: 50)")
        parser.add_argument("--json", action="store_true", help="print JSON, as the API does")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = Inquiry.objects.newest_first().select_related("assigned_to").defer("response", "response_schema")
        if options["status"] != ALL:
            rows = rows.filter(status=options["status"])
        if options["login"] is not None:
            rows = rows.filter(assigned_to=_identity(options["login"]))
        if options["execution"] is not None:
            rows = rows.filter(execution=options["execution"])
        found = list(rows[: max(0, options["limit"])])
        if options["json"]:
            self.write_json([InquirySummarySerializer(row).data for row in found])
        elif found:
            self.write_table(("id", "status", "execution", "for", "deadline", "question"), map(_cells, found))
        else:
            self.stdout.write("Nothing waits for an answer." if options["status"] == "pending" else "There are none.")


def _cells(inquiry: Inquiry) -> tuple[Any, ...]:
    prompt = " ".join(inquiry.prompt.split())
    shown = prompt if len(prompt) <= _LONGEST_PROMPT else f"{prompt[:_LONGEST_PROMPT]}…"
    deadline = relative(inquiry.timeout_at, clock.now()) if inquiry.timeout_at is not None else None
    login = inquiry.assigned_to.login if inquiry.assigned_to is not None else "anybody"
    return inquiry.pk, inquiry.status, inquiry.execution_id, login, deadline, shown


def _identity(login: str) -> Identity:
    identity = Identity.objects.filter(login=login).first()
    if identity is None:
        raise Problem(f"There is no identity '{login}'.")
    return identity
