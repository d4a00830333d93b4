"""The guard: what a worker that was killed or stopped can no longer do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.workers.guard_script import FOLLOW_SECONDS
from apps.workers.jobs import RunnerServices
from apps.workers.run_marks import boot_seconds
from tests.integration.workers.test_process import wait_until
from tests.programs import is_alive, make_job, processes_with, run, state_of

pytestmark = pytest.mark.sqlite  # no database: once is enough

# A worker of its own: takes a lease, runs five programs and tells its guard.
WORKER = """
import json, sys, threading
from pathlib import Path
sys.path.insert(0, {root!r})
from apps.workers.jobs import RunControl, RunnerServices, run_job
from apps.workers.run_marks import boot_seconds
from tests.programs import make_job
directory = Path('{directory}')
services = RunnerServices()
services.start()
if {lease}:
    services.guard.lease(boot_seconds() + {lease})
scripts = [
    ("shell", "trap '' TERM; echo $$ >{directory}/1.pid; sleep 71; sleep 71"),
    ("shell", "setsid bash -c 'echo $$ >{directory}/2.pid; sleep 71; sleep 71' & wait"),
    ("python", "import os, time; open('{directory}/3.pid', 'w').write(str(os.getpid())); time.sleep(71)"),
    ("shell", "setsid env -i bash -c 'echo $$ >{directory}/4.pid; sleep 71; sleep 71' & wait"),
    ("shell", "setsid -f env -i bash -c 'echo $$ >{directory}/5.pid; sleep 71; sleep 71'; sleep 71"),
]
for runtime, script in scripts:
    job = make_job(script, directory, runtime=runtime)
    threading.Thread(target=run_job, args=(job, RunControl(), services), daemon=True).start()
print(json.dumps({{"guard": services.guard.pid, "directory": str(services.directory)}}), flush=True)
threading.Event().wait()
"""


class Worker:
    def __init__(self, directory: Path, lease: float = 0) -> None:
        root = str(Path(__file__).parents[3])
        code = WORKER.format(root=root, directory=directory, lease=lease)
        self.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
        assert self.process.stdout
        told = json.loads(self.process.stdout.readline())
        self.guard: int = told["guard"]
        self.private = Path(told["directory"])
        files = [directory / f"{number}.pid" for number in (1, 2, 3, 4, 5)]
        wait_until(lambda: all(file.exists() and file.read_text().strip() for file in files))
        self.programs = [int(file.read_text()) for file in files]
        time.sleep(FOLLOW_SECONDS + 0.2)  # the guard looks for daemons so often

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.end()


def start(workers: list[Worker], directory: Path, lease: float = 0) -> Worker:
    worker = Worker(directory, lease)
    workers.append(worker)
    return worker


def test_programs_of_a_killed_worker_are_killed(workers: list[Worker], tmp_path: Path) -> None:
    worker = start(workers, tmp_path)
    assert all(is_alive(pid) for pid in worker.programs)

    worker.process.kill()

    wait_until(lambda: not any(is_alive(pid) for pid in worker.programs))
    wait_until(lambda: not is_alive(worker.guard))
    assert not worker.private.exists()
    assert processes_with(f"ATTUNE_ARTIFACTS_DIR={tmp_path}") == []


def test_programs_of_a_stopped_worker_are_killed_when_its_lease_is_over(workers: list[Worker], tmp_path: Path) -> None:
    worker = start(workers, tmp_path, lease=3)

    worker.process.send_signal(signal.SIGSTOP)

    assert all(is_alive(pid) for pid in worker.programs)
    wait_until(lambda: not any(is_alive(pid) for pid in worker.programs))
    assert is_alive(worker.guard)
    worker.process.send_signal(signal.SIGCONT)
    worker.end()
    wait_until(lambda: not is_alive(worker.guard))


def test_signals_to_the_worker_s_group_leave_the_guard(workers: list[Worker], tmp_path: Path) -> None:
    worker = start(workers, tmp_path)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(worker.guard, number)
    assert is_alive(worker.guard)

    os.killpg(worker.process.pid, signal.SIGKILL)

    wait_until(lambda: not any(is_alive(pid) for pid in worker.programs))


def test_guard_that_died_is_replaced(tmp_path: Path) -> None:
    services = RunnerServices()
    services.start()
    assert services.guard
    first = services.guard.pid
    assert first
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: state_of(first) == "Z")

    services.guard.lease(boot_seconds() + 30)

    second = services.guard.pid
    assert second
    assert (second != first, is_alive(second), state_of(first)) == (True, True, "")
    services.close()
    assert not is_alive(second)


def test_guard_costs_a_run_nothing_and_ends_with_the_services(tmp_path: Path) -> None:
    services = RunnerServices()
    services.start()
    assert services.guard
    guard = services.guard.pid
    assert guard

    report = run(make_job("sleep 0.05; echo out", tmp_path), services)

    assert report.result["stdout"] == "out\n"
    services.close()
    assert (is_alive(guard), services.directory.exists()) == (False, False)
