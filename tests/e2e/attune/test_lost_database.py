"""A stop beside a database that is gone: everything ends within seconds all the same."""

import sys
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.processes import Processes, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql]

PARTS = {
    "up": ([sys.executable, "manage.py", "up"], "is registered as"),
    "worker": ([sys.executable, "-m", "celery", "-A", "attune", "worker", "--loglevel", "info"], "is registered as"),
    "scheduler": ([sys.executable, "manage.py", "scheduler"], "The scheduler runs"),
    "sensors": ([sys.executable, "manage.py", "sensors"], "Sensors run here"),
}


def drop(url: str) -> None:
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_stop_does_not_wait_for_a_database_that_is_gone(
    processes: Processes, stack: dict[str, str], tmp_path: Path
) -> None:
    shared = {**stack, "ATTUNE_STATE_DIR": str(tmp_path), "ATTUNE_PORT": str(free_port())}
    assert processes.any([sys.executable, "manage.py", "prepare"], **shared).wait() == 0
    parts = {part: processes.any(argv, **shared, ATTUNE_WORKER_NAME=part) for part, (argv, _) in PARTS.items()}
    for part, (_, up) in PARTS.items():
        parts[part].wait_for(up)
    drop(stack["DATABASE_URL"])
    began = time.monotonic()

    for process in parts.values():
        process.interrupt()

    assert {part: process.wait(120) for part, process in parts.items()} == dict.fromkeys(PARTS, 0)
    assert time.monotonic() - began < 40  # 5 of them wait for the database; they were 50 and more
