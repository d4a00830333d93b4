"""``manage.py scheduler``: the scheduler alone."""

import signal
from textwrap import dedent
from typing import Any

from apps.core.commands import ConsoleCommand
from apps.identity.audit import trail
from attune.preflight import check_database, check_encryption
from attune.scheduler import Scheduler


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
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: scheduler.ask_to_stop())
        self.stdout.write("The scheduler runs; Ctrl-C stops it.")
        self.stdout.flush()  # a pipe would keep it until the end
        scheduler.run()
        trail.flush()
