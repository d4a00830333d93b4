"""Sensors that really run: a worker for them inside the test's process, and a pack with their programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from apps.events.models import Sensor, SensorProcess, Trigger
from apps.events.sensors.supervisor import Supervisor
from apps.packs.models import Pack
from apps.rules.models import Rule
from apps.workers.agent import WorkerAgent
from apps.workers.lease import Times
from apps.workers.runner_services import RunnerServices
from tests.factories import make_pack, make_rule, make_runtime, make_sensor, make_trigger
from tests.processes import wait_until

TIMES = Times(heartbeat=0.2, lease=3, kill_grace=0.3)
STAYS = "echo started; trap 'exit 0' TERM; while true; do sleep 0.05; done"


class Lab:
    """A pack whose sensors are shell scripts; ``supervisor`` runs them in the name of ``agent``."""

    def __init__(self, folder: Path) -> None:
        (folder / "sensors").mkdir(parents=True)
        self.folder = folder
        self.pack: Pack = make_pack(ref="lab", installation_method="register", storage_path=str(folder))

    def sensor(self, script: str = STAYS, *, name: str = "watcher", **fields: Any) -> Sensor:
        """Make a sensor with a trigger of its own, ``lab.<name>_seen``."""
        (self.folder / "sensors" / f"{name}.sh").write_text(script)
        trigger = make_trigger(pack=self.pack, ref=f"lab.{name}_seen")
        defaults = {"ref": f"lab.{name}", "entrypoint": f"{name}.sh", "runtime": make_runtime(ref="core.shell")}
        return make_sensor(trigger, pack=self.pack, **{**defaults, **fields})

    def rule(self, sensor: Sensor, **fields: Any) -> Rule:
        """Make a rule as a row, of the sensor's trigger; the supervisor hears nothing of it."""
        return make_rule(pack=self.pack, trigger=Trigger.objects.get(sensor=sensor), **fields)


@contextmanager
def running(*, name: str = "s1") -> Iterator[tuple[WorkerAgent, Supervisor]]:
    """A worker for sensors and its supervisor."""
    agent = WorkerAgent(
        services=RunnerServices(guarded=False), name=name, role="sensor", times=TIMES, on_lost_name=lambda: None
    )
    agent.offer(max_concurrent_sensors=5)
    agent.start()
    supervisor = Supervisor(agent=lambda: agent)
    supervisor.start()
    try:
        yield agent, supervisor
    finally:
        stopped = supervisor.stop()
        agent.stop(0)
    assert stopped


def process_of(sensor: Sensor) -> SensorProcess | None:
    return SensorProcess.objects.filter(sensor=sensor.pk).order_by("-updated").first()


def wait_for_status(sensor: Sensor, status: str, *, pid_not: int | None = None) -> SensorProcess:
    """Wait until the sensor's process has this status (and another number than ``pid_not``); return its row."""

    def found() -> SensorProcess | None:
        row = process_of(sensor)
        return row if row is not None and row.status == status and (pid_not is None or row.pid != pid_not) else None

    row = wait_until(found, timeout_seconds=60, what=f"{sensor.ref} {status}")
    assert isinstance(row, SensorProcess)
    return row
