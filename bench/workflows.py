"""
Figures of workflows inside one process: chains of tasks, fan-out, and the gap between two tasks.

Run by ``bench/run.py`` with the stack in the environment; prints one JSON object.
"""

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")

import django

django.setup()

from django.core.management import call_command

from apps.actions.models import Action
from apps.executions.models import Execution
from apps.executions.services import ExecutionRequest, request_execution
from apps.executions.signals import execution_changed
from apps.executions.states import TERMINAL
from apps.packs.services import load_core_pack
from apps.workers.models import Runtime
from apps.workflows.models import WorkflowDefinition
from attune.celery import app
from attune.embedded import EmbeddedWorker
from bench.figures import percentile_ms

LIGHT_TASKS, HEAVY_TASKS = 40, 10
FIBO = "def run(n):\n    def fibo(k):\n        return k if k < 2 else fibo(k - 1) + fibo(k - 2)\n    return {'value': fibo(n)}\n"
BARE = f"{FIBO}\nfor _ in range({HEAVY_TASKS}):\n    run(33)\n"
REPEATS = 5


def make_action(name: str, *, runtime: str, entrypoint: str, **fields: Any) -> Action:
    pack = Action.objects.get(ref="core.echo").pack
    row = Runtime.objects.get(ref=runtime)
    return Action.objects.create(
        ref=f"core.{name}", label=name, pack=pack, pack_ref="core", runtime=row, entrypoint=entrypoint, is_adhoc=True,
        **fields,
    )  # fmt: skip


def make_workflow(name: str, tasks: list[dict[str, Any]]) -> Action:
    """Return the companion action of a new workflow."""
    pack = Action.objects.get(ref="core.echo").pack
    ref = f"core.{name}"
    definition = WorkflowDefinition.objects.create(
        ref=ref, label=name, pack=pack, pack_ref="core", version="1.0.0", definition={"tasks": tasks}
    )
    return Action.objects.create(
        ref=ref, label=name, pack=pack, pack_ref="core", entrypoint="workflow", workflow_def=definition.pk
    )


def chain(name: str, action: Action, number: int, **given: Any) -> Action:
    tasks = [
        {"name": f"t{i}", "action": action.ref, "input": given, "next": [{"do": [f"t{i + 1}"]}]} for i in range(number)
    ]
    del tasks[-1]["next"]
    return make_workflow(name, tasks)


class Ended:
    """Wait for the end of one execution without asking the database: this process is what is measured."""

    def __init__(self) -> None:
        self._ended: set[int] = set()
        self._changed = threading.Condition()
        execution_changed.connect(self._note, dispatch_uid="bench.workflows")

    def _note(self, *, execution_id: int, status: str, **_signal: Any) -> None:
        if status in TERMINAL:
            with self._changed:
                self._ended.add(execution_id)
                self._changed.notify_all()

    def wait(self, execution_id: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: execution_id in self._ended, 600)


ended = Ended()


def run(action: Action, **parameters: Any) -> Execution:
    """Return the execution once it has ended."""
    execution = request_execution(ExecutionRequest(action=action, parameters=parameters))
    ended.wait(execution.pk)
    execution.refresh_from_db()
    assert execution.status == "completed", (execution.status, execution.result)
    return execution


def seconds_of(execution: Execution) -> float:
    assert execution.finished_at is not None
    return (execution.finished_at - execution.created).total_seconds()


def light_chain(fibo: Action) -> dict[str, float]:
    workflow = chain("bench_light", fibo, LIGHT_TASKS, n=10)
    runs = [run(workflow) for _ in range(REPEATS + 1)][1:]  # the first one starts the template
    gaps = [gap for execution in runs for gap in gaps_of(execution)]
    return {
        "seconds": statistics.median(map(seconds_of, runs)),
        "gap_p50_ms": percentile_ms(gaps, 50),
        "gap_p99_ms": percentile_ms(gaps, 99),
    }


def gaps_of(workflow: Execution) -> list[float]:
    """Return the seconds between the end of a task and the dispatch of the next."""
    children = list(Execution.objects.filter(parent=workflow.pk).order_by("created", "id"))
    moments = [(before.finished_at, after.scheduled_at) for before, after in pairwise(children)]
    return [(after - before).total_seconds() for before, after in moments if before is not None and after is not None]


def heavy_chain(fibo: Action) -> dict[str, float]:
    workflow = chain("bench_heavy", fibo, HEAVY_TASKS, n=33)
    whole, bare = [], []
    for _ in range(2):
        whole.append(seconds_of(run(workflow)))
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", BARE], check=True)
        bare.append(time.perf_counter() - began)
    return {"seconds": min(whole), "bare_seconds": min(bare)}


def fan_out(step: Action) -> dict[str, float]:
    """Seconds an item, for few and for many."""
    task = {"name": "each", "action": step.ref, "with_items": "{{ range(parameters.n) }}", "concurrency": 4,
            "input": {"n": "{{ item }}"}}  # fmt: skip
    workflow = make_workflow("bench_fan_out", [task])
    few, many = 100, 1000
    run(workflow, n=few)
    return {
        "few_ms": min(seconds_of(run(workflow, n=few)) for _ in range(3)) / few * 1000,
        "many_ms": min(seconds_of(run(workflow, n=many)) for _ in range(2)) / many * 1000,
    }


def main() -> None:
    call_command("migrate", verbosity=0)
    load_core_pack()
    worker = EmbeddedWorker(app)
    worker.start()
    worker.wait_ready()
    try:
        fibo = make_action("bench_fibo", runtime="core.python", entrypoint=FIBO, timeout_seconds=600)
        step = make_action("bench_step", runtime="core.python", entrypoint="def run(n):\n    return {'n': n}\n")
        figures = {"light": light_chain(fibo), "heavy": heavy_chain(fibo), "fan_out": fan_out(step)}
    finally:
        worker.stop()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
