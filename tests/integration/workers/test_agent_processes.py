"""Worker processes that die, stand still, or lose the database: what runs is gone before the lease is another's."""

import contextlib
import json
import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from apps.workers.holder import start_time
from apps.workers.models import Worker, WorkerLease

pytestmark = pytest.mark.django_db(transaction=True)
LEASE_SECONDS = 2.0
TIMES = {
    "ATTUNE_HEARTBEAT_SECONDS": "0.2",
    "ATTUNE_LEASE_SECONDS": str(LEASE_SECONDS),
    "ATTUNE_KILL_GRACE_SECONDS": "0.3",
    "ATTUNE_WORKER_RUNTIMES": "shell",
}
PROGRAM = Path(__file__).with_name("agent_program.py")
START_SECONDS = 30  # a process that loads Django on a busy machine


def database_url(port: int | None = None) -> str:
    """Return the DATABASE_URL of the tests' database, by way of another port if one is given."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    there = connection.settings_dict
    address = f"{there['HOST'] or '127.0.0.1'}:{port or there['PORT'] or 5432}"
    user = quote(there["USER"]) + (f":{quote(there['PASSWORD'])}" if there["PASSWORD"] else "")
    return f"postgres://{user}@{address}/{name}"


class AgentProcess:
    """A running agent_program.py."""

    def __init__(self, name: str, *, grace: float = 0, url: str | None = None) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("ATTUNE_")}
        environ |= {"ATTUNE_STATE_DIR": str(settings.STATE_DIR), "DATABASE_URL": url or database_url(), **TIMES}
        environ["DJANGO_SETTINGS_MODULE"] = "settings.dev"
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), name, str(grace)], stdout=subprocess.PIPE, text=True, env=environ
        )
        self._lines: queue.Queue[dict] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def told(self, event: str, timeout: float = START_SECONDS) -> dict:
        """Wait for an event and return it."""
        ends_at = time.monotonic() + timeout
        while True:
            said = self._lines.get(timeout=max(ends_at - time.monotonic(), 0.01))
            if said["event"] == event:
                return said

    def silent(self) -> bool:
        return self._lines.empty()

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.send(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()


@pytest.fixture
def agent() -> Iterator[Callable[..., AgentProcess]]:
    """Start agent processes, and end them with the test."""
    started: list[AgentProcess] = []

    def start(name: str = "w1", **options) -> AgentProcess:
        started.append(AgentProcess(name, **options))
        return started[-1]

    yield start
    for process in started:
        process.end()


def gone(pid: int, timeout: float) -> bool:
    """Wait for a process to be gone (or a zombie of a killed parent)."""
    ends_at = time.monotonic() + timeout
    while start_time(pid) is not None:
        if time.monotonic() > ends_at:
            return False
        threading.Event().wait(0.02)
    return True


def test_killed_holder_is_replaced_without_waiting_for_its_lease(agent):
    first = agent()
    started = first.told("started")
    second = agent()
    first.send(signal.SIGKILL)
    first.process.wait()

    taken = second.told("started")

    assert gone(started["program"], timeout=0)  # its guard saw to that first
    assert (taken["worker_id"], taken["generation"]) == (started["worker_id"], 2)


def test_stopped_holder_loses_the_name_and_ends_when_it_wakes(agent):
    first = agent()
    started = first.told("started")
    second = agent()
    first.send(signal.SIGSTOP)
    stopped_at = time.monotonic()

    assert second.told("started")["generation"] == 2
    assert time.monotonic() - stopped_at > LEASE_SECONDS - 1

    first.send(signal.SIGCONT)
    assert first.told("run ended")["lease_valid"] is False  # so it writes nothing, whoever killed the program
    assert gone(started["program"], timeout=30)
    assert first.process.wait(timeout=60) == 1
    assert Worker.objects.get().status == "active"
    assert WorkerLease.objects.get().generation == 2


def test_stopped_holder_that_nobody_replaced_takes_a_new_lease(agent):
    first = agent()
    started = first.told("started")
    first.send(signal.SIGSTOP)
    threading.Event().wait(LEASE_SECONDS + 0.5)  # the lease runs out meanwhile: nothing to wait for
    first.send(signal.SIGCONT)

    assert first.told("run ended")["lease_valid"] is False
    assert first.told("new lease")["generation"] == 2
    assert gone(started["program"], timeout=30)
    assert first.process.poll() is None


def test_second_process_with_the_name_waits_and_can_be_called_off(agent):
    first = agent()
    first.told("started")
    second = agent()
    threading.Event().wait(LEASE_SECONDS)  # longer than a lease that is not renewed
    second.send(signal.SIGTERM)

    second.process.wait(timeout=START_SECONDS)

    assert second.silent()
    assert WorkerLease.objects.get().generation == 1


def test_graceful_stop_waits_for_what_runs_then_kills_it(agent):
    first = agent(grace=1.5)
    started = first.told("started")
    stopped_at = time.monotonic()
    first.send(signal.SIGTERM)

    said = first.told("run ended")

    assert 1.4 < time.monotonic() - stopped_at < 20
    assert said == {"event": "run ended", "reason": "lost", "lease_valid": True}
    first.told("stopped")
    assert gone(started["program"], timeout=30)
    worker = Worker.objects.get()
    assert (worker.status, worker.draining) == ("inactive", False)
    assert agent().told("started")["generation"] == 2


def test_program_is_gone_before_the_lease_ends_when_the_database_is_away(agent, cut_off):
    first = agent(url=cut_off.url)
    started = first.told("started")
    with cut_off():
        cut_at = time.monotonic()
        assert gone(started["program"], timeout=LEASE_SECONDS)
        # Renewed at most a heartbeat before the cut; SIGTERM comes when grace and a tenth of the lease are left.
        assert LEASE_SECONDS - 1 < time.monotonic() - cut_at + 0.2 < LEASE_SECONDS
        assert first.told("run ended")["lease_valid"] is False
        threading.Event().wait(LEASE_SECONDS / 2)  # past the lease's end
    assert first.told("new lease")["generation"] == 2
    assert first.process.poll() is None


@pytest.mark.postgresql
def test_database_that_hangs_costs_what_runs_and_not_the_worker(agent, cut_off):
    first = agent(url=cut_off.url)
    started = first.told("started")
    with cut_off.stalled():
        assert gone(started["program"], timeout=LEASE_SECONDS)
        threading.Event().wait(LEASE_SECONDS / 2)  # past the lease's end, with a renewal under way

    assert first.told("new lease")["generation"] == 2
    assert first.process.poll() is None


def test_short_absence_of_the_database_costs_nothing(agent, cut_off):
    first = agent(url=cut_off.url)
    first.told("started")
    with cut_off():
        threading.Event().wait(LEASE_SECONDS / 3)
    before = WorkerLease.objects.get().renewed_at

    ends_at = time.monotonic() + 60
    while WorkerLease.objects.get().renewed_at == before and time.monotonic() < ends_at:
        threading.Event().wait(0.05)

    assert WorkerLease.objects.get().renewed_at > before
    assert WorkerLease.objects.get().generation == 1
    assert first.silent()


class Proxy:
    """A TCP proxy in front of PostgreSQL that can be cut: connections are closed and new ones refused."""

    def __init__(self) -> None:
        self._there = (connection.settings_dict["HOST"] or "127.0.0.1", int(connection.settings_dict["PORT"] or 5432))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._flows = threading.Event()
        self._flows.set()
        self._listen(0)
        self.port = self._open[0].getsockname()[1]
        self.url = database_url(self.port)

    def _listen(self, port: int) -> None:
        listener = socket.create_server(("127.0.0.1", port))
        self._open.append(listener)
        self._in_thread(self._accept, listener)

    def _in_thread(self, target: Callable[..., None], *args: socket.socket) -> None:
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._there)
                self._open += [near, far]
                self._in_thread(self._pump, near, far)
                self._in_thread(self._pump, far, near)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self.close()
        yield
        self._listen(self.port)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Hold back whatever is sent, and deliver it in the end."""
        self._flows.clear()
        yield
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads or accepts there
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()
        self._open.clear()
        self._threads.clear()


class Locked:
    """The SQLite file, held by another writer."""

    def __init__(self) -> None:
        self.url = database_url()

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        other = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None, timeout=20)
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
        other.close()

    def close(self) -> None: ...


@pytest.fixture
def cut_off() -> Iterator[Proxy | Locked]:
    """A way to the database that can be cut off."""
    way = Proxy() if connection.vendor == "postgresql" else Locked()
    yield way
    way.close()
