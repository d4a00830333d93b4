"""``manage.py key_set``: store a value or secret."""

import getpass
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from apps.core.api.query import parse_moment
from apps.core.commands import ConsoleCommand, Problem
from apps.core.parameter_text import read_json
from apps.keys.models import Key
from apps.keys.owners import Owner
from apps.keys.services import UNSET, create_key, live_keys, update_key


class Command(ConsoleCommand):
    help = dedent(
        """\
        Store a value under a ref: a new key, or a new value of one that exists.

        The value comes from standard input or a file, so that it stands in no shell history and no process list; on a
        terminal it is asked for and not shown. One line break at its end does not count. It is kept as text, with
        --json as what the JSON says.

        A new key is encrypted unless --plain says otherwise, and belongs to the system: every action is given it. With
        --pack, --action, --sensor or --identity it belongs to that one: the actions of the pack, or the action alone,
        are given it."""
    )
    examples = dedent(
        """
        Examples:
          manage.py key_set db.password                                    (asks for it)
          manage.py key_set shop.api_token --pack shop < token.txt
          manage.py key_set shop.tls --pack shop --file server.pem --name tls_key
          echo '{"retries": 3}' | manage.py key_set shop.limits --pack shop --plain --json
          manage.py key_set db.password --expires 2027-01-31               (a new value, for so long)
        """
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ref", help="lower case, segments between dots, e.g. shop.api_token")
        parser.add_argument("--file", metavar="FILE", help="read the value from this file")
        parser.add_argument("--json", action="store_true", help="the value is JSON")
        parser.add_argument("--name", help="what actions see it as; of a new key, by default, the ref's last segment")
        kind = parser.add_mutually_exclusive_group()
        kind.add_argument("--encrypted", action="store_true", help="store it encrypted (a new key is, by default)")
        kind.add_argument(
            "--plain", action="store_true", help="store it as it is: no secret, shown to all who may read"
        )
        owner = parser.add_mutually_exclusive_group()
        owner.add_argument("--pack", metavar="REF", help="the pack that owns a new key")
        owner.add_argument("--action", metavar="REF", help="the action that owns a new key")
        owner.add_argument("--sensor", metavar="REF", help="the sensor that owns a new key")
        owner.add_argument("--identity", metavar="LOGIN", help="the person that owns a new key")
        parser.add_argument(
            "--expires", metavar="TIME", help="from then on it reads as absent: 2027-01-31T12:00:00Z; never: for ever"
        )

    def handle(self, **options: Any) -> None:
        expires_at = _moment(options["expires"])
        key = live_keys().filter(ref=options["ref"]).first()
        if key is not None and (owner := _owner(options)).owner_type != "system":
            _check_same(key, owner)
        value = _value(options)
        try:
            if key is None:
                key = self._create(options, value, expires_at)
                done = "was created"
            else:
                key = update_key(
                    key, value=value, encrypted=_encrypted(options), name=options["name"] or UNSET,
                    expires_at=expires_at,
                )  # fmt: skip
                done = f"has a new value, version {key.version}"
        except ValidationError as error:
            raise Problem(" ".join(error.messages)) from None
        self.stdout.write(f"Key {key.ref} {done} ({'encrypted' if key.encrypted else 'plain'}).")

    def _create(self, options: Mapping[str, Any], value: Any, expires_at: Any) -> Key:
        return create_key(
            ref=options["ref"],
            owner=_owner(options),
            name=options["name"] or options["ref"].rpartition(".")[2],
            value=value,
            encrypted=not options["plain"],
            expires_at=None if expires_at is UNSET else expires_at,
        )


def _owner(options: Mapping[str, Any]) -> Owner:
    for owner_type in ("pack", "action", "sensor", "identity"):
        if ref := options[owner_type]:
            return Owner(owner_type=owner_type, owner=ref)
    return Owner(owner_type="system")


def _check_same(key: Key, owner: Owner) -> None:
    if any(getattr(key, column) != value for column, value in owner.columns().items()):
        raise Problem(f"Key '{key.ref}' exists and belongs to somebody else; choose another ref.")


def _encrypted(options: Mapping[str, Any]) -> Any:
    return True if options["encrypted"] else False if options["plain"] else UNSET


def _moment(given: str | None) -> Any:
    if given is None:
        return UNSET
    if given == "never":
        return None
    found = parse_moment(given)
    if found is None:
        raise Problem(f"--expires must be a time such as 2027-01-31T12:00:00Z, or never, not '{given}'.")
    return found


def _value(options: Mapping[str, Any]) -> Any:
    text = _text(options["file"])
    if not options["json"]:
        return text
    try:
        return read_json(text)
    except ValueError as error:
        raise Problem(f"The value is not JSON: {error}.") from None


def _text(file: str | None) -> str:
    if file is None and sys.stdin.isatty():
        return getpass.getpass("Value: ")
    try:
        text = sys.stdin.read() if file is None else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"The file '{file}' cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Problem("The value is not UTF-8 text.") from None
    if "\x00" in text:
        raise Problem("A value cannot hold the character U+0000.")
    return text.removesuffix("\n").removesuffix("\r")
