"""
Two workers on PostgreSQL and Redis, and what happens to them: killed, stopped, cut off (execution.md section 5).

The one is part of ``manage.py up``, which also answers the API and sweeps; the other one is the victim.
"""

import collections
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.outages import Outages, own_services
from tests.processes import QUICK, Process, Processes, Up, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql, pytest.mark.timeout(300)]

TERMINAL = {"completed", "failed", "timeout", "cancelled", "abandoned"}
LEASE_SECONDS = float(QUICK["ATTUNE_LEASE_SECONDS"])


@pytest.fixture
def outages(processes: Processes) -> Iterator[Outages]:
    with own_services() as started:
        yield started
        processes.end()  # while there still is a database that they can say goodbye to


class Cluster:
    """The server with its own worker, and a second worker."""

    def __init__(self, processes: Processes, outages: Outages, directory: Path) -> None:
        self._processes, self._directory = processes, directory
        self.environment = {**outages.environment, **QUICK, "ATTUNE_STATE_DIR": str(directory / "state")}
        options = {name: value for name, value in self.environment.items() if name != "ATTUNE_STATE_DIR"}
        self.up: Up = processes.up(
            directory / "state", ATTUNE_WORKER_NAME="keeper", ATTUNE_WORKER_SLOTS="4", **options
        )
        self.up.wait_ready(120)
        self.client: httpx.Client = self.up.client()
        self.victim = self.start_victim()

    def start_victim(self) -> Process:
        victim = self._processes.any(
            ["celery", "-A", "attune", "worker", "--name", "victim", "--loglevel", "info"],
            **self.environment,
            ATTUNE_WORKER_SLOTS="4",
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        )
        self.wait_for_worker("victim", "active")
        return victim

    def wait_for_worker(self, name: str, state: str) -> None:
        def there() -> bool:
            rows = self.client.get("/api/v1/workers").json()["data"]
            return any(row["name"] == name and row["health_state"] in (state, "busy") for row in rows)

        wait_until(there, timeout_seconds=60, what=f"worker {name} {state}")

    def action(self, name: str, entrypoint: str, **fields: Any) -> str:
        ref = f"core.{name}"
        body = {"ref": ref, "pack_ref": "core", "label": name, "entrypoint": entrypoint, "runtime_ref": "core.shell"}
        answer = self.client.post("/api/v1/actions", json={**body, **fields})
        assert answer.status_code == 201, answer.text
        return ref

    def execute(self, action_ref: str, **fields: Any) -> int:
        answer = self.client.post("/api/v1/executions/execute", json={"action_ref": action_ref, **fields})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["data"]["id"])

    def rows(self) -> list[dict[str, Any]]:
        found, page = [], 1
        while True:
            answer = self.client.get("/api/v1/executions", params={"per_page": 100, "page": page}).json()
            found += answer["data"]
            if not answer["pagination"]["has_next"]:
                return found
            page += 1

    def wait_for_the_end(self, timeout_seconds: float = 90) -> list[dict[str, Any]]:
        def all_ended() -> bool:
            return all(row["status"] in TERMINAL for row in self.rows())

        wait_until(all_ended, timeout_seconds=timeout_seconds, what="the end of everything")
        return self.rows()

    def wait_for_runs(self, worker_name: str, count: int) -> list[dict[str, Any]]:
        workers = {row["name"]: row["id"] for row in self.client.get("/api/v1/workers").json()["data"]}

        def found() -> list[dict[str, Any]]:
            query = {"status": "running", "worker": workers[worker_name], "per_page": 100}
            rows: list[dict[str, Any]] = self.client.get("/api/v1/executions", params=query).json()["data"]
            return rows if len(rows) >= count else []

        answer: list[dict[str, Any]] = wait_until(found, timeout_seconds=60, what=f"{count} runs on {worker_name}")
        return answer


@pytest.fixture
def cluster(processes: Processes, outages: Outages, tmp_path: Path) -> Iterator[Cluster]:
    started = Cluster(processes, outages, tmp_path)
    yield started
    started.client.close()
    assert started.up.alive, started.up.output()


def finished_twice(ledger: Path) -> list[str]:
    counts = collections.Counter(ledger.read_text().split())
    return [line for line, count in counts.items() if count > 1]


