"""Many webhooks at once into a whole product: nothing that was answered is lost, nothing happens twice."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.processes import QUICK, Processes, Up, wait_until

pytestmark = pytest.mark.e2e

CONNECTIONS, RULES = 20, 5
TRIGGER = "core.stormy"
# Executions are asked for and stay in line: what they would do is not what is counted here.
NOBODY = {"zone": "nowhere"}


class Database:
    """The product's own database, read from beside it."""

    def __init__(self, state_dir: Path, stack: dict[str, str]) -> None:
        self._url = stack.get("DATABASE_URL")
        self._file = state_dir / "attune.sqlite3"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        if self._url is not None:
            with psycopg.connect(self._url, options="-c search_path=attune") as connection:
                return connection.execute(sql).fetchall()
        with contextlib.closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=30)) as connection:
            return list(connection.execute(sql))

    def number(self, sql: str) -> int:
        return int(self.rows(sql)[0][0])

    def numbers_of_events(self) -> dict[int, int]:
        """Return what each event's payload says, by its id."""
        found = self.rows(f"SELECT id, payload FROM event WHERE trigger_ref = '{TRIGGER}'")
        return {
            row_id: (json.loads(payload) if isinstance(payload, str) else payload)["n"] for row_id, payload in found
        }


def make_webhook(product: Up) -> str:
    """Return the path of a webhook with five rules behind it."""
    action = {
        "ref": "core.later", "label": "Later", "pack_ref": "core", "entrypoint": "true", "runtime_ref": "core.shell",
        "worker_selector": NOBODY,
    }  # fmt: skip
    with product.client() as client:

        def create(path: str, body: dict[str, Any]) -> None:
            answer = client.post(f"/api/v1/{path}", json=body)
            assert answer.status_code == 201, answer.text

        create("actions", action)
        create("triggers", {"ref": TRIGGER, "label": "Stormy", "pack_ref": "core"})
        for number in range(RULES):
            rule = {"ref": f"core.stormy{number}", "label": "Stormy", "pack_ref": "core", "trigger_ref": TRIGGER}
            conditions = {"expression": "event.payload.n >= 0"}
            create("rules", {**rule, "action_ref": "core.later", "conditions": conditions})
        enabled = client.post(f"/api/v1/triggers/{TRIGGER}/webhooks/enable")
        assert enabled.status_code == 200, enabled.text
    return f"/api/v1/webhooks/{enabled.json()['data']['webhook_key']}"


class Storm:
    """Posts numbers from many connections; knows which were answered, and by which event."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self.answered: dict[int, int] = {}

    def post(self, numbers: list[int]) -> None:
        left = iter(numbers)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for done in [pool.submit(self._connection, left) for _ in range(CONNECTIONS)]:
                done.result()

    def _connection(self, left: Iterator[int]) -> None:
        with httpx.Client(timeout=60, trust_env=False) as client:
            while (number := self._next(left)) is not None:
                headers = {"Idempotency-Key": f"number-{number}"}
                try:
                    answer = client.post(self._url, json={"payload": {"n": number}}, headers=headers)
                except httpx.TransportError:
                    continue  # the server is gone: nothing was promised
                assert answer.status_code == 200, answer.text
                with self._lock:
                    self.answered[number] = answer.json()["data"]["event_id"]

    def _next(self, left: Iterator[int]) -> int | None:
        with self._lock:
            return next(left, None)


def assert_all_there(database: Database, storm: Storm, events: int) -> None:
    """One event per number, and of each event one decision per rule, one enforcement, one execution."""
    stored = database.numbers_of_events()
    assert {event_id: number for number, event_id in storm.answered.items()} == stored
    assert sorted(stored.values()) == list(range(events))
    expected = events * RULES
    wait_until(
        lambda: database.number("SELECT count(*) FROM enforcement WHERE status = 'processed'") == expected,
        what="every enforcement",
    )
    assert database.rows("SELECT outcome, count(*) FROM rule_decision GROUP BY outcome") == [("matched", expected)]
    assert database.number("SELECT count(*) FROM enforcement") == expected
    made = "SELECT count(*), count(DISTINCT enforcement) FROM execution WHERE enforcement IS NOT NULL"
    assert database.rows(made) == [(expected, expected)]
    logged = f"SELECT count(DISTINCT event_id) FROM webhook_event_log WHERE trigger_ref = '{TRIGGER}'"
    assert database.number(logged) == events


def test_storm_loses_nothing_even_when_the_server_is_killed(
    stack: dict[str, str], processes: Processes, tmp_path: Path
) -> None:
    product = processes.up(tmp_path, **QUICK, **stack)
    product.wait_ready()
    database, path = Database(tmp_path, stack), make_webhook(product)
    storm = Storm(product.url + path)

    storm.post(list(range(500)))
    assert len(storm.answered) == 500
    assert_all_there(database, storm, 500)

    posting = threading.Thread(target=storm.post, args=(list(range(500, 700)),))
    posting.start()
    wait_until(lambda: len(storm.answered) >= 560, what="some answers")
    product.kill()
    posting.join(60)
    assert len(storm.answered) < 700

    product = processes.up(tmp_path, port=product.port, **QUICK, **stack)
    product.wait_ready()
    stored = database.numbers_of_events()
    assert {number: stored.get(event_id) for number, event_id in storm.answered.items()} == {
        n: n for n in storm.answered
    }
    storm.post([number for number in range(700) if number not in storm.answered])
    assert_all_there(database, storm, 700)
