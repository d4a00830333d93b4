"""Sensors under the whole product: files that change, processes that die, two workers for sensors."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.db import connection

from apps.events.models import Sensor, SensorProcess, Trigger
from apps.packs.models import Pack
from apps.rules import services
from apps.workers.models import Worker
from tests.factories import make_rule
from tests.integration.events.sensor_lab import Lab
from tests.processes import QUICK, Process, Processes, wait_until

pytestmark = pytest.mark.e2e

# Tells of each start in a file, and of its end when it is asked to.
COUNTING = 'echo "start $$" >> starts; trap \'echo "end $$" >> starts; exit 0\' TERM; while true; do sleep 0.05; done'
SENSORS = {**QUICK, "ATTUNE_SENSOR_BACKOFF_SECONDS": "0.2"}


def processes_of(sensor_ref: str, artifacts_dir: Path | str | None = None) -> list[int]:
    """Return the process groups of a sensor of one installation, whoever started them."""
    directory = artifacts_dir or settings.ARTIFACTS_DIR
    marks = {f"ATTUNE_SENSOR_REF={sensor_ref}".encode(), f"ATTUNE_ARTIFACTS_DIR={directory}".encode()}
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marks <= set((entry / "environ").read_bytes().split(b"\0")):
                found.add(os.getpgid(int(entry.name)))
    return sorted(found)


def post(client: httpx.Client, path: str, **body: Any) -> Any:
    answer = client.post(f"/api/v1/{path}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()["data"]


def watch(client: httpx.Client, folder: Path, **fields: Any) -> Any:
    return post(
        client, "rules", ref="core.watch", pack_ref="core", label="Watch", trigger_ref="core.filechange",
        action_ref="core.echo", trigger_params={"path": str(folder), "pattern": "*.csv", "interval_seconds": 0.1},
        action_params={"message": "{{ event.payload.type }} {{ event.payload.path }}"}, **fields,
    )  # fmt: skip


def file_sensors(tmp_path: Path) -> list[int]:
    return processes_of("core.file_sensor", tmp_path / "state" / "artifacts")


def messages(client: httpx.Client) -> list[str]:
    """Return what the completed executions of the rule have printed."""
    listed = client.get("/api/v1/executions", params={"rule_ref": "core.watch", "status": "completed"})
    rows = [client.get(f"/api/v1/executions/{row['id']}") for row in listed.json()["data"]]
    return [row.json()["data"]["result"]["stdout"].strip() for row in rows if row.status_code == 200]


@pytest.mark.sqlite
def test_files_that_change_start_executions(
    processes: Processes, tmp_path: Path, migrated: Callable[[Path], Path]
) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "old.csv").write_text("there before")
    up = processes.up(migrated(tmp_path / "state"), **SENSORS)
    up.wait_ready()

    with up.client() as client:
        watch(client, folder)
        log = "/api/v1/sensors/core.file_sensor/logs/stderr"
        wait_until(lambda: "1 files" in client.get(log).text, what="its first look")
        changes = {
            "created": lambda: (folder / "new.csv").write_text("a"),
            "modified": lambda: (folder / "part").write_text("whole") and (folder / "part").rename(folder / "new.csv"),
            "deleted": lambda: (folder / "new.csv").unlink(),
        }
        for kind, change in changes.items():
            change()
            expected = f"{kind} {folder / 'new.csv'}"
            wait_until(lambda expected=expected: expected in messages(client), what=expected)
        assert len(messages(client)) == 3

        post(client, "rules/core.watch/disable")
        wait_until(lambda: file_sensors(tmp_path) == [], what="the end of the sensor")
    up.terminate()
    assert up.wait() == 0
    assert "Traceback" not in up.output()


@pytest.mark.sqlite
def test_sensors_end_with_the_product_and_run_once_after_it(
    processes: Processes, tmp_path: Path, migrated: Callable[[Path], Path]
) -> None:
    up = processes.up(migrated(tmp_path / "state"), **SENSORS)
    up.wait_ready()
    with up.client() as client:
        watch(client, tmp_path)
    wait_until(lambda: file_sensors(tmp_path), what="the sensor")

    up.kill()
    wait_until(lambda: file_sensors(tmp_path) == [], what="the end of the sensor")

    again = processes.up(tmp_path / "state", port=up.port, **SENSORS)
    again.wait_ready()
    again.wait_for("Sensor core.file_sensor has started")
    assert len(wait_until(lambda: file_sensors(tmp_path), what="the sensor")) == 1

    again.send(signal.SIGTERM)
    assert again.wait() == 0
    assert file_sensors(tmp_path) == []


@pytest.fixture
def lab(core_pack: Pack, tmp_path: Path) -> Lab:
    return Lab(tmp_path / "lab")


def started(worker: Process) -> Process:
    worker.wait_for("Sensors run here")
    return worker


def sensors(processes: Processes, name: str) -> Process:
    return started(processes.sensors(name, **SENSORS))


def holder(sensor: Sensor) -> str | None:
    row = SensorProcess.objects.filter(sensor=sensor.pk, status="running").first()
    found = Worker.objects.filter(pk=row.worker_id).first() if row is not None else None
    return None if found is None else found.name


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_one_of_two_workers_runs_a_sensor_and_the_other_takes_over(processes: Processes, lab: Lab) -> None:
    sensor = lab.sensor(COUNTING)
    rule = make_rule(pack=lab.pack, trigger=Trigger.objects.get(sensor=sensor), enabled=False)
    workers = {name: sensors(processes, name) for name in ("one", "two")}

    services.enable_rule(rule.pk)  # neither process is told of it
    first = wait_until(lambda: holder(sensor), what="the sensor")
    assert len(processes_of(sensor.ref)) == 1

    workers[first].kill()
    wait_until(lambda: processes_of(sensor.ref) == [], what="its end with its worker")
    second = wait_until(lambda: (name := holder(sensor)) != first and name, what="the other one")
    assert {first, second} == set(workers)
    assert len(processes_of(sensor.ref)) == 1
    assert SensorProcess.objects.get(worker__name=first).status == "stopped"

    workers[second].terminate()
    assert workers[second].wait() == 0
    assert processes_of(sensor.ref) == []
    sensor.refresh_from_db()
    assert sensor.lease_worker is None
    lines = (lab.folder / "starts").read_text().split("\n")
    assert [line.split()[0] for line in lines if line] == ["start", "start", "end"]
    connection.close()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_worker_that_stands_still_loses_its_sensor_before_the_other_starts_it(processes: Processes, lab: Lab) -> None:
    sensor = lab.sensor(COUNTING)
    make_rule(pack=lab.pack, trigger=Trigger.objects.get(sensor=sensor))
    workers = {name: sensors(processes, name) for name in ("one", "two")}
    first = wait_until(lambda: holder(sensor), what="the sensor")

    workers[first].freeze()
    most = 0

    def moved() -> bool:
        nonlocal most
        most = max(most, len(processes_of(sensor.ref)))
        return holder(sensor) not in (None, first)

    wait_until(moved, what="the take-over")
    assert most == 1
    workers[first].thaw()
    workers[first].wait_for("has lost its lease")
    wait_until(lambda: len(processes_of(sensor.ref)) == 1)
    assert holder(sensor) not in (None, first)
    connection.close()
