"""``manage.py key_list``: which keys there are."""

from textwrap import dedent
from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand
from apps.keys.api.serializers import KeySummarySerializer
from apps.keys.models import Key, OwnerType
from apps.keys.services import live_keys


class Command(ConsoleCommand):
    help = dedent(
        """\
        List the keys, without their values.

        Expired ones are not listed: they read as absent, and are deleted within the hour."""
    )
    examples = dedent(
        """
        Examples:
          manage.py key_list
          manage.py key_list --owner-type pack
          manage.py key_list --json | jq -r '.[].ref'
        """
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner-type", choices=OwnerType.values, help="only those that such ones own")
        parser.add_argument("--json", action="store_true", help="print them as JSON, as the API does")

    def handle(self, *, owner_type: str | None, **options: Any) -> None:
        keys = live_keys().select_related("owner_identity").defer("value")
        if owner_type is not None:
            keys = keys.filter(owner_type=owner_type)
        if options["json"]:
            self.write_json(KeySummarySerializer(keys, many=True).data)
            return
        rows = [
            (key.ref, key.name, key.owner_type, _owner(key), "yes" if key.encrypted else "no", key.version, _end(key))
            for key in keys
        ]
        if not rows:
            self.stdout.write("There are no keys. Store one: manage.py key_set --help")
            return
        self.write_table(("ref", "name", "owner type", "owner", "encrypted", "version", "expires"), rows)


def _owner(key: Key) -> str | None:
    if key.owner_identity is not None:
        return key.owner_identity.login
    return key.owner_pack_ref or key.owner_action_ref or key.owner_sensor_ref


def _end(key: Key) -> str | None:
    return f"{key.expires_at:%Y-%m-%d %H:%M:%SZ}" if key.expires_at else None
