"""Whose process is it: what a run leaves behind is ended, and nothing else (execution.md section 9)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.workers.jobs import RunnerServices
from apps.workers.orphans import protect, unprotect
from apps.workers.run_marks import RunMark
from tests.integration.workers.test_process import Running, wait_until
from tests.programs import is_alive, make_job, run, state_of

pytestmark = pytest.mark.sqlite  # no database: once is enough


@pytest.fixture
def others() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Children of this process that are of no run."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def sleeper(*, new_session: bool, **variables: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "64"], start_new_session=new_session, env=variables)


def test_children_of_no_run_are_left_alone(
    services: RunnerServices, tmp_path: Path, others: list[subprocess.Popen[bytes]]
) -> None:
    others.append(sleeper(new_session=True))  # older than any run
    started_ticks = RunMark.now(()).started_ticks
    wait_until(lambda: RunMark.now(()).started_ticks > started_ticks)  # the kernel's dates are no finer
    running = Running(make_job("echo begun; sleep 60", tmp_path), services)
    running.wait_for_output(b"begun")
    others.append(sleeper(new_session=False))
    others.append(sleeper(new_session=True, ATTUNE_SENSOR_ID="7"))
    others.append(sleeper(new_session=True))
    protect(others[-1].pid)

    running.control.stop("cancel")
    running.report()

    assert [is_alive(process.pid) for process in others] == [True] * 4
    unprotect(others[-1].pid)


def test_zombie_of_another_is_not_reaped(
    services: RunnerServices, tmp_path: Path, others: list[subprocess.Popen[bytes]]
) -> None:
    process = subprocess.Popen(["sh", "-c", "exit 7"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    run(make_job("true", tmp_path), services)

    assert process.wait() == 7


def test_daemon_that_cannot_be_told_ends_with_the_last_run_of_its_time(
    services: RunnerServices, tmp_path: Path
) -> None:
    longer = Running(make_job("echo begun; sleep 60", tmp_path), services)
    longer.wait_for_output(b"begun")
    daemon = make_job("env -i setsid -f sleep 65 </dev/null >/dev/null 2>&1; pgrep -f 'sleep 65'", tmp_path)

    pid = int(run(daemon, services).result["stdout"])
    assert is_alive(pid)  # it may be of the longer one
    longer.control.stop("cancel")
    longer.report()

    assert state_of(pid) == ""


def test_kernel_that_lists_no_children(services: RunnerServices, tmp_path: Path) -> None:
    services.orphans.close()  # as when the list could not be opened

    report = run(make_job("setsid -f sleep 66 </dev/null >/dev/null 2>&1; pgrep -f 'sleep 66'", tmp_path), services)

    assert state_of(int(report.result["stdout"])) == ""


def test_tree_of_daemons_is_ended_to_its_leaves(services: RunnerServices, tmp_path: Path) -> None:
    tree = "setsid bash -c 'setsid bash -c \"setsid sleep 67 & sleep 67\" & sleep 67' </dev/null >/dev/null 2>&1 &"

    run(make_job(f"{tree} sleep 0.2", tmp_path), services)

    assert subprocess.run(["pgrep", "-f", "sleep 67"], stdout=subprocess.PIPE).stdout == b""
