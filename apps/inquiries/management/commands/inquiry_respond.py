"""``manage.py inquiry_respond``: answer a question."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand, Problem, given_json, given_text
from apps.core.parameter_text import Parameter, declared_parameters, value_of
from apps.executions.models import Execution
from apps.identity.callers import Caller
from apps.identity.models import Identity
from apps.inquiries.api.serializers import InquirySerializer
from apps.inquiries.errors import InquiryNotFound
from apps.inquiries.models import Inquiry
from apps.inquiries.services import respond


class Command(ConsoleCommand):
    help = (
        "Answer a question; the execution that waits for it goes on.\n\n"
        "Without --as the answer is the operator's at this shell, which needs no grant, but a question that is assigned\n"
        "to somebody waits for that identity. With --as everything is as if that identity answered through the API.\n"
        "--set reads each value as the question's response schema says; --response takes any JSON."
    )
    examples = """
Examples:
  manage.py inquiry_respond 7 --response '{"approved": true}'
  manage.py inquiry_respond 7 --set approved=true --set comment="looks good"
  manage.py inquiry_respond 7 --set password=@secret.txt --as anna
  manage.py inquiry_respond 7 --response @answer.json --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="the inquiry; `manage.py inquiry_list` shows those that wait")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--response", metavar="JSON", help="the answer; @FILE reads it, @- from standard input")
        what.add_argument(
            "--set", action="append", metavar="NAME=VALUE", help="one value of the answer; NAME=@FILE reads it"
        )
        parser.add_argument(
            "--as", dest="login", metavar="LOGIN", help="who answers, with the rights of this identity"
        )
        parser.add_argument("--json", action="store_true", help="print the inquiry as JSON, as the API does")

    def handle(self, *_args: Any, **options: Any) -> None:
        inquiry = Inquiry.objects.filter(pk=options["id"]).first()
        if inquiry is None:
            raise InquiryNotFound(options["id"])
        answered = respond(inquiry.pk, _response(inquiry, options), caller=_caller(options["login"], inquiry))
        if options["json"]:
            self.write_json(InquirySerializer(answered).data)
            return
        self.stdout.write(f"Inquiry {answered.pk} is answered.")
        execution = Execution.objects.only("action_ref", "status").get(pk=answered.execution_id)
        self.stdout.write(f"Execution {execution.pk} of {execution.action_ref} is {execution.status}.")


def _response(inquiry: Inquiry, options: Mapping[str, Any]) -> Any:
    if options["response"] is not None:
        return given_json(options["response"], "--response")
    return _values(options["set"], {each.name: each for each in declared_parameters(inquiry.response_schema)})


def _values(given: Sequence[str], declared: Mapping[str, Parameter]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in given:
        name, separator, text = entry.partition("=")
        if not separator or not name:
            raise Problem("--set takes NAME=VALUE.")
        try:
            values[name] = value_of(declared.get(name), given_text(text))
        except ValueError as error:
            raise Problem(f"{name} {error}.") from None
    return values


def _caller(login: str | None, inquiry: Inquiry) -> Caller | None:
    if login is None:
        if inquiry.assigned_to is not None:
            raise Problem(f"Inquiry {inquiry.pk} is assigned to '{inquiry.assigned_to.login}'; --as says who answers.")
        return None
    identity = Identity.objects.filter(login=login, frozen=False).first()
    if identity is None:
        raise Problem(f"There is no identity '{login}', or it is frozen.")
    return Caller(holder=identity, token_type="access", login=identity.login)
