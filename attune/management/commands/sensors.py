"""``manage.py sensors``: a worker for sensors alone."""

import sys
import threading
from textwrap import dedent
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from apps.core import ending
from apps.core.commands import ConsoleCommand
from apps.events.sensors.supervisor import Supervisor
from apps.workers.agent import NameTaken, WorkerAgent
from apps.workers.models import WorkerRole
from apps.workers.runner_services import RunnerServices
from attune.preflight import check_database, check_encryption
from attune.stopping import StopRequest

_LOOK_SECONDS = 5.0


class Command(ConsoleCommand):
    help = dedent(
        """\
        Run sensors: a worker that takes no executions.

        It starts each sensor that an enabled rule needs, restarts what fails, and stops what is no longer needed.
        `manage.py up` contains one. Any number may run, on any machine that reaches the database; each sensor runs
        on one of them, and on another one when that is lost. The sensors reach the API at ATTUNE_PUBLIC_API_URL.

        Ctrl-C or SIGTERM stops the sensors and ends it."""
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--name",
            default=settings.SENSOR_WORKER_NAME,
            help="unique name of this worker, ahead of ATTUNE_WORKER_NAME (now %(default)s)",
        )

    def handle(self, *, name: str, **_options: Any) -> None:
        check_database()
        check_encryption()
        stopping = StopRequest()
        with stopping.by_signals():
            self._serve(name, stopping)

    def _serve(self, name: str, stopping: StopRequest) -> None:
        lost = threading.Event()

        def lose_name() -> None:
            lost.set()
            stopping.set()

        services = RunnerServices(time_zone=settings.TZ_OF_THIS_HOST)
        agent = WorkerAgent(services=services, name=name, role=WorkerRole.SENSOR, on_lost_name=lose_name)
        agent.offer(max_concurrent_sensors=settings.SENSOR_SLOTS)
        try:
            agent.start(called_off=stopping.is_set)
        except NameTaken:
            return
        self.stdout.write("Sensors run here; Ctrl-C stops them.")
        self.stdout.flush()  # a pipe would keep it until the end
        clean = _run(agent, stopping)
        if lost.is_set() or not clean:
            sys.exit(1)


def _run(agent: WorkerAgent, stopping: StopRequest) -> bool:
    """Run sensors until asked to stop, or until the supervisor has ended by itself; return whether all went well."""
    supervisor = Supervisor()
    supervisor.start()
    while not stopping.wait(_LOOK_SECONDS) and supervisor.alive:
        continue
    ended_by_itself = not stopping.is_set()
    ending.begin()
    clean = supervisor.stop()
    agent.stop(0)
    return clean and not ended_by_itself
