"""
What a run costs beside the bare floor: ``subprocess.run`` of the same program, medians of one run of this script.

Needs neither database nor broker: ``python bench/process.py``.
"""

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from apps.workers.jobs import Job, RunControl, RunnerServices, RuntimeSpec, run_job
from bench.figures import Figure, median_ms, print_table, timed

ROUNDS = 300
THREADS = 2
FROM_THREADS = 1000
PYTHON = {"interpreter": {"binary": sys.executable, "args": ["-u"]}, "inline_execution": {}}

_numbers = itertools.count(1)


def make_job(entrypoint: str, directory: Path, *, runtime: str = "shell", **config: object) -> Job:
    """Return a job of a pack that has one script."""
    pack_dir = directory / "lab"
    script = pack_dir / "actions" / "echo.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("echo hi\n")
    return Job(
        execution_id=0,
        action_ref="lab.probe",
        pack_ref="lab",
        is_adhoc=True,
        entrypoint=entrypoint,
        runtime=RuntimeSpec(name=runtime, execution_config=config),
        available_runtimes=("shell", "python"),
        pack_dir=pack_dir,
        env_dir=None,
        parameters={"message": "hi"},
        attune_env={"ATTUNE_ARTIFACTS_DIR": str(directory)},
        log_dir=directory,
    )


def runner(job: Job, services: RunnerServices) -> Callable[[], None]:
    """Return what runs the job once, under an id and with logs of its own."""

    def once() -> None:
        number = next(_numbers)
        report = run_job(
            replace(job, execution_id=number, log_dir=job.log_dir / f"execution_{number}"), RunControl(), services
        )
        assert report.outcome == "completed", report

    return once


def bare(*argv: str) -> Callable[[], None]:
    """Return what runs a program once and takes its output."""

    def once() -> None:
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)

    return once


def side_by_side(name: str, goal: str, floor: Callable[[], None], measured: Callable[[], None]) -> Figure:
    """Time both in turn, so that whatever else the machine does meets both."""
    floors, values, processor_seconds = [], [], 0.0
    for number in range(ROUNDS + 10):
        floor_seconds = timed(floor)
        before = time.thread_time()
        seconds = timed(measured)
        if number >= 10:
            floors.append(floor_seconds)
            values.append(seconds)
            processor_seconds += time.thread_time() - before
    return Figure(
        name=name,
        value=f"{median_ms(values):.2f} ms (own CPU {processor_seconds / ROUNDS * 1000:.2f} ms)",
        floor=f"{median_ms(floors):.2f} ms",
        ratio=f"{median_ms(values) / median_ms(floors):.2f} x, {median_ms(values) - median_ms(floors):+.2f} ms",
        goal=goal,
    )


def per_second(work: Callable[[], None]) -> float:
    """Return how often two threads together do the work in a second."""

    def all_of_it() -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            for done in [threads.submit(work) for _ in range(FROM_THREADS)]:
                done.result()

    return FROM_THREADS / timed(all_of_it)


def main() -> None:
    services = RunnerServices()
    services.start()
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as name:
        directory = Path(name)
        script = str(directory / "lab" / "actions" / "echo.sh")
        file, inline = make_job("echo.sh", directory), make_job('echo "$message"', directory)
        warm = make_job("def run(message): return message", directory, runtime="python", **PYTHON)
        python = bare(sys.executable, "-c", "pass")
        figures = [
            side_by_side("shell script of a pack", "<= +0.6 ms", bare("/bin/bash", script), runner(file, services)),
            side_by_side("inline shell", "", bare("/bin/bash", "-c", "echo hi"), runner(inline, services)),
            side_by_side("inline Python, warm, against -c pass", "<= 0.35 x", python, runner(warm, services)),
        ]
        floor, rate = per_second(bare("/bin/bash", script)), per_second(runner(file, services))
    services.close()
    figures.append(
        Figure(
            name=f"shell script from {THREADS} threads",
            value=f"{rate:.0f}/s",
            floor=f"{floor:.0f}/s",
            ratio=f"{rate / floor:.2f} x",
            goal="",
        )
    )
    print_table("A run, without the engine", figures)


if __name__ == "__main__":
    main()
