"""One process of a sensor: a thread that prepares it, starts it, reads what it prints and tells how it ended."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from apps.core.redaction import Redactor
from apps.events.sensors.logs import Retention, files_of
from apps.events.sensors.output import Both, Excerpt, Redacted, RotatingLog
from apps.events.sensors.programs import command_of
from apps.events.sensors.variables import secrets_of
from apps.events.sensors.wanted import Wanted
from apps.executions.logs import Stream
from apps.workers import process
from apps.workers.agent import WorkerAgent
from apps.workers.commands import CannotStart, Command, Ended, Started
from apps.workers.control import RunControl
from apps.workers.orphans import kill_strays

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HasStarted:
    sensor_id: int
    number: int
    pid: int


@dataclass(frozen=True, kw_only=True)
class HasOutput:
    """A log file was begun or removed."""

    sensor_id: int
    number: int


@dataclass(frozen=True, kw_only=True)
class HasEnded:
    """
    Nothing of the process is left. ``error``: why it could not be started; ``passing``: for no fault of the sensor's.

    ``lost``: it was ended because the worker's lease was.
    """

    sensor_id: int
    number: int
    exit_code: int | None = None
    signal: int | None = None
    seconds: float = 0.0
    stderr: str = ""
    error: str = ""
    passing: bool = False
    lost: bool = False


Report = HasStarted | HasOutput | HasEnded


class SensorRun:
    """
    One start of a sensor; ``report`` is called from its thread, last with HasEnded.

    It stands among the agent's sensors from before the start until nothing of it is left, so that a lost lease ends it.
    """

    def __init__(self, wanted: Wanted, *, number: int, agent: WorkerAgent, report: Callable[[Report], None]) -> None:
        self.number = number
        self.asked_at: float | None = None  # when it was told to stop
        self._wanted = wanted
        self._sensor_id = wanted.sensor.pk
        self._agent = agent
        self._report = report
        self._control = RunControl()
        self._excerpt = Excerpt()
        self._thread = threading.Thread(target=self._run, name=f"sensor-{self._sensor_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send SIGTERM to its group, and SIGKILL when the grace is over; before the start: never start it."""
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            self._control.stop("cancel")

    def kill(self) -> None:
        self._control.kill()

    def stderr(self) -> str:
        """Return the end of what it has printed to stderr so far."""
        return self._excerpt.text()

    def _run(self) -> None:
        if not self._agent.sensors.add(self._sensor_id, self.number, self._control):
            self._report(self._not_started("A process of it is still being ended", passing=True))
            return
        try:
            ended = self._to_its_end()
        finally:
            self._agent.sensors.remove(self._sensor_id)
            connection.close()
        self._report(ended)

    def _to_its_end(self) -> HasEnded:
        try:
            if not self._agent.lease_valid():
                self._control.stop("lost")
            command = command_of(self._wanted, self._agent, called_off=lambda: self._control.reason is not None)
            connection.close()  # a sensor runs for months
            self._kill_strays()
            return self._ended(self._run_command(command))
        except CannotStart as error:
            return self._not_started(str(error))
        except (OperationalError, InterfaceError) as error:
            return self._not_started(f"The database does not answer: {error}", passing=True)
        except Exception as error:
            logger.exception("Sensor %s could not be run", self._wanted.sensor.ref)
            return self._not_started(f"The sensor could not be run: {error!r}")

    def _kill_strays(self) -> None:
        """The lease is ours, so what runs of this sensor on this machine was left by a worker without a guard."""
        marks = (f"ATTUNE_SENSOR_ID={self._sensor_id}", f"ATTUNE_ARTIFACTS_DIR={settings.ARTIFACTS_DIR}")
        if killed := kill_strays([mark.encode() for mark in marks]):
            logger.warning("Sensor %s: %d processes of an earlier start were killed", self._wanted.sensor.ref, killed)

    def _run_command(self, command: Command) -> Ended:
        sensor = self._wanted.sensor
        redactor = Redactor(
            secrets_of(sensor.config, sensor.param_schema, token=command.env.get("ATTUNE_API_TOKEN", ""))
        )
        sinks = (
            Redacted(self._log("stdout"), redactor),
            Redacted(Both(self._log("stderr"), self._excerpt), redactor),
        )

        def start(command: Command, descriptors: tuple[int, int, int]) -> Started:
            started = process.spawn(command, descriptors)
            self._report(HasStarted(sensor_id=self._sensor_id, number=self.number, pid=started.pid))
            return started

        services = self._agent.services
        expected = services.guard_expect(command.marks)  # a worker may be killed before it has told of a start
        try:
            return process.run(command, self._control, services, start, sinks=sinks)
        finally:
            services.guard_forget(expected)

    def _log(self, stream: Stream) -> RotatingLog:
        files = files_of(self._sensor_id, stream, self._agent.worker_id)
        news = HasOutput(sensor_id=self._sensor_id, number=self.number)
        return RotatingLog(files, Retention.of(self._wanted.sensor).keeping(stream), lambda: self._report(news))

    def _ended(self, ended: Ended) -> HasEnded:
        code = ended.returncode
        return HasEnded(
            sensor_id=self._sensor_id,
            number=self.number,
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            seconds=ended.seconds,
            stderr=self.stderr(),
            lost=ended.reason == "lost",
        )

    def _not_started(self, error: str, *, passing: bool = False) -> HasEnded:
        lost = self._control.reason == "lost"
        return HasEnded(sensor_id=self._sensor_id, number=self.number, error=error, passing=passing, lost=lost)
