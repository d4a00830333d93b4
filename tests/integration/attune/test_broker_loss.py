"""The connection to Redis breaks while messages are not acknowledged yet: Celery's consumer must outlive its own tidying."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from attune.celery import app
from tests import services

pytestmark = pytest.mark.postgresql


@pytest.fixture
def redis() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    binaries, account, port = services.find_binaries(), services._account(), services.free_port()
    with tempfile.TemporaryDirectory(prefix="attune-redis-", dir="/tmp") as directory:
        Path(directory).chmod(0o777)
        data = Path(directory) / "data"
        data.mkdir()
        data.chmod(0o777)
        process = services._start_redis(binaries, data, port, account)
        yield f"redis://127.0.0.1:{port}/0", process
        services._end([process])


def test_unacknowledged_messages_do_not_end_the_consumer(redis: tuple[str, "subprocess.Popen[bytes]"]) -> None:
    url, server = redis
    consumer = app.WorkController(hostname="lost@test", pool="threads", concurrency=1).consumer
    connection = Connection(url, transport_options={"socket_timeout": 1, "socket_connect_timeout": 1})
    with connection.SimpleQueue("work") as queue:
        queue.put({"execution_id": 1})
        queue.get(timeout=5)  # and never acknowledged
        consumer.connection = connection
        server.kill()
        server.wait()

        consumer.on_connection_error_after_connected(ConnectionError("gone"))

    assert consumer.connection is None
