"""
Whole processes of the product, for tests that need real ones: ``manage.py up``, a Celery worker, a scheduler.

Their environment is made from nothing, so that the developer's settings have no part in it. Take them from the
``processes`` fixture, which ends whatever a test started.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from django.conf import settings
from django.db import connection

BASE_DIR = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0  # a process that loads everything on a busy machine
ADMIN = {"login": "admin", "password": "administrator-1"}
# Lost workers and lost messages are found in seconds; the relations of the defaults are kept.
QUICK = {
    "ATTUNE_HEARTBEAT_SECONDS": "0.5",
    "ATTUNE_LEASE_SECONDS": "3",
    "ATTUNE_KILL_GRACE_SECONDS": "0.5",
    "ATTUNE_SWEEP_SECONDS": "0.5",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], Any], *, timeout_seconds: float = 60.0, what: str = "it") -> Any:
    """Return the first true answer. Raises TimeoutError."""
    ends_at = time.monotonic() + timeout_seconds
    while time.monotonic() < ends_at:
        answer = holds()
        if answer:
            return answer
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not happen within {timeout_seconds:g} s")


def database_url(name: str | None = None, *, port: int | None = None) -> str:
    """Return the DATABASE_URL of the tests' database, or of another one on the same server, by way of another port."""
    there = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{name or there['NAME']}"
    user = quote(there["USER"]) + (f":{quote(there['PASSWORD'])}" if there["PASSWORD"] else "")
    return f"postgres://{user}@{there['HOST'] or '127.0.0.1'}:{port or there['PORT'] or 5432}/{name or there['NAME']}"


_WITHOUT_ROOTS_RIGHT_TO_EVERY_FILE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")

Kept = TypeVar("Kept", bound="Process")


class Process:
    """One process of the product; what it writes goes to a file. A mortal one keeps to the modes of files."""

    def __init__(self, argv: list[str], environment: Mapping[str, str], *, mortal: bool = False) -> None:
        self._output = tempfile.NamedTemporaryFile(mode="w+b", suffix=".log")  # noqa: SIM115  # lives as long as we
        if mortal and os.geteuid() == 0:
            argv = [*_WITHOUT_ROOTS_RIGHT_TO_EVERY_FILE, *argv]
        self._process = subprocess.Popen(
            argv,
            cwd=BASE_DIR,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        return Path(self._output.name).read_text(errors="replace")

    def wait_for(self, pattern: str, timeout_seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait until the output matches. Raises TimeoutError, or AssertionError when the process ends before that."""

        def found() -> re.Match[str] | None:
            ended = not self.alive
            match = re.search(pattern, self.output())
            assert match or not ended, f"ended with {self._process.returncode}:\n{self.output()}"
            return match

        match = wait_until(found, timeout_seconds=timeout_seconds, what=f"{pattern!r}")
        assert isinstance(match, re.Match)
        return match

    def send(self, number: int) -> None:
        os.kill(self.pid, number)

    def interrupt(self) -> None:
        self.send(signal.SIGINT)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """The process is gone from one moment to the next; its children are not touched."""
        self.send(signal.SIGKILL)
        self._process.wait()

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def wait(self, timeout_seconds: float = 60.0) -> int:
        """Return the exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout_seconds)

    def end(self) -> None:
        """Whatever state it is in: end it, and what it left in its session."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self.thaw()
                self.terminate()
            try:
                self.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._output.close()


class Up(Process):
    """``manage.py up`` on a free port."""

    def __init__(self, state_dir: Path, *, port: int | None = None, mortal: bool = False, **environment: str) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        credentials = {"ATTUNE_ADMIN_LOGIN": ADMIN["login"], "ATTUNE_ADMIN_PASSWORD": ADMIN["password"]}
        super().__init__(
            [sys.executable, "manage.py", "up"],
            {"ATTUNE_STATE_DIR": str(state_dir), "ATTUNE_PORT": str(self.port), **credentials, **environment},
            mortal=mortal,
        )

    def status(self, path: str) -> int | None:
        """Return the status that the path answers with, None when nobody answers."""
        try:
            return httpx.get(self.url + path, timeout=10, trust_env=False).status_code
        except httpx.TransportError:
            return None

    def wait_ready(self, timeout_seconds: float = START_SECONDS) -> None:
        def ready() -> bool:
            assert self.alive, f"ended with {self._process.returncode}:\n{self.output()}"
            return self.status("/health/ready") == 200

        wait_until(ready, timeout_seconds=timeout_seconds, what="ready")

    def client(self) -> httpx.Client:
        """Return a client that is signed in as the administrator."""
        answer = httpx.post(f"{self.url}/auth/login", json=ADMIN, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        headers = {"Authorization": f"Bearer {answer.json()['data']['access_token']}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)


class Processes:
    """Start processes of the product; the fixture ends them with the test."""

    def __init__(self) -> None:
        self._started: list[Process] = []

    def up(self, state_dir: Path, **options: Any) -> Up:
        """``manage.py up`` on its own state directory, and on the database and broker that ``options`` name."""
        return self._keep(Up(state_dir, **options))

    def worker(self, name: str, **environment: str) -> Process:
        """``celery -A attune worker`` on the tests' database and broker (PostgreSQL and Redis)."""
        argv = [sys.executable, "-m", "celery", "-A", "attune", "worker", "--name", name, "--loglevel", "info"]
        return self._keep(Process(argv, {**self._shared(), **environment}))

    def scheduler(self, **environment: str) -> Process:
        return self._keep(Process([sys.executable, "manage.py", "scheduler"], {**self._shared(), **environment}))

    def sensors(self, name: str, **environment: str) -> Process:
        """``manage.py sensors`` on the tests' database."""
        argv = [sys.executable, "manage.py", "sensors", "--name", name]
        return self._keep(Process(argv, {**self._shared(), **environment}))

    def manage(self, *arguments: str, **environment: str) -> Process:
        return self._keep(Process([sys.executable, "manage.py", *arguments], {**self._shared(), **environment}))

    def any(self, argv: list[str], **environment: str) -> Process:
        return self._keep(Process(argv, environment))

    def end(self) -> None:
        """End all that were started, together; more may be started afterwards."""
        ending, self._started = self._started, []
        for process in ending:
            if process.alive:
                with contextlib.suppress(ProcessLookupError):
                    process.thaw()
                    process.terminate()
        for process in ending:
            process.end()

    def _keep(self, process: Kept) -> Kept:
        self._started.append(process)
        return process

    @staticmethod
    def _shared() -> dict[str, str]:
        """The same database, broker, keys and directories as the test process."""
        return {
            "DATABASE_URL": database_url(),
            "CELERY_BROKER_URL": settings.CELERY_BROKER_URL,
            "ATTUNE_STATE_DIR": str(settings.STATE_DIR),
            **QUICK,
        }
