"""Limits of an action (packs.md section 4): a run that hits one is failed and the error names it."""

import json
from pathlib import Path

import pytest

from apps.workers.jobs import RunnerServices
from tests.programs import log_of, make_job, run

pytestmark = pytest.mark.sqlite  # no database: once is enough


def test_limits_hold_before_the_program_starts(services: RunnerServices, tmp_path: Path) -> None:
    code = (
        "import json, os, resource as r; print(json.dumps([r.getrlimit(k) for k in (r.RLIMIT_DATA, r.RLIMIT_CPU, "
        "r.RLIMIT_NOFILE)] + [os.nice(0), os.umask(0), os.getsid(0) == os.getpid()]))"
    )
    limits = {"memory_mb": 100, "cpu_seconds": 5, "open_files": 50, "nice": 3}
    job = make_job(f'exec python3 -c "{code}"', tmp_path, limits=limits)

    report = run(job, services)

    megabytes = 100 * 1024 * 1024
    assert json.loads(report.result["stdout"]) == [[megabytes] * 2, [5, 6], [50, 50], 3, 0o027, True]


def test_memory(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job(
        "def run():\n    return len('x' * 200_000_000)", tmp_path, runtime="python", limits={"memory_mb": 100}
    )

    report = run(job, services)

    assert (report.outcome, report.result["error"]) == ("failed", "Limit reached: memory_mb = 100 (MemoryError)")


def test_cpu_seconds(services: RunnerServices, tmp_path: Path) -> None:
    report = run(make_job("while :; do :; done", tmp_path, limits={"cpu_seconds": 1}), services)

    assert (report.outcome, report.result["signal"]) == ("failed", "SIGXCPU")
    assert report.result["error"].startswith("Limit reached: cpu_seconds = 1 (")


def test_cpu_seconds_of_a_program_that_ignores_the_signal(services: RunnerServices, tmp_path: Path) -> None:
    report = run(make_job("trap '' XCPU; while :; do :; done", tmp_path, limits={"cpu_seconds": 1}), services)

    assert report.result["error"].startswith("Limit reached: cpu_seconds = 1 (")


def test_processes(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait", tmp_path, limits={"processes": 5})

    report = run(job, services)

    assert (report.outcome, report.result["exit_code"]) == ("failed", -1)
    assert report.result["error"].startswith("Limit reached: processes = 5 (")


def test_processes_within_the_limit(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("sleep 0.3 & sleep 0.3 & wait; echo done", tmp_path, limits={"processes": 5})

    assert run(job, services).outcome == "completed"


def test_open_files(services: RunnerServices, tmp_path: Path) -> None:
    code = "def run():\n    return len([open('/dev/null') for _ in range(100)])"
    job = make_job(code, tmp_path, runtime="python", limits={"open_files": 30})

    report = run(job, services)

    assert report.result["error"] == (
        "Limit reached: open_files = 30 (OSError: [Errno 24] Too many open files: '/dev/null')"
    )


def test_output_bytes_only_truncate(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("head -c 3000 /dev/zero; echo err >&2", tmp_path, limits={"output_bytes": 1128})

    report = run(job, services)

    assert (report.outcome, report.result["stdout_bytes_truncated"]) == ("completed", 2000)
    assert log_of(job).startswith(b"\0" * 1000 + b"\n\n[OUTPUT")
    assert "stderr_truncated" not in report.result


def test_output_bytes_may_raise_the_limit(services: RunnerServices, tmp_path: Path) -> None:
    job = make_job("head -c 3000 /dev/zero", tmp_path, limits={"output_bytes": 5000}, stdout_limit=1000)

    assert run(job, services).stdout_bytes == 3000
