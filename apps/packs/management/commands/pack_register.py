"""``manage.py pack_register``: take a folder in as a pack."""

from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand, Problem
from apps.packs.components import Warning
from apps.packs.registration import PackExists
from apps.packs.services import register_pack


class Command(ConsoleCommand):
    help = (
        "Register the pack in a folder, or bring a registered one up to date with its files.\n\n"
        "The folder holds a pack.yaml, and actions/*.yaml with the scripts they name beside them. It stays where it is\n"
        "and is read from there at every run. A component that cannot be used is left out with a warning."
    )
    examples = """
Examples:
  manage.py pack_register ./packs/monitoring
  manage.py pack_register /srv/packs/deploy --force      (registered before: replace what its files changed)
  manage.py pack_register ./packs/monitoring --json
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", metavar="PATH", help="the pack's folder, on this machine and on every worker")
        parser.add_argument("--force", action="store_true", help="replace a pack of the same ref")
        parser.add_argument("--json", action="store_true", help="print ref, version, warnings as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            registration = register_pack(options["path"], force=options["force"])
        except PackExists as error:
            raise Problem(f"{error.message.partition('.')[0]}; --force replaces it.") from None
        pack, warnings = registration.pack, list(registration.warnings)
        if options["json"]:
            self.write_json(
                {"ref": pack.ref, "version": pack.version, "created": registration.created, "warnings": warnings}
            )
            return
        verb = "registered" if registration.created else "brought up to date"
        self.stdout.write(f"Pack {pack.ref} {pack.version} was {verb}.")
        for warning in warnings:
            self.stderr.write(f"Warning: {in_words(warning)}", style_func=str)


def in_words(warning: Warning) -> str:
    """Return ``file:line: message``, as compilers do."""
    place = warning["file"] if warning["line"] is None else f"{warning['file']}:{warning['line']}"
    return f"{place}: {warning['message']}"
