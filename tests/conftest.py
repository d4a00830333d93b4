"""
What every test may use. Which stack they run on is told by DATABASE_URL and CELERY_BROKER_URL (settings/test.py).

A test that lets threads or processes see its rows takes ``@pytest.mark.django_db(transaction=True)``: only then is
anything committed (and on SQLite the plain ``django_db`` holds the one write lock from its first query on).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.conf import settings
from django.core.management.color import no_style
from django.db import connection
from django.test import TransactionTestCase

from tests.processes import Processes

if TYPE_CHECKING:
    from rest_framework.test import APIClient

    from apps.packs.models import Pack
    from attune.embedded import EmbeddedWorker

TESTS = Path(__file__).parent
ON_POSTGRESQL = settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what touches database or broker, and leave out what belongs to the other stack."""
    kept, left_out = [], []
    for item in items:
        if _touches_stack(item):
            item.add_marker("stack")
        other = "sqlite" if ON_POSTGRESQL else "postgresql"
        (left_out if item.get_closest_marker(other) else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _touches_stack(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    whole_product = (TESTS / "e2e") in item.path.parents or item.get_closest_marker("postgresql")
    return bool(whole_product or item.get_closest_marker("django_db") or fixtures & {"db", "transactional_db"})


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name long values by their size: a name must be readable, and the same in every process of a run."""
    if isinstance(val, bytes) or (isinstance(val, str) and len(val) > 100):
        return f"{type(val).__name__}-{len(val)}"
    return None


_STAYING_TABLES = {"django_migrations", "django_content_type", "auth_permission"}  # no test changes them


def _empty_tables(_test_case: TransactionTestCase) -> None:
    """
    Leave to the next test what migrations left to this one.

    In place of Django's own way, which empties every table and then makes content types and permissions anew: that
    takes most of the time.
    """
    from apps.identity.models import Identity  # models cannot be imported before Django is set up

    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    statements = connection.ops.sql_flush(no_style(), sorted(tables - _STAYING_TABLES))
    connection.ops.execute_sql_flush(statements)
    Identity.objects.get_or_create(pk=1, defaults={"login": "system", "display_name": "Attune"})


@pytest.fixture(scope="session", autouse=True)
def _quick_flush() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", _empty_tables)
        yield


@pytest.fixture
def core_pack(transactional_db: None) -> "Pack":
    """The core pack, loaded as at every start."""
    from apps.packs.services import load_core_pack  # apps are imported once Django is set up

    return load_core_pack()


@pytest.fixture
def worker(core_pack: "Pack") -> "Iterator[EmbeddedWorker]":
    """A live worker in this process, on the test database, with the core pack loaded."""
    from attune.celery import app
    from attune.embedded import EmbeddedWorker

    worker = EmbeddedWorker(app, name=f"test-worker-{settings.STATE_DIR.name}")
    worker.start()
    worker.wait_ready()
    yield worker
    assert worker.stop(grace_seconds=0, timeout_seconds=30)


@pytest.fixture
def api(transactional_db: None) -> "APIClient":
    """A client of the API with an administrator's token; rows it makes are committed."""
    from tests.clients import signed_in

    return signed_in()


@pytest.fixture
def server(transactional_db: None) -> Iterator[str]:
    """The product's ASGI application behind a real port; gives its URL."""
    from attune.asgi import application
    from attune.server import HttpServer, listen

    listener = listen("127.0.0.1", 0)
    http = HttpServer(listener, application)
    http.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    http.stop()
    assert not http.alive


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Starts processes of the product and ends them with the test."""
    started = Processes()
    yield started
    started.end()


@pytest.fixture(autouse=True)
def _forget_rows() -> None:
    """A test's rows are rolled back and their ids come again: nothing read from them may be remembered."""
    from apps.executions import apps as executions  # models cannot be imported before Django is set up
    from apps.rules import apps as rules

    executions.forget_rows()
    rules.forget_rows()


@pytest.fixture(autouse=True)
def _forget_audit() -> Iterator[None]:
    """What a test left in the buffer of the audit trail is not the next one's."""
    from apps.identity.audit import trail  # models cannot be imported before Django is set up

    trail.forget()
    yield
    trail.forget()
