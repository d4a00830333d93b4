"""``manage.py pack_list``: which packs there are."""

from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Count

from apps.core.commands import ConsoleCommand
from apps.packs.models import Pack


class Command(ConsoleCommand):
    help = "List the registered packs."
    examples = """
Examples:
  manage.py pack_list
  manage.py pack_list --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *_args: Any, **options: Any) -> None:
        packs = list(Pack.objects.annotate(action_count=Count("actions")).order_by("ref"))
        if options["json"]:
            self.write_json([_data(pack) for pack in packs])
        elif packs:
            self.write_table(
                ("ref", "version", "actions", "warnings", "folder"),
                [
                    (pack.ref, pack.version, pack.action_count, len(pack.warnings or []), pack.storage_path)
                    for pack in packs
                ],
            )
        else:
            self.stdout.write("No packs are registered.")


def _data(pack: Any) -> dict[str, Any]:
    return {
        "ref": pack.ref,
        "label": pack.label,
        "version": pack.version,
        "actions": pack.action_count,
        "warnings": pack.warnings,
        "storage_path": pack.storage_path,
    }
