"""What tests of whole processes share."""

import os
import time
from collections.abc import Iterator

import psycopg
import pytest
from django.conf import settings

from tests.conftest import ON_POSTGRESQL


@pytest.fixture
def stack() -> Iterator[dict[str, str]]:
    """The environment of a product of its own: nothing on SQLite, an empty database and the broker elsewhere."""
    if not ON_POSTGRESQL:
        yield {}
        return
    there = settings.DATABASES["default"]
    name = f"up_{os.getpid()}_{time.monotonic_ns()}"
    server = f"postgres://{there['USER']}:{there['PASSWORD'] or ''}@{there['HOST']}:{there['PORT'] or 5432}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield {"DATABASE_URL": f"{server}/{name}", "CELERY_BROKER_URL": settings.CELERY_BROKER_URL}
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
