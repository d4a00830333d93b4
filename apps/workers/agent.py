"""
The agent of a worker process: it holds the worker's name, and stops what runs before the lease on it ends.

Three threads: one renews the lease; one watches the clock and touches neither database nor network, so that nothing
can hold it up; one does what may take longer after a renewal. Architecture section 4, execution.md section 5.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError, close_old_connections, transaction

from apps.core import ending
from apps.workers import environments, history, holder, lease
from apps.workers.lease import Claimant, Held, Lease, Renewal, Times, boottime
from apps.workers.models import Worker, WorkerRole, WorkerStatus
from apps.workers.runner_services import RunnerServices
from apps.workers.runs import RunRegistry, StopReason
from apps.workers.signals import lease_renewed, worker_available, worker_draining
from apps.workers.upkeep import Upkeep

logger = logging.getLogger(__name__)

_LONGEST_BACKOFF_SECONDS = 2.0
_LONGEST_LOOK_SECONDS = 0.5  # the watching thread looks at the clock this often: its waits do not count suspend
_GIVE_UP_SECONDS = 5.0  # how long a stopping worker tries to give its lease up; then it runs out by itself
_PASSING = (OperationalError, InterfaceError)


class NameTaken(Exception):
    """The start was called off while another process held the worker's name."""


def _end_process() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


