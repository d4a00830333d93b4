"""
The supervisor of the sensors of one worker: it takes those that are to run here, and keeps them running.

One thread turns it. What takes long (building an environment, the process itself) is done by the thread of each start,
which only reports; all decisions and all writes are made here. Nothing that was decided is lost while the database is
away: rows are written when it is back.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.db.models import Q
from django.utils import timezone

from apps.core import clock
from apps.events import notices
from apps.events.alerts import Alert, raise_alert
from apps.events.models import Sensor, SensorProcessStatus
from apps.events.sensors import leases, logs, placement, rows
from apps.events.sensors.running import HasEnded, HasOutput, HasStarted, Report, SensorRun
from apps.events.sensors.streaks import ALERT_FROM, HEALTHY_AFTER_SECONDS, Streak
from apps.events.sensors.wanted import Wanted, wanted_sensors
from apps.workers.agent import WorkerAgent, current_agent
from apps.workers.fitness import Offer

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # how often changes made by other processes are looked for
AGAIN_SECONDS = 2.0  # how often those that another worker has, or none, are looked at: it may be lost
EVERYTHING_SECONDS = 60.0  # how often all of it is looked at, whatever seems to have changed
BURST_SECONDS = 1.0  # changes within it are one restart
PATIENCE_SECONDS = 5.0  # how long a sensor is left to the worker that suits it better
PASSING_SECONDS = 1.0  # until the next try where nothing is wrong with the sensor
AFTER_FAULT_SECONDS = 2.0  # until the next turn, unless something happens before
STOP_SLACK_SECONDS = 2.0  # beyond the kill grace


@dataclass
class _Held:
    """A sensor that this worker has."""

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

    @property
    def content(self) -> Any:
        """What a process of it would be started with now."""
        follows = self.wanted.sensor.hot_reload
        return self.wanted.program, None if follows else self.wanted.rules

    @property
    def ref(self) -> str:
        return self.wanted.sensor.ref


class Supervisor:
    """Start with ``start``; ``stop`` ends every sensor and gives it up."""

    def __init__(self, *, agent: Callable[[], WorkerAgent | None] = current_agent) -> None:
        self._agent_now = agent
        self._held: dict[int, _Held] = {}
        self._holder: UUID | None = None  # of the worker's lease under which they were taken
        self._numbers = 0
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._changed = threading.Event()
        self._seen: Any = None
        self._unheld_since: dict[int, float] = {}
        self._said: dict[int, str] = {}
        self._elsewhere = False  # sensors are wanted that this worker does not have
        self._again_at = 0.0
        self._everything_at = 0.0
        self._renew_at = 0.0
        self._thread = threading.Thread(target=self._turn_on, name="sensors", daemon=True)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Let it end its sensors and itself; ``join`` waits for that."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_seconds: float | None = None) -> bool:
        """Wait for its end; False when the time was up first."""
        self._thread.join(timeout_seconds)
        return not self.alive

    def stop(self) -> bool:
        """Stop every sensor within seconds, and the supervisor; return whether all of it ended."""
        self.ask_to_stop()
        return not self._thread.ident or self.join(settings.KILL_GRACE_SECONDS + 3 * STOP_SLACK_SECONDS)

    def look(self) -> None:
        """Look at everything now; any thread may say so."""
        self._changed.set()
        self._wake.set()

    # --- The loop -------------------------------------------------------------------------------------------------

    def _turn_on(self) -> None:
        notices.listen(self.look)
        try:
            while not self._stopping.is_set():
                seconds = self._turn()
                self._wake.wait(seconds)
                self._wake.clear()
            self._end_all()
        finally:
            notices.stop_listening(self.look)
            connection.close()

    def _turn(self) -> float:
        """Do what is due; return the seconds until the next turn. A fault is logged and the next turn tries again."""
        agent = self._agent_now()
        if agent is None or not agent.lease_valid():
            self._take_reports()
            return LOOK_SECONDS
        try:
            close_old_connections()
            self._under(agent)
            self._take_reports()
            self._look_for_changes(agent)
            self._renew(agent)
            self._do_what_is_due(agent)
            self._write(agent)
            return self._seconds_to_wait()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The sensors could not be looked after: %s", error)
        except Exception:
            logger.exception("The sensors could not be looked after; the next turn tries again")
        finally:
            close_old_connections()
        return AFTER_FAULT_SECONDS

    def _under(self, agent: WorkerAgent) -> None:
        """With another lease of the worker everything begins anew: what ran under the one before is dead."""
        if agent.holder != self._holder:
            self._held.clear()
            self._changed.set()
            agent.offer(max_concurrent_sensors=settings.SENSOR_SLOTS)
            self._holder = agent.holder

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        moments = [
            moment
            for held in self._held.values()
            for moment in (held.restart_at, None if held.run else held.start_at, self._healthy_at(held))
            if moment is not None
        ]
        return min([LOOK_SECONDS, *(max(0.01, moment - now) for moment in moments)])

    # --- What is wanted -------------------------------------------------------------------------------------------

    def _look_for_changes(self, agent: WorkerAgent) -> None:
        seen = notices.fingerprint()
        now = time.monotonic()
        if seen == self._seen and not self._changed.is_set() and now < min(self._everything_at, self._again_at):
            return
        self._changed.clear()
        everything = now >= self._everything_at
        self._compare(agent, wanted_sensors())
        self._seen = seen
        self._again_at = now + (AGAIN_SECONDS if self._elsewhere else EVERYTHING_SECONDS)
        if everything:
            self._everything_at = now + EVERYTHING_SECONDS
            self._look_after_logs()

    def _compare(self, agent: WorkerAgent, wanted: dict[int, Wanted]) -> None:
        """Bring what is held in step with what is wanted."""
        offers = placement.read_offers()
        own = next((offer for offer in offers if offer.worker_id == agent.worker_id), None)
        for sensor_id, held in list(self._held.items()):
            found = wanted.get(sensor_id)
            if found is None:
                self._leave(held, "not wanted any more")
            elif own is not None and not placement.may_stay(found.sensor, own):
                self._leave(held, "does not fit this worker any more")
            else:
                self._update(held, found)
        self._take(agent, wanted, offers)

    def _update(self, held: _Held, wanted: Wanted) -> None:
        program_changed = held.wanted.program != wanted.program
        if len(held.wanted.rules) != len(wanted.rules):
            held.unwritten.append({"active_rule_count": len(wanted.rules)})
        held.wanted = wanted
        now = time.monotonic()
        if held.run is None:
            if program_changed and held.start_at is not None:
                held.start_at = now  # what failed was another program
            return
        if held.leaving:
            held.leaving = False  # it is wanted again; once its process has ended it is started anew
            held.start_at = now
        elif held.content == held.runs_with:
            held.restart_at = None
        elif held.restart_at is None and held.run.asked_at is None:
            held.restart_at = now + BURST_SECONDS

    def _take(self, agent: WorkerAgent, wanted: dict[int, Wanted], offers: list[Offer]) -> None:
        """Take what nobody has and this worker suits best; what the best one leaves alone anybody takes."""
        missing = [found for pk, found in wanted.items() if pk not in self._held]
        self._elsewhere = bool(missing)
        # What is in this worker's name and not in its hands was left by a turn that failed.
        to_be_had = leases.free() | Q(lease_worker=agent.worker_id)
        free = set(
            Sensor.objects.filter(to_be_had, pk__in=[found.sensor.pk for found in missing]).values_list(
                "pk", flat=True
            )
        )
        now = time.monotonic()
        self._unheld_since = {pk: self._unheld_since.get(pk, now) for pk in free}
        own = [offer for offer in offers if offer.worker_id == agent.worker_id]
        for found in missing:
            sensor = found.sensor
            if sensor.pk not in free:
                self._said.pop(sensor.pk, None)
                continue
            best = placement.best_worker(sensor, offers)
            left_alone = now - self._unheld_since[sensor.pk] >= PATIENCE_SECONDS
            if best is None:
                self._say_nowhere(sensor, offers)
                continue
            ours = best == agent.worker_id or (left_alone and placement.best_worker(sensor, own) is not None)
            if ours and self._take_one(agent, found):
                offers = placement.read_offers()
                own = [offer for offer in offers if offer.worker_id == agent.worker_id]

    def _take_one(self, agent: WorkerAgent, wanted: Wanted) -> bool:
        sensor = wanted.sensor
        if not leases.take(sensor.pk, worker_id=agent.worker_id, holder=agent.holder):
            return False
        self._unheld_since.pop(sensor.pk, None)
        self._said.pop(sensor.pk, None)
        streak = Streak(first_delay_seconds=settings.SENSOR_BACKOFF_SECONDS)
        self._held[sensor.pk] = held = _Held(wanted=wanted, streak=streak, start_at=time.monotonic())
        held.unwritten.append(
            {
                "status": SensorProcessStatus.STARTING,
                "active_rule_count": len(wanted.rules),
                "consecutive_failures": 0,
            }
        )
        logger.info("Sensor %s runs on this worker from now on", sensor.ref)
        return True

    def _say_nowhere(self, sensor: Sensor, offers: list[Offer]) -> None:
        reason = placement.why_nowhere(sensor, offers)
        if self._said.get(sensor.pk) != reason:
            self._said[sensor.pk] = reason
            logger.warning("Sensor %s waits for a worker (%s)", sensor.ref, reason)

    def _leave(self, held: _Held, reason: str) -> None:
        if held.leaving:
            return
        logger.info("Sensor %s is stopped: %s", held.ref, reason)
        held.leaving = True
        held.start_at = held.restart_at = None
        if held.run is not None:
            held.run.stop()

    # --- The lease ------------------------------------------------------------------------------------------------

    def _renew(self, agent: WorkerAgent) -> None:
        now = time.monotonic()
        if now < self._renew_at or not self._held:
            return
        still_ours = leases.renew(list(self._held), worker_id=agent.worker_id)
        self._renew_at = now + settings.HEARTBEAT_SECONDS
        for sensor_id in [pk for pk in self._held if pk not in still_ours]:
            held = self._held.pop(sensor_id)
            logger.error("Sensor %s is no longer this worker's; what runs of it is killed", held.ref)
            if held.run is not None:
                held.run.kill()
            rows.settle(agent.worker_id, sensor_ids=[sensor_id], reason="lease lost")
            self._changed.set()

    # --- Its processes --------------------------------------------------------------------------------------------

    def _do_what_is_due(self, agent: WorkerAgent) -> None:
        now = time.monotonic()
        for held in list(self._held.values()):
            healthy_at = self._healthy_at(held)
            if healthy_at is not None and now >= healthy_at:
                held.streak.reset()
                held.unwritten.append({"consecutive_failures": 0})
            if held.restart_at is not None and now >= held.restart_at and held.run is not None:
                logger.info("Sensor %s is restarted: its rules or its program have changed", held.ref)
                held.restart_at, held.start_at = None, now
                held.run.stop()
            elif held.start_at is not None and now >= held.start_at and held.run is None:
                self._begin(agent, held)

    def _begin(self, agent: WorkerAgent, held: _Held) -> None:
        offers = placement.read_offers()
        own = next((offer for offer in offers if offer.worker_id == agent.worker_id), None)
        leaves = own is not None and (own.cordoned or own.draining)
        if leaves and placement.best_worker(held.wanted.sensor, offers) is not None:
            self._leave(held, "this worker takes no new work and another one can")
            return
        self._numbers += 1
        held.run = SensorRun(held.wanted, number=self._numbers, agent=agent, report=self._note)
        held.start_at = held.restart_at = None
        held.runs_with = held.content
        held.unwritten.append({"status": SensorProcessStatus.STARTING, "pid": None, "next_restart_at": None})
        held.run.start()

    def _healthy_at(self, held: _Held) -> float | None:
        """Return when its failures are forgotten, None where there is nothing to forget."""
        if held.running_since is None or not held.streak.failures:
            return None
        return held.running_since + HEALTHY_AFTER_SECONDS

    # --- What its threads report ----------------------------------------------------------------------------------

    def _note(self, report: Report) -> None:
        self._reports.put(report)
        self._wake.set()

    def _take_reports(self) -> None:
        for report in self._waiting_reports():
            held = self._held.get(report.sensor_id)
            if held is None or held.run is None or held.run.number != report.number:
                continue  # of a sensor that is no longer ours
            match report:
                case HasStarted():
                    self._has_started(held, report)
                case HasOutput():
                    held.unlogged = True
                case HasEnded():
                    self._has_ended(held, report)

    def _waiting_reports(self) -> Iterable[Report]:
        while True:
            try:
                yield self._reports.get_nowait()
            except queue.Empty:
                return

    def _has_started(self, held: _Held, report: HasStarted) -> None:
        held.pid = report.pid
        held.running_since = time.monotonic()
        held.unwritten.append(
            {
                "status": SensorProcessStatus.RUNNING,
                "pid": report.pid,
                "last_started_at": _moment(),
                "next_restart_at": None,
                "log_artifact_ref": logs.artifact_ref(held.ref, "stdout"),
            }
        )
        logger.info("Sensor %s has started as process %d", held.ref, report.pid)

    def _has_ended(self, held: _Held, report: HasEnded) -> None:
        was_asked = held.run is not None and held.run.asked_at is not None
        held.run, held.pid, held.running_since, held.restart_at = None, None, None, None
        held.unlogged = True
        if report.lost:
            logger.warning("Sensor %s was ended with the lease of this worker", held.ref)
            return  # with the next lease everything begins anew
        fields: dict[str, Any] = {
            "pid": None,
            "last_exit_code": report.exit_code,
            "last_signal": report.signal,
            "last_stopped_at": _moment(),
            "stderr_excerpt": report.stderr or report.error or None,
        }
        if was_asked:
            held.unwritten.append({**fields, "status": SensorProcessStatus.STOPPED, "next_restart_at": None})
            if not held.leaving:
                held.start_at = time.monotonic()
        elif report.passing:
            logger.warning("Sensor %s could not be started: %s", held.ref, report.error)
            held.start_at = time.monotonic() + PASSING_SECONDS
        else:
            self._has_failed(held, report, fields)

    def _has_failed(self, held: _Held, report: HasEnded, fields: dict[str, Any]) -> None:
        delay = held.streak.failed(report.seconds)
        held.start_at = time.monotonic() + delay
        next_at = _moment() + timedelta(seconds=delay)
        status = SensorProcessStatus.FAILED if report.error else SensorProcessStatus.BACKOFF
        held.unwritten.append(
            {
                **fields,
                "status": status,
                "consecutive_failures": held.streak.failures,
                "next_restart_at": next_at,
            }
        )
        how = _how(report)
        logger.warning(
            "Sensor %s %s (%d in a row); it is started again in %g s", held.ref, how, held.streak.failures, delay
        )
        if held.streak.wants_alert:
            held.streak.alerted = True
            held.alert = self._alert(held, report, how)
            held.unwritten.append({"last_alerted_at": _moment(), "last_alerted_failures": held.streak.failures})

    def _alert(self, held: _Held, report: HasEnded, how: str) -> Alert:
        return Alert(
            severity="error",
            category="sensor",
            failure_type="sensor_failing",
            component_type="sensor",
            component_id=held.wanted.sensor.pk,
            component_ref=held.ref,
            worker_role="sensor",
            summary=f"Sensor '{held.ref}' {how}, {held.streak.failures} times in a row",
            details={
                "consecutive_failures": held.streak.failures,
                "alert_from": ALERT_FROM,
                "exit_code": report.exit_code,
                "signal": report.signal,
                "error": report.error or None,
                "stderr": report.stderr[-2000:],
            },
            correlation_id=f"sensor:{held.wanted.sensor.pk}:failing:{held.streak.id}",
        )

    # --- What is written ------------------------------------------------------------------------------------------

    def _write(self, agent: WorkerAgent) -> None:
        for sensor_id, held in list(self._held.items()):
            self._write_rows(agent.worker_id, sensor_id, held)
            if held.alert is not None:
                raise_alert(held.alert)
                held.alert = None
            if held.unlogged:
                logs.bring_in_step(held.wanted.sensor, agent.worker_id)
                held.unlogged = False
            if held.leaving and held.run is None:
                leases.give_up(sensor_id, worker_id=agent.worker_id)
                del self._held[sensor_id]
                notices.ring()  # another supervisor of this process, and this one, may look again
        self._offer(agent)

    def _write_rows(self, worker_id: int, sensor_id: int, held: _Held) -> None:
        while held.unwritten:
            rows.write(sensor_id, worker_id, held.unwritten[0])
            del held.unwritten[0]

    def _offer(self, agent: WorkerAgent) -> None:
        agent.offer(
            sensor_processes_running=sum(held.pid is not None for held in self._held.values()),
            sensor_processes_monitored=len(self._held),
            active_rules=sum(len(held.wanted.rules) for held in self._held.values()),
        )

    def _look_after_logs(self) -> None:
        for held in self._held.values():
            logs.remove_old(held.wanted.sensor)
            held.unlogged = True  # their sizes

    # --- The end --------------------------------------------------------------------------------------------------

    def _end_all(self) -> None:
        """Stop all that runs, and let go of it. What does not end in time the agent's end kills."""
        for held in self._held.values():
            self._leave(held, "this worker stops")
        ends_at = time.monotonic() + settings.KILL_GRACE_SECONDS + STOP_SLACK_SECONDS
        while any(held.run is not None for held in self._held.values()) and time.monotonic() < ends_at:
            self._wake.wait(min(0.2, max(0.0, ends_at - time.monotonic())))
            self._wake.clear()
            self._take_reports()
        agent = self._agent_now()
        if agent is None or not agent.lease_valid() or agent.holder != self._holder:
            return  # whoever took the worker's lease has put the rows right
        try:
            self._write(agent)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The end of the sensors could not be written: %s; their leases run out", error)


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
