"""What must survive (execution.md section 9): each row with real processes."""

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apps.workers import process
from apps.workers.commands import Command, Started
from apps.workers.jobs import Job, JobReport, RunControl, RunnerServices, RuntimeSpec, run_job
from tests.programs import is_alive, log_of, make_job, processes_with, run, state_of

pytestmark = pytest.mark.sqlite  # no database: once is enough


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for what another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.005)


class Running:
    """A job in a thread of its own."""

    def __init__(self, job: Job, services: RunnerServices) -> None:
        self.job = job
        self.control = RunControl()
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(run_job, job, self.control, services)

    def wait_for_output(self, text: bytes) -> None:
        wait_until(lambda: text in log_of(self.job))

    @property
    def pgid(self) -> int:
        wait_until(lambda: self.control.pgid)
        assert self.control.pgid
        return self.control.pgid

    def report(self, seconds: float = 30) -> JobReport:
        report = self._future.result(seconds)
        self._pool.shutdown()
        return report


def test_success_has_exactly_its_keys(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job('echo "$message"', tmp_path, parameters={"message": "hello, world"})

    report = run(job, services)

    duration_ms = report.result.pop("duration_ms")
    assert isinstance(duration_ms, int)
    assert (report.outcome, report.stdout_bytes, report.stderr_bytes) == ("completed", 13, 0)
    assert report.result == {
        "exit_code": 0,
        "succeeded": True,
        "stdout": "hello, world\n",
        "stdout_log": str(job.log_dir / "stdout.log"),
    }
    assert log_of(job) == b"hello, world\n"
    assert [path.name for path in job.log_dir.iterdir()] == ["stdout.log"]


def test_exit_code_is_the_program_s(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("echo packing; echo 'tar: backup.tgz: Cannot open' >&2; exit 3", tmp_path)

    report = run(job, services)

    report.result.pop("duration_ms")
    assert report.outcome == "failed"
    assert report.result == {
        "exit_code": 3,
        "succeeded": False,
        "error": "tar: backup.tgz: Cannot open\n",
        "stdout": "packing\n",
        "stdout_log": str(job.log_dir / "stdout.log"),
        "stderr": "tar: backup.tgz: Cannot open\n",
        "stderr_log": str(job.log_dir / "stderr.log"),
    }


def test_exit_without_output_names_the_code(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("exit 3", tmp_path)

    report = run(job, services)

    report.result.pop("duration_ms")
    assert report.result == {"exit_code": 3, "succeeded": False, "error": "Command exited with code 3"}
    assert not job.log_dir.exists()


def test_killed_from_outside_names_the_signal(services: RunnerServices, tmp_path: Path) -> None:
    running = Running(make_job("echo begun; sleep 60; true", tmp_path), services)
    running.wait_for_output(b"begun")

    os.kill(running.pgid, signal.SIGKILL)

    report = running.report()
    assert (report.outcome, report.result["exit_code"], report.result["signal"]) == ("failed", -1, "SIGKILL")
    assert report.result["error"] == "Command exited with code -1 (signal 9, SIGKILL)"
    assert report.result["stdout"] == "begun\n"


def test_zombies_are_reaped(services: RunnerServices, tmp_path: Path) -> None:
    leave_zombies = "import os\nfor _ in range(5):\n    if os.fork() == 0: os._exit(0)\nprint('made')"
    job = make_job(f'exec python3 -c "{leave_zombies}"', tmp_path)

    report = run(job, services)

    assert (report.outcome, report.result["stdout"]) == ("completed", "made\n")


def test_ended_before_it_is_waited_for(services: RunnerServices, tmp_path: Path) -> None:
    reports = [run(make_job("exit 7", tmp_path), services) for _ in range(20)]

    assert {report.result["exit_code"] for report in reports} == {7}


@pytest.fixture
def reaped_by_the_kernel() -> Iterator[None]:
    """SIGCHLD is ignored: who ends leaves no zombie, and nobody can be waited for."""
    present = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGCHLD, present)


@pytest.mark.usefixtures("reaped_by_the_kernel")
def test_wait_that_fails_keeps_the_output(services: RunnerServices, tmp_path: Path) -> None:
    report = run(make_job("echo out", tmp_path), services)

    assert report.outcome == "failed"
    assert report.result["error"] == "Process wait failed: No child processes"
    assert report.result["stdout"] == "out\n"


@pytest.mark.usefixtures("reaped_by_the_kernel")
def test_gone_before_it_could_be_followed(services: RunnerServices) -> None:
    def start_late(command: Command, descriptors: tuple[int, int, int]) -> Started:
        started = process.spawn(command, descriptors)
        wait_until(lambda: not state_of(started.pid))
        return started

    command = Command(
        argv=("/bin/echo", "out"), env={"PATH": os.defpath}, directory="/", timeout_seconds=10, marks=("LATE=1",)
    )
    ended = process.run(command, RunControl(), services, start_late)

    assert (ended.returncode, ended.wait_error, bytes(ended.stdout.head)) == (-1, "No child processes", b"out\n")


def test_large_output_is_cut_and_counted_in_flat_memory(services: RunnerServices, tmp_path: Path) -> None:
    gigabyte = 1024**3
    job = make_job(f"head -c {gigabyte} /dev/zero | tr '\\0' 'y'", tmp_path, timeout_seconds=100)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    report = run(job, services)

    limit = 10 * 1024 * 1024
    notice = b"\n\n[OUTPUT TRUNCATED: stdout exceeded size limit]\n"
    log = log_of(job)
    assert report.outcome == "completed"
    assert (log.count(b"y"), log.endswith(notice)) == (limit - 128, True)
    assert report.stdout_bytes == len(log)
    assert report.result["stdout_truncated"] is True
    assert report.result["stdout_bytes_truncated"] == gigabyte - (limit - 128)
    assert report.result["stdout"] == "y" * 1000 + "..."
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB


def test_both_streams_are_read_at_once(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("for i in 1 2 3 4; do head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; done", tmp_path)

    report = run(job, services)

    assert (report.outcome, report.stdout_bytes, report.stderr_bytes) == ("completed", 1_200_000, 1_200_000)


def test_two_hundred_runs_on_eight_slots(services: RunnerServices, tmp_path: Path) -> None:
    jobs = [make_job(f"echo {number}", tmp_path) for number in range(200)]

    with ThreadPoolExecutor(8) as slots:
        reports = list(slots.map(lambda job: run(job, services), jobs))

    assert [report.result.get("stdout") for report in reports] == [f"{number}\n" for number in range(200)]


def test_child_that_ignores_sigterm_is_killed_after_the_grace(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job(
        "trap '' TERM; echo begun; while :; do sleep 0.05; done", tmp_path, timeout_seconds=0.3, kill_grace_seconds=0.3
    )

    started = time.monotonic()
    report = run(job, services)

    assert 0.6 <= time.monotonic() - started < 30
    assert (report.outcome, report.result["exit_code"], report.result["signal"]) == ("timeout", -1, "SIGKILL")
    assert report.result["error"] == "Execution timed out after 0.3 seconds"
    assert report.result["stdout"] == "begun\n"


def test_input_not_read_is_no_error(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("exec 0<&-; sleep 0.05; echo out", tmp_path, parameters={"big": "x" * 5_000_000})

    report = run(job, services)

    assert (report.outcome, report.result["stdout"]) == ("completed", "out\n")


def test_input_not_read_by_a_program_that_fails_is_named(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("echo out; exit 3", tmp_path, secret_names=frozenset({"big"}), parameters={"big": "x" * 5_000_000})

    report = run(job, services)

    assert (report.outcome, report.result["exit_code"], report.result["stdout"]) == ("failed", 3, "out\n")
    assert report.result["error"] == "Failed to write parameters to stdin: Broken pipe"


def test_large_input_arrives_whole(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("wc -c", tmp_path, parameters={"big": "x" * 5_000_000}, secret_names=frozenset({"big"}))

    report = run(job, services)

    assert report.result["stdout"].strip() == str(5_000_000 + len('{"big":""}\n'))


def test_time_limit_keeps_the_output(services: RunnerServices, tmp_path: Path) -> None:
    report = run(make_job("echo begun; sleep 60", tmp_path, timeout_seconds=0.3), services)

    assert report.outcome == "timeout"
    assert (report.result["exit_code"], report.result["stdout"]) == (-1, "begun\n")
    assert report.result["error"] == "Execution timed out after 0.3 seconds"
    assert report.result["duration_ms"] >= 300


def test_program_that_exits_0_on_sigterm_has_timed_out(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("trap 'exit 0' TERM; while :; do sleep 0.01; done", tmp_path, timeout_seconds=0.2)

    report = run(job, services)

    assert (report.outcome, report.result["exit_code"]) == ("timeout", -1)
    assert "signal" not in report.result


def test_stderr_of_a_success_is_kept(services: RunnerServices, tmp_path: Path) -> None:
    report = run(make_job("echo careful >&2", tmp_path), services)

    assert (report.outcome, report.result["stderr"], report.stderr_bytes) == ("completed", "careful\n", 8)
    assert "stdout" not in report.result


def test_no_output_makes_no_files(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("true", tmp_path)

    report = run(job, services)

    assert set(report.result) == {"exit_code", "succeeded", "duration_ms"}
    assert (report.stdout_bytes, report.stderr_bytes, job.log_dir.exists()) == (0, 0, False)


def test_invalid_bytes_become_replacement_characters(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job(r"printf 'a\377b\000c'", tmp_path)

    report = run(job, services)

    assert report.result["stdout"] == "a\ufffdb\ufffdc"
    assert log_of(job) == b"a\xffb\x00c"


def test_grandchild_that_keeps_the_pipes_is_not_waited_for(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("setsid sleep 61 & echo out", tmp_path)

    started = time.monotonic()
    report = run(job, services)

    assert time.monotonic() - started < 30
    assert (report.outcome, report.result["stdout"]) == ("completed", "out\n")
    assert report.result["duration_ms"] < 1000


def test_late_output_of_a_child_is_still_read(services: RunnerServices, tmp_path: Path) -> None:
    report = run(make_job("(sleep 0.2; echo late) & echo early", tmp_path), services)

    assert report.result["stdout"] == "early\nlate\n"


def test_daemon_without_environment_does_not_outlive_the_run(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("env -i setsid -f sleep 62 </dev/null >/dev/null 2>&1; pgrep -f 'sleep 62'", tmp_path)

    report = run(job, services)

    (daemon,) = map(int, report.result["stdout"].split())
    assert state_of(daemon) == ""


def test_daemon_of_another_run_is_left_alone(services: RunnerServices, tmp_path: Path) -> None:
    long = Running(make_job("setsid -f sleep 63 </dev/null >/dev/null 2>&1; echo begun; sleep 60", tmp_path), services)
    long.wait_for_output(b"begun")
    (daemon,) = [pid for pid in processes_with("sleep\x0063") if state_of(pid)]

    run(make_job("true", tmp_path), services)

    assert is_alive(daemon)
    long.control.stop("cancel")
    assert long.report().outcome == "stopped"
    assert not is_alive(daemon)


def test_fork_bomb_ends_with_its_run(services: RunnerServices, tmp_path: Path) -> None:
    bomb = 'n() { sleep 30 & if [ $1 -gt 0 ]; then setsid bash -c "$(declare -f n); n $(($1 - 1))" & fi; wait; }; n 8'
    job = make_job(bomb, tmp_path, timeout_seconds=1)

    assert run(job, services).outcome == "timeout"


def test_missing_interpreter_names_the_available_runtimes(services: RunnerServices, tmp_path: Path) -> None:
    spec = RuntimeSpec(name="Ruby", execution_config={"interpreter": {"binary": "ruby9"}, "inline_execution": {}})
    job = make_job("puts 1", tmp_path, available_runtimes=("ruby", "shell"))

    report = run(Job(**{**job.__dict__, "runtime": spec}), services)

    assert report.outcome == "failed"
    assert report.result == {
        "succeeded": False,
        "error": "Interpreter 'ruby9' of runtime 'Ruby' not found (available: ruby, shell)",
    }


def test_missing_runtime_names_the_available_ones(services: RunnerServices, tmp_path: Path) -> None:
    report = run(make_job("puts 1", tmp_path, runtime="Ruby"), services)

    assert report.result == {
        "succeeded": False,
        "error": "Runtime 'Ruby' not found (available: shell, python, nodejs, native)",
    }


def test_output_is_in_the_log_while_the_program_runs(services: RunnerServices, tmp_path: Path) -> None:
    running = Running(make_job("echo live; read -t 20 <> <(:)", tmp_path), services)

    running.wait_for_output(b"live\n")

    running.control.stop("cancel")
    assert running.report().outcome == "stopped"


def test_cancel_ends_long_before_the_grace(services: RunnerServices, tmp_path: Path) -> None:
    running = Running(make_job("echo begun; sleep 60", tmp_path), services)
    running.wait_for_output(b"begun")
    pgid = running.pgid

    started = time.monotonic()
    running.control.stop("cancel")
    running.control.stop("lost")
    report = running.report()

    assert time.monotonic() - started < 5
    assert (report.outcome, report.stop_reason) == ("stopped", "cancel")
    report.result.pop("duration_ms")
    assert report.result == {
        "exit_code": -1,
        "succeeded": False,
        "cancelled": True,
        "error": "Execution cancelled by user",
        "signal": "SIGTERM",
        "stdout": "begun\n",
        "stdout_log": str(running.job.log_dir / "stdout.log"),
    }
    assert state_of(pgid) == ""


def test_cancel_of_a_program_that_exits_0_is_a_cancel(services: RunnerServices, tmp_path: Path) -> None:
    running = Running(make_job("trap 'exit 0' TERM; echo begun; while :; do sleep 0.01; done", tmp_path), services)
    running.wait_for_output(b"begun")

    running.control.stop("cancel")

    report = running.report()
    assert (report.outcome, report.result["exit_code"], report.result["cancelled"]) == ("stopped", 0, True)


def test_stop_before_the_start_starts_nothing(services: RunnerServices, tmp_path: Path) -> None:
    control = RunControl()
    control.stop("cancel")
    job = make_job("echo out", tmp_path)

    report = run(job, services, control)

    assert (report.outcome, report.stop_reason) == ("stopped", "cancel")
    assert report.result == {
        "exit_code": -1,
        "duration_ms": 0,
        "succeeded": False,
        "cancelled": True,
        "error": "Execution cancelled by user",
    }
    assert not job.log_dir.exists()


def test_stop_at_any_moment_of_the_start(services: RunnerServices, tmp_path: Path) -> None:
    for step in range(40):
        control = RunControl()
        timer = threading.Timer(step / 10_000, control.stop, ("lost",))
        timer.start()
        report = run(make_job("sleep 60", tmp_path), services, control)
        timer.join()
        assert (report.outcome, report.stop_reason) == ("stopped", "lost")


def test_stop_after_the_end_changes_nothing(services: RunnerServices, tmp_path: Path) -> None:
    control = RunControl()

    report = run(make_job("exit 3", tmp_path), services, control)
    control.stop("cancel")
    control.kill()

    assert (report.outcome, control.pgid) == ("failed", None)


def test_kill_does_not_wait_for_the_grace(services: RunnerServices, tmp_path: Path) -> None:
    running = Running(make_job("trap '' TERM; echo begun; while :; do sleep 0.05; done", tmp_path), services)
    running.wait_for_output(b"begun")
    running.control.stop("superseded")

    running.control.kill()

    report = running.report(3)
    assert (report.stop_reason, report.result["signal"]) == ("superseded", "SIGKILL")


def test_program_has_a_session_and_no_descriptor_of_the_worker(services: RunnerServices, tmp_path: Path) -> None:
    code = (
        "import os; print(os.getsid(0) == os.getpid() == os.getpgrp(), oct(os.umask(0)), "
        "sorted(int(name) for name in os.listdir('/proc/self/fd'))[:-1])"
    )
    with open("/dev/null") as file:
        os.set_inheritable(file.fileno(), True)
        report = run(make_job(f'exec python3 -c "{code}"', tmp_path), services)

    assert report.result["stdout"] == "True 0o27 [0, 1, 2]\n"


def test_run_leaves_no_descriptor_in_the_worker(services: RunnerServices, tmp_path: Path) -> None:
    run(make_job("true", tmp_path), services)
    before = os.listdir("/proc/self/fd")

    run(make_job("echo x; exit 3", tmp_path), services)
    run(make_job("sleep 60", tmp_path, timeout_seconds=0.1), services)
    run(make_job("true", tmp_path, runtime="Ruby"), services)

    assert os.listdir("/proc/self/fd") == before


def test_log_that_cannot_be_written_does_not_stop_the_program(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("echo out; echo err >&2; exit 4", tmp_path)
    job.log_dir.mkdir()
    (job.log_dir / "stdout.log").symlink_to("/dev/full")  # links are not followed: nothing is written through one

    report = run(job, services)

    assert (report.result["exit_code"], report.result["error"]) == (4, "err\n")
    assert report.result["stdout_bytes_truncated"] == 4