def is_alive(pid: str) -> bool:
    """A killed process stays a zombie for as long as its parent stands still."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def works_into(ledger: Path) -> str:
    return f'sleep 0.3\necho "$ATTUNE_EXECUTION_ID" >> {ledger}\n'


def test_worker_killed_amid_a_hundred_executions(cluster: Cluster, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    plain = cluster.action("plain", works_into(ledger))
    again = cluster.action("again", works_into(ledger), on_worker_lost="retry")
    for number in range(100):
        cluster.execute(again if number % 2 else plain)
    cluster.wait_for_runs("victim", 3)

    cluster.victim.kill()
    rows = cluster.wait_for_the_end()

    abandoned = [row for row in rows if row["status"] == "abandoned"]
    completed = [row for row in rows if row["status"] == "completed"]
    repeated = {row["original_execution"] for row in rows if row.get("original_execution")}
    assert len(abandoned) + len(completed) == len(rows)
    assert 1 <= len(abandoned) <= 4
    assert {row["id"] for row in abandoned if row["action_ref"] == again} == repeated
    assert len(completed) == 100 - len([row for row in abandoned if row["action_ref"] == plain])
    assert finished_twice(ledger) == []
    assert {row["id"] for row in completed} <= {int(line) for line in ledger.read_text().split()}


def test_worker_that_stood_still_for_three_leases_writes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    slow = cluster.action("slow", f"echo $$ >> {pids}\nexec sleep 60\n")
    for _ in range(8):
        cluster.execute(slow)
    stopped = {row["id"] for row in cluster.wait_for_runs("victim", 4)}
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 8, what="eight processes")

    cluster.victim.freeze()
    time.sleep(3 * LEASE_SECONDS)  # the time itself is what is tested
    settled = {row["id"]: row for row in cluster.rows() if row["id"] in stopped}
    assert {row["status"] for row in settled.values()} == {"abandoned"}
    assert len([pid for pid in pids.read_text().split() if is_alive(pid)]) == 4  # those of the other worker

    cluster.victim.thaw()
    cluster.wait_for_worker("victim", "active")
    again = {row["id"]: row for row in cluster.rows() if row["id"] in stopped}
    assert again == settled
    for row in cluster.rows():
        if row["status"] == "running":
            cluster.client.post(f"/api/v1/executions/{row['id']}/cancel")
    cluster.wait_for_the_end()


def under_load(cluster: Cluster, ledger: Path, trouble: Callable[[], None]) -> list[dict[str, Any]]:
    """Keep asking for executions while ``trouble`` goes on; return all rows once they have ended."""
    ref = cluster.action("load", works_into(ledger), on_worker_lost="retry")
    accepted = [cluster.execute(ref) for _ in range(40)]
    trouble()
    accepted += [cluster.execute(ref) for _ in range(20)]
    rows = cluster.wait_for_the_end(150)
    assert set(accepted) <= {row["id"] for row in rows}
    return rows


def test_redis_goes_away_under_load_and_comes_back_empty(cluster: Cluster, outages: Outages, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"

    def trouble() -> None:
        outages.stop_redis()
        time.sleep(5)  # the time itself is what is tested
        outages.start_redis()

    rows = under_load(cluster, ledger, trouble)

    assert {row["status"] for row in rows} == {"completed"}
    assert (len(rows), finished_twice(ledger)) == (60, [])


def test_postgresql_restarts_under_load(cluster: Cluster, outages: Outages, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"

    def trouble() -> None:
        outages.restart_postgresql()
        wait_until(lambda: cluster.up.status("/health/detailed") == 200, what="the database")

    rows = under_load(cluster, ledger, trouble)

    lost = [row for row in rows if row["status"] != "completed"]
    assert {row["status"] for row in lost} <= {"abandoned"}
    assert len([row for row in rows if row["status"] == "completed"]) == 60
    assert finished_twice(ledger) == []


def test_second_process_of_a_name_waits_and_takes_over(cluster: Cluster) -> None:
    slow = cluster.action("slow", "sleep 60")
    for _ in range(8):
        cluster.execute(slow)
    runs = {row["id"] for row in cluster.wait_for_runs("victim", 4)}

    cluster.victim.send(signal.SIGKILL)
    cluster.start_victim()

    def settled() -> bool:
        return {row["status"] for row in cluster.rows() if row["id"] in runs} == {"abandoned"}

    wait_until(settled, what="the take-over")
    cluster.wait_for_worker("victim", "active")
    for row in cluster.rows():
        if row["status"] not in TERMINAL:
            cluster.client.post(f"/api/v1/executions/{row['id']}/cancel")
    cluster.wait_for_the_end()
