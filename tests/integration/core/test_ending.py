"""Who waits for a connection when the process ends: nobody for a database that is away, everybody for one that is busy."""

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from apps.core import ending
from tests.services import free_port

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(ending, "PATIENCE_SECONDS", 0.8)
    yield
    ending._given_up.clear()


def watched(pool: ConnectionPool[Any], parameters: dict[str, Any]) -> threading.Thread:
    thread = threading.Thread(target=ending.watch, args=(pool, parameters), daemon=True)
    thread.start()
    return thread


def test_wait_for_a_database_that_is_away_ends_soon() -> None:
    parameters = {**ending._direct_parameters(), "host": "127.0.0.1", "port": free_port()}
    with ConnectionPool(kwargs=parameters, min_size=1, open=True) as pool:
        thread = watched(pool, parameters)

        with pytest.raises(PoolClosed):
            pool.getconn(timeout=60)

        thread.join(10)
        assert ending.has_given_up()


def test_wait_for_a_busy_pool_lasts_as_ever() -> None:
    parameters = ending._direct_parameters()
    with ConnectionPool(kwargs=parameters, min_size=1, max_size=1, open=True) as pool:
        thread = watched(pool, parameters)
        taken = pool.getconn()

        with pytest.raises(PoolTimeout):
            pool.getconn(timeout=2.5)

        assert (pool.closed, ending.has_given_up()) == (False, False)
        pool.putconn(taken)
    thread.join(10)


def test_server_with_too_many_clients_is_there() -> None:
    parameters = ending._direct_parameters()
    role = sql.Identifier("attune_refused")
    with psycopg.connect(**parameters, autocommit=True) as server:
        server.execute(sql.SQL("CREATE ROLE {} LOGIN CONNECTION LIMIT 0").format(role))
        try:
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(**{**parameters, "user": "attune_refused"})
            answers = ending._answers({**parameters, "user": "attune_refused"})
        finally:
            server.execute(sql.SQL("DROP ROLE {}").format(role))

    assert answers
    assert not ending._answers({**parameters, "dbname": "attune_no_such_database"})
