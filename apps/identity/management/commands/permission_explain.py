"""``manage.py permission_explain``: may somebody do that, and why?"""

import sys
from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand, Problem, given_text
from apps.core.errors import GateError
from apps.identity.authentication import caller_of, read
from apps.identity.callers import Caller
from apps.identity.grants.explaining import Explanation, explain
from apps.identity.models import Identity

REFUSED = 1


class Command(ConsoleCommand):
    help = (
        "Say whether an identity, or the holder of a token, may do something, and which permission set, role and\n"
        "constraint decide about it; or what is missing.\n\n"
        "The exit status is 0 when it may, 1 when it may not, 2 when this command was used wrongly."
    )
    examples = """
Examples:
  manage.py permission_explain anna packs:create                 (on some pack at all)
  manage.py permission_explain anna actions:execute shop.restock
  manage.py permission_explain 17 executions:cancel 4711         (identity and execution by their ids)
  manage.py permission_explain --token @token.txt keys:read shop.password
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("words", nargs="+", metavar="IDENTITY resource:action [REF]",
                            help="who (login or id; not with --token), what, and on which object")  # fmt: skip
        parser.add_argument("--token", help="an access or execution token instead of an identity; @FILE reads it")
        parser.add_argument("--json", action="store_true", help="print the answer as JSON, as the API does")

    def handle(self, *_args: Any, **options: Any) -> None:
        words: list[str] = options["words"]
        who = _holder(options["token"]) if options["token"] is not None else _person(words.pop(0))
        if not 1 <= len(words) <= 2:
            raise Problem("Say who, what (as in actions:execute) and, if one object is meant, its ref.")
        resource, colon, action = words[0].partition(":")
        if not colon:
            raise Problem(f"'{words[0]}' is not of the form resource:action, such as actions:execute.")
        told = explain(who, resource, action, words[1] if len(words) == 2 else None, asker=None)
        self._print(told, as_json=options["json"])
        if not told.allowed:
            sys.exit(REFUSED)

    def _print(self, told: Explanation, *, as_json: bool) -> None:
        if as_json:
            self.write_json({"allowed": told.allowed, "because": [vars(reason) for reason in told.because]})
            return
        self.stdout.write("Allowed." if told.allowed else "Not allowed.")
        for reason in told.because:
            self.stdout.write(f"  {reason.message}")


def _person(name: str) -> Caller:
    identity = Identity.objects.named(name)
    if identity is None:
        raise Problem(f"There is no identity '{name}'.")
    return Caller(holder=identity, token_type="access", login=identity.login)


def _holder(given: str) -> Caller:
    try:
        return caller_of(read(given_text(given).strip()))
    except GateError as error:
        raise Problem(f"{error.message}.") from None
