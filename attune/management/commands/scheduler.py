"""``manage.py scheduler``: the scheduler alone."""

import sys
from textwrap import dedent
from typing import Any

from apps.core import ending
from apps.core.commands import ConsoleCommand
from apps.identity.audit import trail
from attune.preflight import check_database, check_encryption
from attune.scheduler import Scheduler
from attune.stopping import StopRequest

_LOOK_SECONDS = 5.0


class Command(ConsoleCommand):
    help = dedent(
        """\
        Run the scheduler alone.

        It announces again what got lost on the way to a worker, settles what a lost worker was running, and starts
        what has become due: every ATTUNE_SWEEP_SECONDS, and earlier when something is due earlier. `manage.py up`
        contains one. Any number may run, on any machine that reaches the database and the broker.

        Ctrl-C or SIGTERM ends it."""
    )

    def handle(self, **_options: Any) -> None:
        check_database()
        check_encryption()
        scheduler = Scheduler()
        request = StopRequest()
        with request.by_signals():
            scheduler.start()
            self.stdout.write("The scheduler runs; Ctrl-C stops it.")
            self.stdout.flush()  # a pipe would keep it until the end
            while not request.wait(_LOOK_SECONDS) and scheduler.alive:
                continue
            ending.begin()
            scheduler.ask_to_stop()
            scheduler.join()
        trail.flush()
        if not request.is_set():
            sys.exit(1)
