"""What tests of whole processes share."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from psycopg import sql

from tests.conftest import ON_POSTGRESQL
from tests.processes import Processes


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | str]:
    """A database with its tables and no row of its own, to be copied: its file, on PostgreSQL its name."""
    directory = tmp_path_factory.mktemp("migrated")
    if not ON_POSTGRESQL:
        _migrate(directory)
        yield directory / "attune.sqlite3"
        return
    with _new_database() as environment:
        _migrate(directory, **environment)
        yield environment["DATABASE_URL"].rpartition("/")[2]


@pytest.fixture
def migrated(migrated_database: Path | str) -> Callable[[Path], Path]:
    """Makes a state directory whose SQLite database has its tables already: the start takes half as long."""

    def make(state_dir: Path) -> Path:
        state_dir.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(migrated_database, state_dir / "attune.sqlite3")
        return state_dir

    return make


@pytest.fixture
def stack(request: pytest.FixtureRequest, processes: Processes, tmp_path: Path) -> Iterator[dict[str, str]]:
    """
    The environment of a product of its own: nothing on SQLite, a database and the broker elsewhere.

    The database has its tables and no row; on SQLite it is that of the state directory ``tmp_path``.
    """
    if not ON_POSTGRESQL:
        request.getfixturevalue("migrated")(tmp_path)
        yield {}
        return
    with _new_database(request.getfixturevalue("migrated_database")) as environment:
        yield environment
        processes.end()  # while there still is a database that they can say goodbye to


@pytest.fixture
def empty_stack(processes: Processes) -> Iterator[dict[str, str]]:
    """As ``stack``, for a product that makes its tables itself."""
    if not ON_POSTGRESQL:
        yield {}
        return
    with _new_database() as environment:
        yield environment
        processes.end()


def _migrate(directory: Path, **environment: str) -> None:
    processes = Processes()
    try:
        process = processes.any(
            [sys.executable, "manage.py", "migrate"], ATTUNE_STATE_DIR=str(directory), **environment
        )
        assert process.wait(120) == 0, process.output()
    finally:
        processes.end()


@contextmanager
def _new_database(template: Path | str = "template1") -> Iterator[dict[str, str]]:
    """Yield the environment of a new PostgreSQL database."""
    there = settings.DATABASES["default"]
    name = f"up_{os.getpid()}_{time.monotonic_ns()}"
    server = f"postgres://{there['USER']}:{there['PASSWORD'] or ''}@{there['HOST']}:{there['PORT'] or 5432}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(str(template))))
        yield {"DATABASE_URL": f"{server}/{name}", "CELERY_BROKER_URL": settings.CELERY_BROKER_URL}
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
