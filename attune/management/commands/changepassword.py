"""``manage.py changepassword``: in place of Django's, which knows nothing of where our passwords are."""

from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand
from apps.core.errors import NotFound
from apps.identity.management.commands.create_identity import ask_for_password
from apps.identity.models import Identity
from apps.identity.services import set_password


class Command(ConsoleCommand):
    help = (
        "Give an identity another password; its sessions in the admin end.\n\n"
        "The password is asked for, or read from the first line of a pipe, so that it stands in no shell history."
    )
    examples = """
Examples:
  manage.py changepassword admin
  printf '%s\\n' "$PASSWORD" | manage.py changepassword deploy-bot
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("login", metavar="LOGIN", help="whose password")

    def handle(self, *, login: str, **_options: Any) -> None:
        identity = Identity.objects.people().filter(login=login).first()
        if identity is None:
            raise NotFound(f"There is no identity '{login}'")
        set_password(identity, ask_for_password())
        self.stdout.write(f"The password of {login} was changed.")
