"""``manage.py key_get``: print the value of a key."""

import json
from textwrap import dedent
from typing import Any

from django.core.management.base import CommandParser

from apps.core.cipher import CannotDecrypt
from apps.core.commands import ConsoleCommand, Problem
from apps.keys.api.serializers import shown_key
from apps.keys.services import live_keys, read_value


class Command(ConsoleCommand):
    help = dedent(
        """\
        Print the value of a key: text as it is, everything else as JSON.

        An encrypted one is printed with --decrypt only; who did it stays in the audit trail."""
    )
    examples = dedent(
        """
        Examples:
          manage.py key_get shop.limits
          PGPASSWORD=$(manage.py key_get db.password --decrypt) psql ...
          manage.py key_get db.password --json                (everything about it but the value)
        """
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ref", help="the ref of the key (manage.py key_list shows them)")
        parser.add_argument("--decrypt", action="store_true", help="print an encrypted value")
        parser.add_argument("--json", action="store_true", help="print the key with its owner, as the API does")

    def handle(self, *, ref: str, decrypt: bool, **options: Any) -> None:
        key = live_keys().filter(ref=ref).first()
        if key is None:
            raise Problem(f"There is no key '{ref}'.")
        if key.encrypted and not decrypt and not options["json"]:
            raise Problem(f"Key '{ref}' is encrypted; --decrypt prints it.")
        try:
            value = read_value(key, decrypt=decrypt)
        except CannotDecrypt as error:
            raise Problem(f"Key '{ref}' cannot be decrypted. {error}") from None
        if options["json"]:
            self.write_json(shown_key(key, value))
        else:
            self.stdout.write(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
