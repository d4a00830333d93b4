"""Programs that stay (sensors) beside runs that end: output into sinks, what they leave, what a lost lease does."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from apps.workers import orphans, process
from apps.workers.commands import Command
from apps.workers.control import RunControl
from apps.workers.jobs import RunnerServices
from tests.processes import wait_until
from tests.programs import make_job, run

PATH = {"PATH": os.environ["PATH"]}


class Kept:
    def __init__(self):
        self.data = b""
        self.closed = False

    def feed(self, data):
        self.data += data

    def close(self):
        self.closed = True


class Staying:
    """A shell program without a time limit, driven by a thread of its own."""

    def __init__(self, services: RunnerServices, script: str, *, number: int = 7, folder: object = "/nowhere") -> None:
        marks = (f"ATTUNE_SENSOR_ID={number}", f"ATTUNE_ARTIFACTS_DIR={folder}")
        self.out, self.err = Kept(), Kept()
        self.control = RunControl()
        self.ended = None
        command = Command(
            argv=("/bin/bash", "-c", script),
            env={**PATH, **dict(mark.split("=", 1) for mark in marks)},
            directory="/",
            timeout_seconds=None,
            kill_grace_seconds=0.3,
            marks=marks,
        )
        self._thread = threading.Thread(target=self._run, args=(command, services))
        self._thread.start()

    def _run(self, command, services):
        self.ended = process.run(command, self.control, services, sinks=(self.out, self.err))

    def stop(self):
        self.control.stop("cancel")
        self._thread.join(60)
        return self.ended


def pid_in(path):
    return int(wait_until(lambda: path.exists() and path.read_text().strip(), what="a number"))


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_output_goes_to_the_sinks_until_it_is_stopped(services):
    staying = Staying(
        services, "trap 'echo bye; exit 3' TERM; echo out; echo err >&2; while true; do sleep 0.02; done"
    )
    wait_until(lambda: staying.out.data and staying.err.data)

    ended = staying.stop()

    assert (ended.returncode, ended.reason) == (3, "cancel")
    assert (staying.out.data, staying.err.data.split(b"\n")[0]) == (b"out\nbye\n", b"err")
    assert (staying.out.closed, staying.err.closed) == (True, True)


def test_ends_of_runs_leave_its_daemons_alone(services, tmp_path):
    staying = Staying(services, f"setsid sleep 1000 & echo $! > {tmp_path}/daemon; while true; do sleep 0.02; done")
    daemon = pid_in(tmp_path / "daemon")

    for _ in range(3):
        assert run(make_job("true", tmp_path), services).outcome == "completed"
    assert is_alive(daemon)

    staying.stop()
    assert not is_alive(daemon)


def test_daemon_of_a_run_that_hides_is_killed_though_something_stays(services, tmp_path):
    staying = Staying(services, "while true; do sleep 0.02; done")

    job = make_job(
        f"env -i PATH=$PATH setsid bash -c 'echo $$ > {tmp_path}/daemon; exec sleep 1000' & sleep 0.3", tmp_path
    )
    assert run(job, services).outcome == "completed"

    assert not is_alive(pid_in(tmp_path / "daemon"))
    staying.stop()


def test_strays_are_those_with_all_of_the_marks(services, tmp_path):
    staying = Staying(services, "while true; do sleep 0.02; done", number=8, folder=tmp_path)
    wait_until(lambda: staying.control.pgid)
    ours = [b"ATTUNE_SENSOR_ID=8", b"ATTUNE_ARTIFACTS_DIR=" + os.fsencode(tmp_path)]

    assert orphans.kill_strays([b"ATTUNE_SENSOR_ID=9", ours[1]]) == 0
    assert is_alive(staying.control.pgid)
    assert orphans.kill_strays(ours) >= 1

    wait_until(lambda: staying.ended is not None)
    assert staying.ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("ignores", [False, True])
def test_end_comes_within_the_grace(services, ignores):
    trap = "trap '' TERM;" if ignores else ""
    staying = Staying(services, f"{trap} echo ready; while true; do sleep 0.02; done")
    wait_until(lambda: staying.out.data)

    ended = staying.stop()

    assert ended.returncode == (-signal.SIGKILL if ignores else -signal.SIGTERM)


DIES_IN_THE_MIDDLE_OF_A_START = """
import os, signal, subprocess, sys
from apps.workers.runner_services import RunnerServices

services = RunnerServices()
services.start()
marks = ("ATTUNE_SENSOR_ID=9", f"ATTUNE_API_TOKEN={sys.argv[1]}")
services.guard_expect(marks)
program = subprocess.Popen(
    ["sleep", "1000"], env=dict(mark.split("=", 1) for mark in marks), start_new_session=True, executable="/bin/sleep"
)
print(program.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_worker_that_is_killed_before_it_has_told_of_a_start_leaves_nothing(tmp_path):
    worker = subprocess.run(
        [sys.executable, "-c", DIES_IN_THE_MIDDLE_OF_A_START, f"token-of-{tmp_path}"],
        stdout=subprocess.PIPE,
        check=False,
        cwd=Path(__file__).parents[3],
    )

    wait_until(lambda: not is_alive(int(worker.stdout)), timeout_seconds=10, what="its end")
