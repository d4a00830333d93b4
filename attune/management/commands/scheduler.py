"""``manage.py scheduler``: the scheduler alone."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

from attune.preflight import check_database
from attune.scheduler import Scheduler


class Command(BaseCommand):
    help = (
        "Run the scheduler alone: it announces again what got lost on the way to a worker, settles what a lost worker "
        "was running, and starts what has become due, every ATTUNE_SWEEP_SECONDS and earlier when something is due "
        "earlier. `manage.py up` contains one. Any number may run, on any machine. Ctrl-C or SIGTERM ends it."
    )

    def handle(self, **_options: Any) -> None:
        check_database()
        scheduler = Scheduler()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: scheduler.ask_to_stop())
        self.stdout.write("The scheduler runs; Ctrl-C stops it.")
        scheduler.run()
