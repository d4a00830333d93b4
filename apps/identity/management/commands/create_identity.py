"""``manage.py create_identity``: somebody, or something, that may sign in."""

import getpass
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.core.commands import ConsoleCommand
from apps.identity.models import ADMIN_SET_REF
from apps.identity.services import create_identity


class Command(ConsoleCommand):
    help = (
        "Create an identity: a person or a program that signs in with login and password.\n\n"
        "Without --password the password is asked for, or read from the first line of a pipe, so that it stands in no\n"
        "shell history. Without a permission set, held directly or by a role, the identity may sign in and do nothing\n"
        "else. Sets of the core pack: core.viewer, core.executor, core.editor, core.admin, core.owner; packs bring more."
    )
    examples = f"""
Examples:
  manage.py create_identity --login anna --display-name "Anna Berg" --permission-set {ADMIN_SET_REF}
  printf '%s\\n' "$PASSWORD" | manage.py create_identity --login deploy-bot --permission-set {ADMIN_SET_REF}
  manage.py create_identity --login ops-lead --permission-set core.editor --permission-set shop.operator --role ops
  manage.py create_identity --login reporting --no-password      (signs in by token only)
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--login", required=True, help="3 to 255 characters, compared exactly")
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument("--password", help="8 to 128 characters; better typed when asked, or piped in")
        secret.add_argument("--no-password", action="store_true", help="no sign-in by password")
        parser.add_argument("--display-name", metavar="NAME", help="what people see, up to 255 characters")
        parser.add_argument(
            "--permission-set",
            metavar="REF",
            action="append",
            default=[],
            dest="permission_sets",
            help=f"a permission set to hold, such as {ADMIN_SET_REF}; may be given several times",
        )
        parser.add_argument(
            "--role",
            metavar="NAME",
            action="append",
            default=[],
            dest="roles",
            help="a role to have, with the permission sets that it gives; may be given several times",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        password = None if options["no_password"] else options["password"] or ask_for_password()
        identity = create_identity(
            options["login"],
            password=password,
            display_name=options["display_name"],
            permission_sets=options["permission_sets"],
            roles=options["roles"],
        )
        held = ", ".join(dict.fromkeys(options["permission_sets"])) or "no permission set"
        roles = f" and the role {', '.join(dict.fromkeys(options['roles']))}" if options["roles"] else ""
        self.stdout.write(f"Created identity {identity.login} (id {identity.pk}) with {held}{roles}.")


def ask_for_password() -> str:
    """Return the password typed twice, or the first line of a pipe. Raises CommandError when there is none."""
    if not sys.stdin.isatty():
        piped = sys.stdin.readline().rstrip("\n")
        if not piped:
            raise CommandError("No password: give --password, pipe one in, or say --no-password.")
        return piped
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Once more: "):
        raise CommandError("The passwords differ.")
    return password
