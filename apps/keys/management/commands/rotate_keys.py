"""``manage.py rotate_keys``: encrypt everything that is stored under the present encryption key."""

import sys
from textwrap import dedent
from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand, Problem
from apps.keys.rotation import BATCH, Rotation, delete_unknown, rotate

SHOWN_FAULTS = 20


class Command(ConsoleCommand):
    help = dedent(
        """\
        Encrypt all keys and secret values under the present encryption key.

        To change the key: put the old one into ATTUNE_ENCRYPTION_PREVIOUS_KEYS and a new one into
        ATTUNE_ENCRYPTION_KEY, restart every process with both, then run this. Everything may go on meanwhile. It may
        be stopped and started again at any moment. When it has ended with 0, the old key may be taken out.

        It ends with 1 when something is left that is not under the present key, and says what."""
    )
    examples = dedent(
        """
        Examples:
          manage.py rotate_keys
          manage.py rotate_keys --delete-unreadable      # the key they need is lost, and they with it
        """
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--batch", type=int, default=BATCH, metavar="ROWS", help="rows per transaction (now %(default)s)"
        )
        parser.add_argument(
            "--delete-unreadable",
            action="store_true",
            help="first delete what was encrypted with keys that are not configured; nothing brings it back",
        )

    def handle(self, *, batch: int, delete_unreadable: bool, **_options: Any) -> None:
        if batch < 1:
            raise Problem("--batch must be 1 or more.")
        if delete_unreadable:
            for noun, number in delete_unknown().items():
                self.stdout.write(f"Deleted {number} {noun} whose encryption key is not configured.")
        rotation = rotate(batch=batch, tell=self._tell)
        self.stdout.write(_summary(rotation))
        if not rotation.complete:
            self._show_faults(rotation)
            sys.exit(1)

    def _tell(self, noun: str, number: int) -> None:
        self.stdout.write(f"  {number} {noun}")
        self.stdout.flush()  # a pipe would keep it until the end

    def _show_faults(self, rotation: Rotation) -> None:
        for fault in rotation.unreadable[:SHOWN_FAULTS]:
            self.stderr.write(f"  {fault.row}: {fault.reason}")
        if (more := len(rotation.unreadable) - SHOWN_FAULTS) > 0:
            self.stderr.write(f"  and {more} more")
        if rotation.left:
            self.stderr.write(
                "  Values under an older key keep coming: restart the processes that have the old configuration, "
                "then run this again."
            )


def _summary(rotation: Rotation) -> str:
    values = "1 value" if rotation.rotated == 1 else f"{rotation.rotated} values"
    done = f"{values} encrypted anew" if rotation.rotated else "Nothing had to be encrypted anew"
    if not rotation.unreadable:
        return f"{done}."
    return f"{done}; {len(rotation.unreadable)} could not be decrypted and stay as they are:"
