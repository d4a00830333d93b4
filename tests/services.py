"""
Private PostgreSQL and Redis instances of one test run, from the server binaries installed on this machine.

They listen on free loopback ports, keep everything in one temporary directory, run as an unprivileged user when we
are root, and end with us, whichever way we end.
"""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_UNPRIVILEGED = ("postgres", "nobody")
_START_SECONDS = 30
_PR_SET_PDEATHSIG = 1


class ServicesMissing(Exception):
    """A server binary is not installed; the message names the package."""


class ServiceFailed(Exception):
    """A server did not start; the message is its log."""


@dataclass(frozen=True, kw_only=True)
class Binaries:
    initdb: str
    postgres: str
    redis: str


def find_binaries() -> Binaries:
    """Raises ServicesMissing."""
    found = {}
    for name, package in (("initdb", "postgresql"), ("postgres", "postgresql"), ("redis-server", "redis-server")):
        path = _which(name)
        if path is None:
            raise ServicesMissing(f"{name} is not installed (on Debian: apt-get install {package})")
        found[name] = path
    return Binaries(initdb=found["initdb"], postgres=found["postgres"], redis=found["redis-server"])


def _which(name: str) -> str | None:
    """Find a server binary; Debian keeps PostgreSQL's outside the PATH, the newest version last."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    directories = [*map(str, versions), os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/bin"]
    return shutil.which(name, path=os.pathsep.join(directories))


@contextmanager
def running_services(*, durable: bool = False) -> Iterator[Mapping[str, str]]:
    """
    Start both; yield the environment that points to them. Raises ServicesMissing, ServiceFailed.

    ``durable``: PostgreSQL commits as it does in production, for timings.
    """
    binaries = find_binaries()
    account = _account()
    # Short: the path of PostgreSQL's socket must fit into 107 bytes.
    directory = Path(tempfile.mkdtemp(prefix="attune-services-", dir="/tmp"))
    processes: list[subprocess.Popen[bytes]] = []
    try:
        directory.chmod(0o755)
        data = directory / "services"
        data.mkdir(mode=0o700)
        if account is not None:
            os.chown(data, account.pw_uid, account.pw_gid)
        postgresql_port, redis_port = free_port(), free_port()
        processes.append(_start_redis(binaries, data, redis_port, account))
        processes.append(_start_postgresql(binaries, data, postgresql_port, account, durable=durable))
        yield {
            "DATABASE_URL": f"postgres://attune@127.0.0.1:{postgresql_port}/attune",
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        }
    finally:
        _end(processes)
        shutil.rmtree(directory, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _account() -> pwd.struct_passwd | None:
    """Return whom the servers run as, None for ourselves: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServicesMissing("neither the user postgres nor nobody exists, and PostgreSQL does not run as root")


def _start(argv: list[str], data: Path, account: pwd.struct_passwd | None, log: Path) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None)
    with log.open("ab") as output:
        return subprocess.Popen(
            argv,
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": str(data)},
            start_new_session=True,  # Ctrl-C is ours: the tests end first, then the servers
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            # Even when we are killed: PostgreSQL takes SIGINT as "fast shutdown".
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT),
        )


def _start_redis(
    binaries: Binaries, data: Path, port: int, account: pwd.struct_passwd | None
) -> subprocess.Popen[bytes]:
    argv = [binaries.redis, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    log = data.parent / "redis.log"
    process = _start([*argv, "--dir", str(data), "--daemonize", "no"], data, account, log)
    _wait_for_port(process, port, log)
    return process


def _start_postgresql(
    binaries: Binaries, data: Path, port: int, account: pwd.struct_passwd | None, *, durable: bool = False
) -> subprocess.Popen[bytes]:
    log = data.parent / "postgresql.log"
    cluster = data / "postgresql"
    made = _start(
        [binaries.initdb, "-D", str(cluster), "-U", "attune", "--auth=trust", "-E", "UTF8", "--no-sync"],
        data,
        account,
        log,
    )
    if made.wait(_START_SECONDS * 2) != 0:
        raise ServiceFailed(log.read_text(errors="replace"))
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(data),
        "max_connections": "200",
        "shared_buffers": "64MB",
    }
    if not durable:  # nobody needs these data after a power cut
        options |= {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    argv = [binaries.postgres, "-D", str(cluster)]
    for name, value in options.items():
        argv += ["-c", f"{name}={value}"]
    process = _start(argv, data, account, log)
    _wait_for_port(process, port, log)
    _make_database(port, process, log)
    return process


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ServiceFailed(log.read_text(errors="replace"))


def _make_database(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg  # only here: finding out what is missing must work before anything is installed

    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with psycopg.connect(f"postgres://attune@127.0.0.1:{port}/postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE attune")
            return
        except psycopg.OperationalError:  # the port answers before the server takes connections
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServiceFailed(log.read_text(errors="replace")) from None
            time.sleep(0.1)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGINT)
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
