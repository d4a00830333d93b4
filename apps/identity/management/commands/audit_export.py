"""``manage.py audit_export``: the audit trail as a file."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from apps.core.commands import ConsoleCommand, Problem
from apps.identity import audit
from apps.identity.audit import filters
from apps.identity.audit.exporting import FORMATS, oldest_first
from apps.identity.models import AuditEvent

_TOLD_EVERY_SECONDS = 2.0
_HELP = {
    "category": "one or, with commas, more of api, auth, rbac, secret, admin, execution, pack",
    "event_type": "a whole type, or all that begin alike: 'secret.*'",
    "outcome": "one or, with commas, more of success, failure, denied",
    "actor_identity": "the id of an identity, which may be gone",
    "actor_login": "a part of a login",
    "resource_ref": "a ref, or all of a pack: 'core.*'",
    "http_path": "a part of a path",
    "created_after": "from this time on, as 2026-01-31 or 2026-01-31T12:00:00Z",
    "created_before": "before this time",
}


class Command(ConsoleCommand):
    help = "Write audit events to standard output or a file, the oldest first: JSON, one event per line, or CSV."
    examples = """
Examples:
  manage.py audit_export --created-after 2026-01-01 > audit.jsonl
  manage.py audit_export --event-type 'secret.*' --format csv --output secrets.csv
  manage.py audit_export --outcome denied,failure --actor-login admin
"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--format", choices=tuple(FORMATS), default="jsonl", help="jsonl unless named")
        parser.add_argument("--output", metavar="FILE", help="a new file; standard output without it")
        for name in filters.NAMES:
            parser.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", help=_HELP.get(name))

    def handle(self, *_args: Any, **options: Any) -> None:
        given = {name: options[name] for name in filters.NAMES if options[name]}
        rows = filters.parse(given).apply(AuditEvent.objects.all(), whole=True)
        head, line_of = FORMATS[options["format"]]
        count = 0
        try:
            with self._opened(options["output"]) as write:
                write(head)
                for event in self._told(oldest_first(rows)):
                    write(line_of(event))
                    count += 1
        finally:
            audit.record("audit_log.read", details={"command": "audit_export", "filters": given, "events": count})
        self.stderr.write(f"{count} events exported.")

    def _told(self, events: Iterator[AuditEvent]) -> Iterator[AuditEvent]:
        """Yield the events, and say now and then how far it has come."""
        tell_at = time.monotonic() + _TOLD_EVERY_SECONDS
        for count, event in enumerate(events, start=1):
            yield event
            if time.monotonic() > tell_at:
                self.stderr.write(f"{count} events, until {event.created:%Y-%m-%d %H:%M:%S} UTC ...")
                tell_at = time.monotonic() + _TOLD_EVERY_SECONDS

    @contextmanager
    def _opened(self, name: str | None) -> Iterator[Callable[[str], Any]]:
        """Give what writes to a new file, for its owner alone, or to standard output. Raises Problem."""
        if name is None:
            yield partial(self.stdout.write, ending="")
            self.stdout.flush()
            return
        try:
            file = open(name, "x", encoding="utf-8", errors="replace", newline="", opener=_for_the_owner)  # noqa: SIM115  # closed below
        except OSError as error:
            raise Problem(f"The file '{name}' cannot be made: {error.strerror}.") from None
        with file:
            yield file.write


def _for_the_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
