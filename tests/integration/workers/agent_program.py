"""
A worker process without Celery: an agent and one program that runs under it. Tells each step as a line of JSON.

``python agent_program.py <name> [<stop grace in seconds>]``, with the settings in the environment.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.dev")

import django

django.setup()

from apps.workers.agent import WorkerAgent  # noqa: E402  # after Django is set up
from apps.workers.signals import lease_renewed  # noqa: E402

lease_renewed.receivers.clear()  # the program below has no execution, so the engine would stop it


def tell(event: str, **more: object) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


class NoRunner:
    """The agent's view of a process runner that runs nothing."""

    guard = None

    def start(self) -> None: ...

    def close(self) -> None: ...


class Program:
    """A program in a process group of its own, and its control."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["sleep", "600"], start_new_session=True)

    def stop(self, reason: str) -> None:
        self.reason = reason
        self.kill()

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def run_under(agent: WorkerAgent, program: Program) -> None:
    agent.runs.add(1, 1, program)
    program.process.wait()
    tell("run ended", reason=program.reason, lease_valid=agent.lease_valid())
    agent.runs.remove(1)


def main() -> int:
    stop = threading.Event()
    lost = threading.Event()

    def on_lost_name() -> None:
        tell("name lost")
        lost.set()
        stop.set()

    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    agent = WorkerAgent(services=NoRunner(), name=sys.argv[1], slots=2, on_lost_name=on_lost_name)
    agent.start(called_off=stop.is_set)
    program = Program()
    tell("started", worker_id=agent.worker_id, generation=agent.generation, program=program.process.pid)
    threading.Thread(target=run_under, args=(agent, program), daemon=True).start()
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
