"""PostgreSQL and Redis of one test's own, that can be stopped and started again under load."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests import services


class Outages:
    """The two servers; ``environment`` points to them."""

    def __init__(self, directory: Path) -> None:
        self._binaries = services.find_binaries()
        self._account = services._account()
        self._data = directory / "services"
        self._data.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(self._data, self._account.pw_uid, self._account.pw_gid)
        self._redis_port, self._postgresql_port = services.free_port(), services.free_port()
        self._redis = self._new_redis()
        self._postgresql = services._start_postgresql(
            self._binaries, self._data, self._postgresql_port, self._account, durable=True
        )

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "DATABASE_URL": f"postgres://attune@127.0.0.1:{self._postgresql_port}/attune",
            "CELERY_BROKER_URL": f"redis://127.0.0.1:{self._redis_port}/0",
        }

    def stop_redis(self) -> None:
        self._redis.kill()
        self._redis.wait()

    def start_redis(self) -> None:
        """An empty one: nothing may depend on what the broker remembers."""
        self._redis = self._new_redis()

    def restart_postgresql(self) -> None:
        """Break every connection off and come back."""
        self._postgresql.send_signal(signal.SIGQUIT)  # immediate shutdown, recovery at the start
        self._postgresql.wait(30)
        log = self._data.parent / "postgresql.log"
        argv = list(self._postgresql.args)  # type: ignore[arg-type]  # a list, as it was given
        self._postgresql = services._start(argv, self._data, self._account, log)
        services._wait_for_port(self._postgresql, self._postgresql_port, log)

    def end(self) -> None:
        services._end([self._redis, self._postgresql])

    def _new_redis(self) -> subprocess.Popen[bytes]:
        return services._start_redis(self._binaries, self._data, self._redis_port, self._account)


@contextmanager
def own_services() -> Iterator[Outages]:
    """Start both, and end them with the block."""
    directory = Path(tempfile.mkdtemp(prefix="attune-outages-", dir="/tmp"))
    directory.chmod(0o755)
    outages = None
    try:
        outages = Outages(directory)
        yield outages
    finally:
        if outages is not None:
            outages.end()
        shutil.rmtree(directory, ignore_errors=True)