class WorkerAgent:
    """One per worker process: start it before the first run, ask ``lease_valid`` before every write of a run."""

    def __init__(
        self,
        *,
        services: RunnerServices,
        name: str | None = None,
        slots: int | None = None,
        role: str = WorkerRole.ACTION,
        times: Times | None = None,
        on_lost_name: Callable[[], None] = _end_process,
    ) -> None:
        self.name = name or settings.WORKER_NAME
        self.role = role
        # A worker for sensors alone has no slots.
        self.slots = 0 if role == WorkerRole.SENSOR else slots or settings.WORKER_SLOTS
        self.services = services
        self.runs = RunRegistry()
        self.sensors = RunRegistry()  # by sensor id; a stop does not wait for their end, a lost lease ends them too
        self.times = times or Times()
        self._on_lost_name = on_lost_name
        self._lease: Lease | None = None
        self._over = threading.Event()  # the lease in hand is lost: it is never renewed again
        self._deciding = threading.Lock()  # whether a renewal came in time
        self._ended = threading.Event()  # the agent's threads are to end
        self._hurry = threading.Event()  # a stop does not wait for what runs
        self._renewed = threading.Event()  # for the thread that follows a renewal
        self._stopping = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._upkeep = Upkeep(services=services, slots=self.slots)
        self._guard_pid: int | None = None

    # --- What others ask ------------------------------------------------------------------------------------------

    @property
    def worker_id(self) -> int:
        return self._held().worker_id

    @property
    def holder(self) -> UUID:
        return self._held().holder

    @property
    def generation(self) -> int:
        return self._held().generation

    def lease_valid(self) -> bool:
        """
        Return True while this process may write for its runs; by the clock, without a query.

        From the moment on at which what runs is to be stopped nothing is written for it any more, whichever thread
        of a process that was suspended wakes first.
        """
        held = self._lease
        return held is not None and not self._over.is_set() and boottime() < self._stop_at(held)

    def _stop_at(self, held: Lease) -> float:
        return held.ends_at - self.times.stop_margin

    def _kill_at(self, held: Lease) -> float:
        return held.ends_at - self.times.kill_margin

    def offers(self) -> dict[str, Any]:
        """Return the worker's capabilities as last registered."""
        return self._upkeep.capabilities

    def offer(self, **capabilities: Any) -> None:
        """Offer this besides what is found on the machine; before the start it is registered with the worker."""
        self._upkeep.tell(self.worker_id if self._lease is not None else None, **capabilities)

    def look_again(self) -> None:
        """Packs or environments have changed: see what this worker offers now."""
        self._upkeep.look_again()
        self._renewed.set()

    def _held(self) -> Lease:
        if self._lease is None:
            raise RuntimeError(f"The worker {self.name!r} is not registered.")
        return self._lease

    # --- Start ----------------------------------------------------------------------------------------------------

    def start(self, *, called_off: Callable[[], bool] = lambda: False) -> None:
        """
        Register, take the lease and keep it. Waits while another process holds the name, or the database is away.

        Raises NameTaken when ``called_off`` becomes true in the meantime.
        """
        self.services.start()
        environments.use_services(self.services)
        try:
            self._lease = self._taken(called_off)
        except BaseException:
            environments.use_services(None)
            self.services.close()
            raise
        self._tell_guard()
        for target in (self._keep_renewing, self._watch, self._follow_renewals):
            thread = threading.Thread(target=target, name=f"agent{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._upkeep.start()
        _become_current(self)
        logger.info("Worker %r is registered as %d, generation %d", self.name, self.worker_id, self.generation)
        self._announce()

    def _taken(self, called_off: Callable[[], bool]) -> Lease:
        """Take the lease, waiting for as long as that needs."""
        said = ""
        backoff = 0.1
        while not called_off():
            wait, reason = backoff, ""
            try:
                self._upkeep.first_look()
                found = lease.take(self._claimant(), self.times)
            except _PASSING as error:
                reason, backoff = f"the database is away ({error})", min(2 * backoff, _LONGEST_BACKOFF_SECONDS)
            else:
                if isinstance(found, Lease):
                    return found
                reason = f"process {found.by.get('pid')} holds the name; its lease ends in {found.seconds_left:.0f} s"
                wait = min(max(found.seconds_left, 0.05), 0.5)
            finally:
                close_old_connections()
            if reason.partition(";")[0] != said:
                logger.warning("Worker %r waits: %s", self.name, reason)
                said = reason.partition(";")[0]
            self._ended.wait(wait)
        raise NameTaken(f"The start of worker {self.name!r} was called off while it waited for its name.")

    def _claimant(self) -> Claimant:
        return Claimant(
            name=self.name,
            fields={
                "worker_type": settings.WORKER_TYPE,
                "worker_role": self.role,
                "host": socket.gethostname(),
                "status": WorkerStatus.ACTIVE,
                "capabilities": self._upkeep.capabilities,
            },
            process=self._process(),
            former=self._lease.holder if self._lease else None,
        )

    def _process(self) -> dict[str, Any]:
        guard = self.services.guard
        self._guard_pid = guard.pid if guard else None
        return holder.this_process(guard_pid=self._guard_pid)

    def _announce(self) -> None:
        """Tell the apps above that this worker can take work."""
        try:
            _send_robust(worker_available, worker_id=self.worker_id)
        finally:
            close_old_connections()

    # --- The renewing thread --------------------------------------------------------------------------------------

    def _keep_renewing(self) -> None:
        backoff = 0.1
        wait = self.times.heartbeat
        while not self._ended.wait(wait):
            try:
                wait = self._turn()
                backoff = 0.1
            except _PASSING as error:
                logger.warning("Worker %r could not renew its lease: %s", self.name, error)
                wait, backoff = backoff, min(2 * backoff, _LONGEST_BACKOFF_SECONDS, self.times.heartbeat)
            except Exception:
                logger.exception("Worker %r failed to renew its lease", self.name)
                wait, backoff = backoff, min(2 * backoff, _LONGEST_BACKOFF_SECONDS, self.times.heartbeat)
            finally:
                close_old_connections()

    def _turn(self) -> float:
        """Renew the lease, or take a new one when it is lost; return after how many seconds to come again."""
        if self._over.is_set():
            self._take_anew()
            return self.times.heartbeat
        if not self.lease_valid():  # too late: what ran is being stopped, and may be dead already
            self._lose_by_clock()
            return 0.0
        found, renewed = lease.renew(self._held(), self.times)
        if self._ended.is_set():
            return self.times.heartbeat
        match found:
            case Renewal.RENEWED:
                return self.times.heartbeat if self._accept(renewed) else 0.0
            case Renewal.OVER:
                self._lose(kill=True)
                return 0.0
            case Renewal.TAKEN:
                self._lose_name()
                return self.times.heartbeat

    def _accept(self, renewed: Lease) -> bool:
        """Take a renewal in; return False when it came too late and what runs has been told to stop already."""
        with self._deciding:
            if self._over.is_set():
                return False
            self._lease = renewed
        self._tell_guard()
        self._renewed.set()
        return True

    def _take_anew(self) -> None:
        """Once nothing of the lost lease runs any more, take a new one: that settles what was running."""
        former = self._held()
        if not self._wait_empty(max(former.ends_at - boottime(), 0) + self.times.kill_grace):
            self._kill_all()
            if not self._wait_empty(self.times.kill_grace):
                left = sorted(self.runs.snapshot()), sorted(self.sensors.snapshot())
                logger.error("Worker %r: runs %s and sensors %s do not end", self.name, *left)
        if self._ended.is_set():
            return
        found = lease.take(self._claimant(), self.times)
        if isinstance(found, Held):
            self._lose_name()
            return
        self._lease = found
        self._over.clear()
        self._tell_guard()
        logger.warning("Worker %r has taken a new lease, generation %d", self.name, found.generation)
        self._renewed.set()
        self._announce()

    def _lose_name(self) -> None:
        """Another process works under this name now: kill what runs, and end this one."""
        self._lose(kill=True)
        self._ended.set()
        logger.critical("Worker %r: another process has taken the name over; this one ends", self.name)
        self._on_lost_name()

    def _tell_guard(self) -> None:
        guard = self.services.guard
        if guard is not None:
            guard.lease(self._kill_at(self._held()))

    # --- The watching thread --------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Stop what runs when the lease is about to end without having been renewed."""
        while not self._ended.is_set():
            held, now = self._held(), boottime()
            if self._over.is_set():
                due = self._kill_at(held)
                if now >= due:
                    self._kill_all()
                    due = now + _LONGEST_LOOK_SECONDS
            else:
                due = self._stop_at(held)
                if now >= due:
                    self._lose_by_clock()
                    continue
            self._ended.wait(min(max(due - now, 0.02), _LONGEST_LOOK_SECONDS))

    def _lose_by_clock(self) -> None:
        self._lose(kill=boottime() >= self._kill_at(self._held()))

    def _lose(self, *, kill: bool) -> None:
        """From now on nothing is written under the lease in hand, and what runs is stopped."""
        with self._deciding:
            news = not self._over.is_set()
            self._over.set()
        if news:
            running = len(self.runs) + len(self.sensors)
            logger.error("Worker %r has lost its lease; %d runs are stopped", self.name, running)
        if kill:
            self._kill_all()
        else:
            self._stop_all()

    def _stop_all(self) -> None:
        self.runs.stop_all("lost")
        self.sensors.stop_all("lost")

    def _kill_all(self) -> None:
        self.runs.kill_all()
        self.sensors.kill_all()

    def _wait_empty(self, timeout: float) -> bool:
        ends_at = time.monotonic() + timeout
        return self.runs.wait_empty(timeout) and self.sensors.wait_empty(max(0.0, ends_at - time.monotonic()))

    # --- After a renewal ------------------------------------------------------------------------------------------

    def _follow_renewals(self) -> None:
        while True:
            self._renewed.wait()
            self._renewed.clear()
            if self._ended.is_set():
                return
            try:
                self._after_renewal()
            except _PASSING as error:
                logger.warning("Worker %r could not look after its runs: %s", self.name, error)
            except Exception:
                logger.exception("Worker %r failed after a renewal", self.name)
            finally:
                close_old_connections()

    def _after_renewal(self) -> None:
        self.services.templates.close_idle()
        _send_robust(
            lease_renewed,
            worker_id=self.worker_id,
            holder=self.holder,
            runs=self.runs.snapshot(),
            stop=self.stop_run,
        )
        if self.services.guard is not None and self.services.guard.pid != self._guard_pid:
            worker = Worker.objects.get(pk=self.worker_id)  # its guard had ended and was replaced
            worker.set(meta={**(worker.meta or {}), "process": self._process()})
        if self._upkeep.keep(self.worker_id):
            self._announce()

    def stop_run(self, execution_id: int, reason: StopReason) -> None:
        """Stop one run of this process, if it has it."""
        self.runs.stop(execution_id, reason)

    # --- Stop -----------------------------------------------------------------------------------------------------

    def hurry(self) -> None:
        """Let a stop that waits for runs wait no longer (a second signal)."""
        self._hurry.set()

    def stop(self, grace_seconds: float | None = None) -> None:
        """
        Take no new work, let what runs finish for so long, stop the rest, give the lease up. May be called twice.

        The lease is renewed up to its end; database faults hold it up for a few seconds at most.
        """
        with self._stopping:
            if self._lease is None or not self._threads:
                return
            grace = settings.SHUTDOWN_GRACE_SECONDS if grace_seconds is None else grace_seconds
            if not self._ended.is_set():
                self._patiently(self._begin_draining)
                self._wait_for_runs(grace)
            self._upkeep.stop()
            self._stop_the_rest()
            lost_name = self._ended.is_set()
            self._ended.set()
            self._renewed.set()
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join(timeout=2)
            self._threads.clear()
            if not lost_name:
                self._patiently(lambda: lease.give_up(self._held()))
            self._over.set()
            environments.use_services(None)
            self.services.close()
            _no_longer_current(self)
            logger.info("Worker %r has stopped", self.name)

    def _begin_draining(self) -> None:
        worker = Worker.objects.get(pk=self.worker_id)
        with transaction.atomic():
            history.change(worker, actor=history.actor_of(worker), reason="stopping", draining=True)
        _send_robust(worker_draining, worker=worker)

    def _wait_for_runs(self, grace_seconds: float) -> None:
        ends_at = time.monotonic() + grace_seconds
        while not self._hurry.is_set() and (left := ends_at - time.monotonic()) > 0:
            if self.runs.wait_empty(timeout=min(left, 0.2)):
                return

    def _stop_the_rest(self) -> None:
        if not len(self.runs) and not len(self.sensors):
            return
        self._stop_all()
        if not self._wait_empty(self.times.kill_grace + 1):
            self._kill_all()
            self._wait_empty(self.times.kill_grace + 1)

    def _patiently(self, work: Callable[[], Any]) -> None:
        """Do what needs the database, again while it is away, for a few seconds."""
        ends_at = time.monotonic() + _GIVE_UP_SECONDS
        while True:
            try:
                work()
                return
            except _PASSING as error:
                if time.monotonic() > ends_at or ending.has_given_up():
                    logger.warning("Worker %r could not say goodbye: %s; its lease runs out", self.name, error)
                    return
            except Exception:
                logger.exception("Worker %r could not say goodbye; its lease runs out", self.name)
                return
            finally:
                close_old_connections()
            time.sleep(0.2)


def _send_robust(signal_: Any, **arguments: Any) -> None:
    """Send a signal; a receiver that fails is logged, the others hear it."""
    for receiver, answer in signal_.send_robust(sender=Worker, **arguments):
        if isinstance(answer, Exception):
            logger.error("%r failed", receiver, exc_info=answer)


_current: WorkerAgent | None = None


def current_agent() -> WorkerAgent | None:
    """Return the agent of this process's worker, or None in a process that runs none."""
    return _current


def _become_current(agent: WorkerAgent) -> None:
    global _current
    _current = agent


def _no_longer_current(agent: WorkerAgent) -> None:
    global _current
    if _current is agent:
        _current = None
