"""``manage.py pack_rollback``: put a pack's previous version back."""

from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand
from apps.packs.services import rollback_pack


class Command(ConsoleCommand):
    help = (
        "Put back the version that a pack had before its last upload, files and components.\n\n"
        "One version is kept. Doing it again puts the newer one back. The pack's configuration stays as it is."
    )
    examples = """
Examples:
  manage.py pack_rollback monitoring
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ref", metavar="REF", help="the pack's ref")

    def handle(self, *_args: Any, **options: Any) -> None:
        registration = rollback_pack(options["ref"])
        self.stdout.write(f"Pack {registration.pack.ref} is at version {registration.pack.version} again.")
        for warning in registration.warnings:
            place = f"{warning['file']}:{warning['line']}" if warning["line"] else warning["file"]
            self.stderr.write(f"Warning: {place}: {warning['message']}", style_func=str)
