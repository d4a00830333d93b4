"""
A worker process without Celery: an agent and one program that runs under it. Tells each step as a line of JSON.

``python agent_program.py <name> [<stop grace in seconds>]``, with the settings in the environment.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")

import django

django.setup()

from apps.workers import process  # noqa: E402  # after Django is set up
from apps.workers.agent import NameTaken, WorkerAgent  # noqa: E402
from apps.workers.control import RunControl  # noqa: E402
from apps.workers.runner_services import RunnerServices  # noqa: E402
from apps.workers.signals import lease_renewed  # noqa: E402

lease_renewed.receivers.clear()  # the program below has no execution, so the engine would stop it


def tell(event: str, **more: object) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


def run_under(agent: WorkerAgent, control: RunControl) -> None:
    command = process.Command(
        argv=("sleep", "600"),
        env={"PATH": os.environ["PATH"]},
        directory="/",
        timeout_seconds=600,
        kill_grace_seconds=0.3,
    )
    ended = process.run(command, control, agent.services)
    tell("run ended", reason=ended.reason, lease_valid=agent.lease_valid())
    agent.runs.remove(1)


def main() -> int:
    stop = threading.Event()
    lost = threading.Event()

    def on_lost_name() -> None:
        tell("name lost")
        lost.set()
        stop.set()

    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    agent = WorkerAgent(services=RunnerServices(), name=sys.argv[1], slots=2, on_lost_name=on_lost_name)
    try:
        agent.start(called_off=stop.is_set)
    except NameTaken:
        return 0
    control = RunControl()
    agent.runs.add(1, 1, control)
    threading.Thread(target=run_under, args=(agent, control), daemon=True).start()
    while control.pgid is None:
        stop.wait(0.01)
    tell("started", worker_id=agent.worker_id, generation=agent.generation, program=control.pgid)
    generation = agent.generation
    while not stop.wait(0.05):
        if agent.generation != generation and agent.lease_valid():
            generation = agent.generation
            tell("new lease", generation=generation)
    agent.stop(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
    tell("stopped")
    return int(lost.is_set())


if __name__ == "__main__":
    sys.exit(main())
