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
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection
from django.db.models import Q

from apps.events import notices
from apps.events.alerts import raise_alert
from apps.events.models import Sensor
from apps.events.sensors import leases, logs, placement, rows
from apps.events.sensors.held import Held
from apps.events.sensors.running import HasEnded, HasOutput, HasStarted, Report, SensorRun
from apps.events.sensors.wanted import Wanted, wanted_sensors
from apps.workers.agent import WorkerAgent, current_agent
from apps.workers.fitness import Offer

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # how often changes made by other processes are looked for
AGAIN_SECONDS = 2.0  # how often those that another worker has, or none, are looked at: it may be lost
EVERYTHING_SECONDS = 60.0  # how often all of it is looked at, whatever seems to have changed
PATIENCE_SECONDS = 5.0  # how long a sensor is left to the worker that suits it better
AFTER_FAULT_SECONDS = 2.0  # until the next turn, unless something happens before
STOP_SLACK_SECONDS = 2.0  # beyond the kill grace


class Supervisor:
    """Start with ``start``; ``stop`` ends every sensor and gives it up."""

    def __init__(self, *, agent: Callable[[], WorkerAgent | None] = current_agent) -> None:
        self._agent_now = agent
        self._held: dict[int, Held] = {}
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
        self._changed.set()  # whatever it was about to look at
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
        moments = [moment for held in self._held.values() for moment in held.due_times()]
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
                held.leave("not wanted any more")
            elif own is not None and not placement.may_stay(found.sensor, own):
                held.leave("does not fit this worker any more")
            else:
                held.update(found)
        self._take(agent, wanted, offers)

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
        self._held[sensor.pk] = Held.taken(wanted, first_delay_seconds=settings.SENSOR_BACKOFF_SECONDS)
        logger.info("Sensor %s runs on this worker from now on", sensor.ref)
        return True

    def _say_nowhere(self, sensor: Sensor, offers: list[Offer]) -> None:
        reason = placement.why_nowhere(sensor, offers)
        if self._said.get(sensor.pk) != reason:
            self._said[sensor.pk] = reason
            logger.warning("Sensor %s waits for a worker (%s)", sensor.ref, reason)

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
            if held.healthy_at is not None and now >= held.healthy_at:
                held.is_healthy()
            if held.run is None and held.start_at is not None and now >= held.start_at:
                self._begin(agent, held)
            elif held.run is not None and held.restart_at is not None and now >= held.restart_at:
                held.restart()

    def _begin(self, agent: WorkerAgent, held: Held) -> None:
        offers = placement.read_offers()
        own = next((offer for offer in offers if offer.worker_id == agent.worker_id), None)
        leaves = own is not None and (own.cordoned or own.draining)
        if leaves and placement.best_worker(held.wanted.sensor, offers) is not None:
            held.leave("this worker takes no new work and another one can")
            return
        self._numbers += 1
        held.begin(SensorRun(held.wanted, number=self._numbers, agent=agent, report=self._note))

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
                    held.has_started(report)
                case HasOutput():
                    held.unlogged = True
                case HasEnded():
                    held.has_ended(report)

    def _waiting_reports(self) -> Iterable[Report]:
        while True:
            try:
                yield self._reports.get_nowait()
            except queue.Empty:
                return

    # --- What is written ------------------------------------------------------------------------------------------

    def _write(self, agent: WorkerAgent) -> None:
        for sensor_id, held in list(self._held.items()):
            try:
                self._write_of(agent.worker_id, sensor_id, held)
            except (OperationalError, InterfaceError):
                raise  # the database is away: all of it waits
            except Exception:
                logger.exception("What happened to sensor %s could not be written, and is left out", held.ref)
                held.unwritten, held.alert, held.unlogged = held.unwritten[1:], None, False
            if held.is_over and not held.unwritten:
                leases.give_up(sensor_id, worker_id=agent.worker_id)
                del self._held[sensor_id]
                notices.ring()  # it may be taken again, here or elsewhere
        self._offer(agent)

    def _write_of(self, worker_id: int, sensor_id: int, held: Held) -> None:
        while held.unwritten:
            rows.write(sensor_id, worker_id, held.unwritten[0])
            del held.unwritten[0]
        if held.alert is not None:
            raise_alert(held.alert)
            held.alert = None
        if held.unlogged:
            logs.bring_in_step(held.wanted.sensor, worker_id)
            held.unlogged = False

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
            held.leave("this worker stops")
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
