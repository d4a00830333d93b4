"""
Figures of the engine inside one process: overhead per execution, drain of a backlog, dispatch beside a large one.

Run by ``bench/run.py`` with the stack in the environment; prints one JSON object.
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction

from apps.actions.models import Action
from apps.executions.dispatch import dispatch_once, dispatch_waiting
from apps.executions.models import Execution
from apps.executions.services import ExecutionRequest, request_execution
from apps.executions.signals import execution_changed
from apps.executions.states import TERMINAL
from apps.packs.services import load_core_pack
from apps.workers.agent import current_agent
from apps.workers.models import Worker
from attune.celery import app
from attune.embedded import EmbeddedWorker
from bench.figures import median_ms, timed

SINGLE = 200
BACKLOG = 1000
ECHO = {"message": "hello, world"}


class Finished:
    """Wait for executions to end; their news comes after the commit, in the thread that recorded them."""

    def __init__(self) -> None:
        self.moments: dict[int, float] = {}
        self._changed = threading.Condition()
        execution_changed.connect(self._note, dispatch_uid="bench")

    def _note(self, *, execution_id: int, status: str, **_signal: Any) -> None:
        if status in TERMINAL:
            with self._changed:
                self.moments[execution_id] = time.perf_counter()
                self._changed.notify_all()

    def wait(self, *, count: int, timeout: float = 300) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.moments) >= count, timeout), len(self.moments)


def rest() -> None:
    """Let the engine finish its own work on the last execution, so that the next measurement is of one thing."""
    agent = current_agent()
    assert agent is not None
    agent.runs.wait_empty()
    time.sleep(0.003)


def overhead(finished: Finished) -> dict[str, float]:
    """Request commit to result commit of one shell execution, beside a bare run of the same command."""
    pack = Action.objects.get(ref="core.echo").pack
    action, _created = Action.objects.get_or_create(
        ref="core.bench_shell",
        defaults={
            "label": "bench", "pack": pack, "pack_ref": "core", "entrypoint": "echo hi", "is_adhoc": True,
            "runtime": Action.objects.get(ref="core.echo").runtime,
        },
    )  # fmt: skip
    whole, bare = [], []
    script = Path(os.environ["ATTUNE_STATE_DIR"]) / "bench.sh"
    script.write_text("echo hi\n")
    for _ in range(SINGLE):
        finished.moments.clear()
        began: list[float] = []
        with transaction.atomic():
            transaction.on_commit(lambda began=began: began.append(time.perf_counter()))
            execution = request_execution(ExecutionRequest(action=action))
        finished.wait(count=1)
        whole.append(finished.moments[execution.pk] - began[0])
        rest()
        bare.append(timed(lambda: subprocess.run(["/bin/bash", str(script)], capture_output=True, check=True)))
    return {"whole_ms": median_ms(whole), "bare_ms": median_ms(bare)}


def drain(finished: Finished) -> dict[str, float]:
    """A backlog of core.echo, beside two threads of bare runs of the same script."""
    action = Action.objects.select_related("runtime", "pack").get(ref="core.echo")
    Worker.objects.update(cordoned=True)
    finished.moments.clear()
    for _ in range(BACKLOG):
        request_execution(ExecutionRequest(action=action, parameters=ECHO))
    Worker.objects.update(cordoned=False)
    began, cpu = time.perf_counter(), time.process_time()
    dispatch_waiting()
    finished.wait(count=BACKLOG)
    seconds = time.perf_counter() - began
    own_cpu_ms = (time.process_time() - cpu) / BACKLOG * 1000
    script = Path(__file__).resolve().parent.parent / "packs" / "core" / "actions" / "echo.sh"

    def loop() -> None:
        for _ in range(BACKLOG // 2):
            subprocess.run(
                ["/bin/bash", str(script)], input=b"message='hello, world'\n", capture_output=True, check=True
            )

    threads = [threading.Thread(target=loop) for _ in range(2)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bare_seconds = time.perf_counter() - began
    return {
        "per_second": BACKLOG / seconds,
        "bare_per_second": BACKLOG / bare_seconds,
        "own_cpu_ms": own_cpu_ms,
    }


def warm_python(finished: Finished) -> dict[str, float]:
    """One inline Python action through the engine and its process alone, beside ``python3 -c pass``."""
    pack = Action.objects.get(ref="core.echo").pack
    runtime = Action.objects.model._meta.get_field("runtime").related_model.objects.get(ref="core.python")
    action, _created = Action.objects.get_or_create(
        ref="core.bench_python",
        defaults={
            "label": "bench", "pack": pack, "pack_ref": "core", "is_adhoc": True, "runtime": runtime,
            "entrypoint": "def run(n):\n    return {'double': n * 2}",
        },
    )  # fmt: skip
    whole, bare = [], []
    for number in range(SINGLE // 2):
        finished.moments.clear()
        began = time.perf_counter()
        execution = request_execution(ExecutionRequest(action=action, parameters={"n": 21}))
        finished.wait(count=1)
        rest()
        if number >= 5:  # the first ones start the template
            whole.append(finished.moments[execution.pk] - began)
            bare.append(timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)))
    return {"whole_ms": median_ms(whole), "bare_ms": median_ms(bare)}


def dispatch_rate(waiting: int) -> dict[str, float]:
    """Dispatch passes per second beside few and beside ``waiting`` executions that nobody can take."""
    action = Action.objects.select_related("runtime", "pack").get(ref="core.echo")
    rates = []
    for extra in (0, waiting):
        if extra:
            blocked = request_execution(ExecutionRequest(action=action, worker_selector={"nobody": "1"}))
            _copy(blocked.pk, extra)
        rates.append(200 / timed(lambda: [dispatch_once() for _ in range(200)]))
    return {"empty_per_second": rates[0], "waiting_per_second": rates[1], "waiting": waiting}


def _copy(execution_id: int, times: int) -> None:
    """Multiply a row in the database itself."""
    columns = [f.column for f in Execution._meta.concrete_fields if f.column not in ("id", "correlation_id")]
    names = ", ".join(f'"{column}"' for column in columns)
    numbers = (
        "generate_series(1, %s)"
        if connection.vendor == "postgresql"
        else "(WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < %s) SELECT x FROM n)"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO execution ({names}) SELECT {names} FROM execution, {numbers} AS n WHERE execution.id = %s",  # names of our own columns
            [times, execution_id],
        )


def main() -> None:
    call_command("migrate", verbosity=0)
    load_core_pack()
    worker = EmbeddedWorker(app)
    worker.start()
    worker.wait_ready()
    finished = Finished()
    try:
        figures = {"overhead": overhead(finished), "python": warm_python(finished), "drain": drain(finished)}
        if "--waiting" in sys.argv:
            figures["dispatch"] = dispatch_rate(int(sys.argv[sys.argv.index("--waiting") + 1]))
    finally:
        worker.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
