"""What the product's commands share: help that teaches, refusals in one sentence, tables, JSON for machines."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter
from django.db import OperationalError, ProgrammingError

from apps.core.errors import AttuneError
from apps.core.parameter_text import read_json

USAGE_ERROR = 2
INTERRUPTED = 130
# Only what a person does now and then; the rest of Django's options would hide what matters.
HIDDEN = ("--settings", "--pythonpath", "--force-color", "--skip-checks", "--version", "--traceback", "--verbosity",
          "--no-color")  # fmt: skip


class Problem(CommandError):
    """What was asked for cannot be done; the command ends with status 2 and says why in one sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, returncode=USAGE_ERROR)


# Django prints "<class>: <text>", and people should read "attune: ...", as for a bad setting.
Problem.__name__ = "attune"


class _TeachingFormatter(DjangoHelpFormatter):
    """Keeps the lines of the help as they are written: examples are code."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(indent + line for line in text.splitlines(keepends=True))


class ConsoleCommand(BaseCommand):
    """A command whose ``help`` says what it does and whose ``examples`` show it."""

    examples = ""
    requires_system_checks = ()  # they take longer than most commands
    suppressed_base_arguments = set(HIDDEN)

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=_TeachingFormatter, epilog=self.examples, **options
        )

    def execute(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute(*args, **options)
        except AttuneError as error:
            raise Problem(error.message) from error
        except (OperationalError, ProgrammingError) as error:
            raise Problem(
                f"The database cannot be used ({str(error).strip().splitlines()[0]}). "
                "Is it running, and has `make up` or `manage.py prepare` made it ready?"
            ) from error
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has seen enough; nothing must be written to it when the interpreter ends.
            sys.stdout = None
            sys.exit(1)

    def write_json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str))

    def write_table(self, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print columns as wide as what they hold."""
        table = [[str(head).upper() for head in heads], *([_cell(value) for value in row] for row in rows)]
        widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
        for row in table:
            self.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def given_text(given: str) -> str:
    """Return the text of an argument; ``@FILE`` is read from a file, ``@-`` from standard input. Raises Problem."""
    if not given.startswith("@"):
        return given
    try:
        return sys.stdin.read() if given == "@-" else Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Problem(f"The file '{given[1:]}' cannot be read: {reason}.") from None


def given_json(given: str, option: str) -> Any:
    """Return the JSON value of an argument, which ``given_text`` reads. Raises Problem."""
    try:
        return read_json(given_text(given))
    except ValueError as error:
        raise Problem(f"{option} is not JSON: {error}.") from None


def _cell(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)
