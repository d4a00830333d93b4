"""kill -9 of any process at any moment of a large workflow: it ends with the right result, each task done once."""

import random
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.conftest import ON_POSTGRESQL
from tests.e2e.workflows import kills
from tests.processes import QUICK, Process, Processes, Up

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SIZE = kills.Size(chain=12, items=15, branch=4, nested=8)
MOST_KILLS = 4  # a start takes seconds


class Installation:
    """The product in one process; on PostgreSQL two workers and a scheduler beside it. Any of them may be killed."""

    def __init__(self, processes: Processes, state_dir: Path, stack: dict[str, str], seed: int) -> None:
        self._processes, self._state_dir = processes, state_dir
        self._stack = {**stack, **QUICK, "ATTUNE_WORKER_SLOTS": "4"}
        self._random = random.Random(seed)
        self.kills_left = MOST_KILLS
        self._up = self._start_up()
        self._up.wait_ready(120)
        self._client = self._up.client()
        self._others: dict[str, Process] = {}
        if ON_POSTGRESQL:
            self._others = {name: self._start(name) for name in ("one", "two", "scheduler")}

    def client(self) -> httpx.Client:
        return self._client

    def close(self) -> None:
        self._client.close()

    def kill(self) -> None:
        """Kill one of them and start it again; the last ones are spared, so that a test comes to its end."""
        if self.kills_left <= 0:
            return
        self.kills_left -= 1
        name = self._random.choice(["up", *self._others])
        if name == "up":
            self._up.kill()
            self._up = self._start_up(port=self._up.port)
        else:
            self._others[name].kill()
            self._others[name] = self._start(name)

    def _start_up(self, port: int | None = None) -> Up:
        return self._processes.up(self._state_dir, port=port, ATTUNE_WORKER_NAME="up", **self._stack)

    def _start(self, name: str) -> Process:
        environment = {**self._stack, "ATTUNE_STATE_DIR": str(self._state_dir)}
        if name == "scheduler":
            return self._processes.scheduler(**environment)
        return self._processes.worker(name, **environment)


def test_large_workflow_survives_kills(processes: Processes, stack: dict[str, str], tmp_path: Path) -> None:
    with closing(Installation(processes, tmp_path, stack, seed=1)) as installation:
        kills.make(installation.client(), SIZE)
        execution = kills.start(installation.client(), SIZE)

        killed = kills.kill_until_done(installation.client, execution, installation.kill, seed=1)

        assert killed > 0
        kills.check(installation.client(), execution, SIZE)
