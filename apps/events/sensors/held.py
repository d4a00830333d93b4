"""A sensor that this worker has: what is known of it, and what follows from what happens to it."""

import logging
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from apps.core import clock
from apps.events.alerts import Alert
from apps.events.models import SensorProcessStatus
from apps.events.sensors import logs
from apps.events.sensors.running import HasEnded, HasStarted, SensorRun
from apps.events.sensors.streaks import HEALTHY_AFTER_SECONDS, Streak
from apps.events.sensors.wanted import Wanted

logger = logging.getLogger(__name__)

BURST_SECONDS = 1.0  # changes within it are one restart
PASSING_SECONDS = 1.0  # until the next try where nothing is wrong with the sensor
_ALERT_STDERR_CHARACTERS = 2000


@dataclass
class Held:
    """Times are of the monotonic clock. Nothing here asks the database: what is to be written waits in ``unwritten``."""

    wanted: Wanted
    streak: Streak
    run: SensorRun | None = None
    pid: int | None = None
    running_since: float | None = None
    runs_with: Any = None  # what its process was started with
    restart_at: float | None = None  # it runs with what is no longer so
    start_at: float | None = None  # it does not run and is to be started
    leaving: bool = False  # it is to be given up as soon as nothing of it runs
    unwritten: list[dict[str, Any]] = field(default_factory=list)
    unlogged: bool = False  # its logs have changed
    alert: Alert | None = None  # to be raised

    @classmethod
    def taken(cls, wanted: Wanted, *, first_delay_seconds: float) -> "Held":
        """Return a sensor that has just been taken; it is started at once."""
        held = cls(wanted=wanted, streak=Streak(first_delay_seconds=first_delay_seconds), start_at=time.monotonic())
        fields = {"active_rule_count": len(wanted.rules), "consecutive_failures": 0}
        held.unwritten.append({"status": SensorProcessStatus.STARTING, **fields})
        return held

    @property
    def ref(self) -> str:
        return self.wanted.sensor.ref

    @property
    def content(self) -> Any:
        """What a process of it would be started with now."""
        follows = self.wanted.sensor.hot_reload
        return self.wanted.program, None if follows else self.wanted.rules

    @property
    def is_over(self) -> bool:
        """Whether it can be given up."""
        return self.leaving and self.run is None

    @property
    def healthy_at(self) -> float | None:
        """When its failures are forgotten, None where there is nothing to forget."""
        if self.running_since is None or not self.streak.failures:
            return None
        return self.running_since + HEALTHY_AFTER_SECONDS

    def due_times(self) -> list[float]:
        """Return when something is to be done about it."""
        times = (self.restart_at, None if self.run else self.start_at, self.healthy_at)
        return [moment for moment in times if moment is not None]

    # --- What is wanted of it -------------------------------------------------------------------------------------

    def update(self, wanted: Wanted) -> None:
        """Take in how it is wanted now."""
        program_changed = self.wanted.program != wanted.program
        if len(self.wanted.rules) != len(wanted.rules):
            self.unwritten.append({"active_rule_count": len(wanted.rules)})
        self.wanted = wanted
        now = time.monotonic()
        if self.run is None:
            if program_changed and self.start_at is not None:
                self.start_at = now  # what failed was another program
        elif self.leaving:
            self.leaving = False  # it is wanted again; once its process has ended it is started anew
            self.start_at = now
        elif self.content == self.runs_with:
            self.restart_at = None
        elif self.restart_at is None and self.run.asked_at is None:
            self.restart_at = now + BURST_SECONDS

    def leave(self, reason: str) -> None:
        """Stop what runs of it; it is to be given up then."""
        if self.leaving:
            return
        logger.info("Sensor %s is stopped: %s", self.ref, reason)
        self.leaving = True
        self.start_at = self.restart_at = None
        if self.run is not None:
            self.run.stop()

    def restart(self) -> None:
        """Stop its process, which is started anew as soon as it has ended."""
        logger.info("Sensor %s is restarted: its rules or its program have changed", self.ref)
        self.restart_at, self.start_at = None, time.monotonic()
        if self.run is not None:
            self.run.stop()

    def begin(self, run: SensorRun) -> None:
        """Start a process of it."""
        self.run = run
        self.start_at = self.restart_at = None
        self.runs_with = self.content
        self.unwritten.append({"status": SensorProcessStatus.STARTING, "pid": None, "next_restart_at": None})
        run.start()

    # --- What happens to it ---------------------------------------------------------------------------------------

    def is_healthy(self) -> None:
        """It has run for long enough: what failed before is forgotten."""
        self.streak.reset()
        self.unwritten.append({"consecutive_failures": 0})

    def has_started(self, report: HasStarted) -> None:
        self.pid = report.pid
        self.running_since = time.monotonic()
        self.unwritten.append(
            {
                "status": SensorProcessStatus.RUNNING,
                "pid": report.pid,
                "last_started_at": _moment(),
                "next_restart_at": None,
                "log_artifact_ref": logs.artifact_ref(self.ref, "stdout"),
            }
        )
        logger.info("Sensor %s has started as process %d", self.ref, report.pid)

    def has_ended(self, report: HasEnded) -> None:
        """Nothing of its process is left: see whether, and when, it is started again."""
        was_asked = self.run is not None and self.run.asked_at is not None
        self.run, self.pid, self.running_since, self.restart_at = None, None, None, None
        self.unlogged = True
        if report.lost:
            logger.warning("Sensor %s was ended with the lease of this worker", self.ref)
            return  # with the next lease everything begins anew
        fields: dict[str, Any] = {
            "pid": None,
            "last_exit_code": report.exit_code,
            "last_signal": report.signal,
            "last_stopped_at": _moment(),
            "stderr_excerpt": report.stderr or report.error or None,
        }
        if was_asked:
            self.unwritten.append({**fields, "status": SensorProcessStatus.STOPPED, "next_restart_at": None})
            if not self.leaving:
                self.start_at = time.monotonic()
        elif report.passing:
            logger.warning("Sensor %s could not be started: %s", self.ref, report.error)
            self.start_at = time.monotonic() + PASSING_SECONDS
        else:
            self._has_failed(report, fields)

    def _has_failed(self, report: HasEnded, fields: dict[str, Any]) -> None:
        delay = self.streak.failed(report.seconds)
        failures = self.streak.failures
        self.start_at = time.monotonic() + delay
        self.unwritten.append(
            {
                **fields,
                "status": SensorProcessStatus.FAILED if report.error else SensorProcessStatus.BACKOFF,
                "consecutive_failures": failures,
                "next_restart_at": _moment() + timedelta(seconds=delay),
            }
        )
        how = _how(report)
        logger.warning("Sensor %s %s (%d in a row); it is started again in %g s", self.ref, how, failures, delay)
        if self.streak.wants_alert:
            self.streak.alerted = True
            self.alert = self._alert(report, how)
            self.unwritten.append({"last_alerted_at": _moment(), "last_alerted_failures": failures})

    def _alert(self, report: HasEnded, how: str) -> Alert:
        sensor = self.wanted.sensor
        return Alert(
            severity="error",
            category="sensor",
            failure_type="sensor_failing",
            component_type="sensor",
            component_id=sensor.pk,
            component_ref=sensor.ref,
            worker_role="sensor",
            summary=f"Sensor '{sensor.ref}' {how}, {self.streak.failures} times in a row",
            details={
                "consecutive_failures": self.streak.failures,
                "exit_code": report.exit_code,
                "signal": report.signal,
                "error": report.error or None,
                "stderr": report.stderr[-_ALERT_STDERR_CHARACTERS:],
            },
            correlation_id=f"sensor:{sensor.pk}:failing:{self.streak.id}",
        )


def _moment() -> datetime:
    """Return the present moment, by this machine's clock when the database does not tell."""
    try:
        return clock.now()
    except (DatabaseError, InterfaceError):
        return timezone.now()


def _how(report: HasEnded) -> str:
    if report.error:
        return f"could not be started: {report.error}"
    if report.signal is not None:
        return f"was ended by signal {report.signal}"
    return f"ended with exit code {report.exit_code}"
