"""Sensors at work: real processes, started, restarted and stopped by a supervisor in this process."""

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from apps.events.models import Event, Sensor, SensorProcess, SensorProcessHistory, Trigger
from apps.events.sensors import held, logs
from apps.executions.models import Artifact
from apps.identity import tokens
from apps.rules import services
from apps.workers.models import Worker
from tests.factories import make_runtime, make_trigger, make_worker
from tests.integration.events.sensor_lab import STAYS, Lab, process_of, running, wait_for_status
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab(settings, tmp_path, monkeypatch):
    settings.ARTIFACTS_DIR = tmp_path / "artifacts"
    settings.RUNTIME_ENVS_DIR = tmp_path / "envs"
    settings.WORKER_RUNTIMES = ["shell"]
    settings.KILL_GRACE_SECONDS = 0.3
    settings.HEARTBEAT_SECONDS = 0.2
    settings.LEASE_SECONDS = 3
    settings.SENSOR_BACKOFF_SECONDS = 0.1
    monkeypatch.setattr(held, "BURST_SECONDS", 0.3)
    yield Lab(tmp_path / "lab")
    connection.close()


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def log_of(sensor, stream="stdout"):
    with logs.open_log(sensor, stream) as log:
        return b"".join(log.part(0, log.size_bytes)).decode(errors="replace")


def restarts_of(sensor):
    return SensorProcessHistory.objects.filter(
        entity_ref=sensor.ref, new_values__status="running", changed_fields__icontains="pid"
    ).count()


# --- When it runs ------------------------------------------------------------------------------------------------


def test_sensor_runs_while_an_enabled_rule_uses_its_trigger(lab):
    sensor = lab.sensor()
    rule = lab.rule(sensor, enabled=False)
    with running() as (agent, _):
        services.enable_rule(rule.pk)
        row = wait_for_status(sensor, "running")
        assert is_alive(row.pid)
        sensor.refresh_from_db()
        assert (sensor.lease_worker, sensor.lease_expires_at > timezone.now()) == (agent.worker_id, True)
        assert (row.active_rule_count, row.log_artifact_ref) == (1, "sensor.lab.watcher.stdout")

        services.disable_rule(rule.pk)
        stopped = wait_for_status(sensor, "stopped")
        assert not is_alive(row.pid)
        assert (stopped.pid, stopped.last_exit_code, stopped.consecutive_failures) == (None, 0, 0)
        wait_until(lambda: Sensor.objects.filter(pk=sensor.pk, lease_worker=None).exists(), what="the lease given up")


def test_enabling_takes_effect_soon(lab):
    sensor = lab.sensor()
    rule = lab.rule(sensor, enabled=False)
    with running():
        began = time.monotonic()
        services.enable_rule(rule.pk)
        wait_for_status(sensor, "running")
        assert time.monotonic() - began < 4  # 0.1 s on an idle machine; a minute when nobody rings


def test_disabled_sensor_does_not_run_and_a_disabled_one_is_stopped(lab):
    sensor = lab.sensor(enabled=False)
    lab.rule(sensor)
    with running():
        sensor.set(enabled=True)
        wait_for_status(sensor, "running")
        sensor.set(enabled=False)
        wait_for_status(sensor, "stopped")


def test_deleted_sensor_is_stopped(lab):
    sensor = lab.sensor()
    lab.rule(sensor)
    with running() as (agent, _):
        pid = wait_for_status(sensor, "running").pid
        entity = process_of(sensor).pk

        Sensor.objects.get(pk=sensor.pk).delete()

        wait_until(lambda: not is_alive(pid), what="the end of its process")
        wait_until(lambda: not len(agent.sensors))
    last = SensorProcessHistory.objects.filter(entity_id=entity).order_by("-pk").first()
    assert last.operation == "DELETE"


def test_sensor_of_timers_alone_has_no_process(lab):
    sensor = lab.sensor()
    Trigger.objects.filter(sensor=sensor).update(ref="core.intervaltimer")
    lab.rule(sensor)
    other = lab.sensor(name="other")
    lab.rule(other)
    with running():
        wait_for_status(other, "running")
        assert process_of(sensor) is None


# --- What it is given --------------------------------------------------------------------------------------------


def test_environment_is_the_table_and_nothing_else(lab, settings, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://secret")
    settings.PUBLIC_API_URL = "http://attune.example:3000"
    sensor = lab.sensor(f"pwd; env -0 > seen; {STAYS}", config={"path": "/in", "deep-er": {"a": 1}})
    rule = lab.rule(sensor, trigger_params={"path": "/x y"}, enabled=True)
    lab.rule(sensor, enabled=False)
    with running():
        wait_for_status(sensor, "running")
        text = wait_until(lambda: log_of(sensor) if "started" in log_of(sensor) else "", what="its output")

    assert text.split("\n")[0] == str(lab.folder)
    seen = (lab.folder / "seen").read_text()
    found = dict(entry.partition("=")[::2] for entry in seen.split("\0") if entry)
    token = tokens.read(found.pop("ATTUNE_API_TOKEN"))
    shells_own = {"PWD", "SHLVL", "_", "OLDPWD"}
    entry = {"id": rule.pk, "ref": rule.ref, "trigger_ref": "lab.watcher_seen", "trigger_params": {"path": "/x y"}}
    assert json.loads(found.pop("ATTUNE_SENSOR_TRIGGERS")) == [{**entry, "config": {"path": "/x y"}}]
    assert {name: value for name, value in found.items() if name.startswith("ATTUNE_")} == {
        "ATTUNE_API_URL": "http://attune.example:3000",
        "ATTUNE_SENSOR_ID": str(sensor.pk),
        "ATTUNE_SENSOR_REF": "lab.watcher",
        "ATTUNE_SENSOR_CONFIG_PATH": "/in",
        "ATTUNE_SENSOR_CONFIG_DEEP_ER": '{"a":1}',
        "ATTUNE_ARTIFACTS_DIR": str(settings.ARTIFACTS_DIR),
        "ATTUNE_LOG_LEVEL": settings.LOG_LEVEL,
    }
    others = {name for name in found if not name.startswith("ATTUNE_")} - shells_own
    assert others <= {"PATH", "HOME", "LANG", "TZ", "TMPDIR"}
    assert (token.token_type, token.login, token.metadata["trigger_types"]) == (
        "sensor", "lab.watcher", ["lab.watcher_seen"],
    )  # fmt: skip


def test_output_becomes_artifacts(lab):
    sensor = lab.sensor(f"printf 'a\\0b\\377\\n'; echo trouble >&2; {STAYS}")
    lab.rule(sensor)
    with running():
        wait_for_status(sensor, "running")
        wait_until(
            lambda: set(logs.artifact_ids(sensor)) == {"sensor.lab.watcher.stdout", "sensor.lab.watcher.stderr"}
        )
        assert log_of(sensor) == "a\0b\ufffd\nstarted\n"
    stdout = Artifact.objects.get(ref="sensor.lab.watcher.stdout")
    assert (stdout.scope, stdout.owner, stdout.type) == ("sensor", "lab.watcher", "file_text")
    version = stdout.versions.get()
    assert (version.created_by.startswith("worker:"), version.size_bytes) == (True, 13)


def test_output_shows_neither_token_nor_secret_settings(lab):
    config = {"password": "c4nary-s3cret", "host": "db1"}
    sensor = lab.sensor(
        f'echo "$ATTUNE_API_TOKEN"; echo "$ATTUNE_SENSOR_CONFIG_PASSWORD at $ATTUNE_SENSOR_CONFIG_HOST"; {STAYS}',
        config=config,
        param_schema={"password": {"type": "string", "secret": True}, "host": {"type": "string"}},
    )
    lab.rule(sensor)
    with running():
        wait_for_status(sensor, "running")
        text = wait_until(lambda: log_of(sensor) if "started" in log_of(sensor) else "", what="its output")

    assert text == "***\n*** at db1\nstarted\n"


# --- Changes -----------------------------------------------------------------------------------------------------


def test_burst_of_changes_is_one_restart(lab):
    sensor = lab.sensor(f"echo $ATTUNE_SENSOR_TRIGGERS; {STAYS}")
    rules = [lab.rule(sensor, enabled=False) for _ in range(5)]
    services.enable_rule(rules[0].pk)
    with running():
        first = wait_for_status(sensor, "running").pid
        for rule in rules[1:]:
            services.enable_rule(rule.pk)
        wait_for_status(sensor, "running", pid_not=first)
        wait_until(lambda: process_of(sensor).active_rule_count == 5)
        wait_until(lambda: log_of(sensor).count("started") == 2)
    starts = [len(json.loads(line)) for line in log_of(sensor).split("\n") if line.startswith("[")]
    assert starts == [1, 5]


def test_change_that_matters_to_no_sensor_restarts_none(lab):
    sensor = lab.sensor()
    rule = lab.rule(sensor)
    with running():
        pid = wait_for_status(sensor, "running").pid
        services.update_rule(rule.pk, {"label": "another name"})
        services.update_rule(rule.pk, {"trigger_params": {"changed": True}})
        wait_for_status(sensor, "running", pid_not=pid)
    assert restarts_of(sensor) == 2


def test_sensor_that_follows_changes_itself_is_not_restarted(lab):
    sensor = lab.sensor(hot_reload=True)
    rule = lab.rule(sensor)
    second = lab.rule(sensor, enabled=False)
    with running():
        pid = wait_for_status(sensor, "running").pid
        services.enable_rule(second.pk)
        services.update_rule(rule.pk, {"trigger_params": {"changed": True}})
        wait_until(lambda: process_of(sensor).active_rule_count == 2)
        time.sleep(2 * held.BURST_SECONDS)  # what must not happen would have happened by now
        assert process_of(sensor).pid == pid


def test_changed_program_is_started(lab):
    sensor = lab.sensor()
    lab.rule(sensor)
    with running():
        pid = wait_for_status(sensor, "running").pid
        sensor.set(config={"now": "another"})
        wait_for_status(sensor, "running", pid_not=pid)


# --- Failures ----------------------------------------------------------------------------------------------------


def test_sensor_that_fails_is_started_again_and_again_and_told_of_once(lab):
    make_trigger(ref="core.alert")
    sensor = lab.sensor("echo line one >&2; printf 'broken\\0\\n' >&2; exit 7")
    lab.rule(sensor)
    with running():
        wait_until(lambda: (row := process_of(sensor)) and row.consecutive_failures >= 4, what="four failures")
        row = process_of(sensor)
        assert (row.last_exit_code, row.last_signal, row.stderr_excerpt) == (7, None, "line one\nbroken\ufffd")
        if row.status == "backoff":
            assert row.next_restart_at > row.last_stopped_at
    [alert] = Event.objects.filter(trigger_ref="core.alert")
    assert alert.payload["failure_type"] == "sensor_failing"
    assert (alert.payload["component_ref"], alert.payload["worker_role"]) == ("lab.watcher", "sensor")
    assert alert.payload["details"]["consecutive_failures"] == 3
    row.refresh_from_db()
    assert row.last_alerted_failures == 3


def test_exit_by_signal_is_told(lab):
    sensor = lab.sensor("kill -SEGV $$")
    lab.rule(sensor)
    with running():
        wait_until(lambda: (row := process_of(sensor)) and row.consecutive_failures >= 1)
        row = process_of(sensor)
    assert (row.last_exit_code, row.last_signal) == (None, 11)


def test_program_that_is_not_there_has_failed(lab):
    sensor = lab.sensor(entrypoint="missing.sh")
    lab.rule(sensor)
    with running():
        row = wait_for_status(sensor, "failed")
        assert row.stderr_excerpt == "The pack 'lab' has no file sensors/missing.sh"
        assert row.next_restart_at is not None


@pytest.mark.parametrize("entrypoint", ["../../outside.sh", "link.sh"])
def test_program_outside_of_its_pack_is_not_run(lab, tmp_path, entrypoint):
    (tmp_path / "outside.sh").write_text("touch escaped")
    sensor = lab.sensor(entrypoint=entrypoint)
    (lab.folder / "sensors" / "link.sh").symlink_to(tmp_path / "outside.sh")
    lab.rule(sensor)
    with running():
        wait_for_status(sensor, "failed")
    assert not (lab.folder / "escaped").exists()


def test_rewritten_program_ends_the_wait(lab, settings):
    settings.SENSOR_BACKOFF_SECONDS = 60
    sensor = lab.sensor("exit 1")
    lab.rule(sensor)
    with running():
        wait_for_status(sensor, "backoff")
        (lab.folder / "sensors" / "watcher.sh").write_text(STAYS)
        lab.pack.set(version="1.0.1")  # what a registration does
        sensor.set(description="newer")
        wait_for_status(sensor, "running")


# --- Ends --------------------------------------------------------------------------------------------------------


def test_sensor_that_ignores_sigterm_is_killed_with_its_children(lab):
    sensor = lab.sensor("trap '' TERM; (trap '' TERM; sleep 1000) & echo started; while true; do sleep 0.05; done")
    rule = lab.rule(sensor)
    with running():
        row = wait_for_status(sensor, "running")
        wait_until(lambda: "started" in log_of(sensor))
        services.disable_rule(rule.pk)
        stopped = wait_for_status(sensor, "stopped")
    assert (stopped.last_signal, is_alive(row.pid)) == (9, False)
    assert not _group_lives(row.pid)


def _group_lives(pgid):
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_left_the_group_of_a_sensor_is_ended_too(lab):
    sensor = lab.sensor(f"setsid sleep 1000 & echo $! > daemon; {STAYS}")
    rule = lab.rule(sensor)
    with running():
        wait_for_status(sensor, "running")
        pid = int(wait_until(lambda: (lab.folder / "daemon").exists() and (lab.folder / "daemon").read_text().strip()))
        services.disable_rule(rule.pk)
        wait_for_status(sensor, "stopped")
        assert not is_alive(pid)


def _offered(name, **wanted):
    found = Worker.objects.get(name=name).capabilities
    return found if wanted.items() <= found.items() else None


def test_stop_ends_all_and_gives_it_up(lab):
    sensors = [lab.sensor(name=f"s{number}") for number in range(3)]
    for sensor in sensors:
        lab.rule(sensor)
    with running(name="leaving"):
        pids = [wait_for_status(sensor, "running").pid for sensor in sensors]
        offered = wait_until(lambda: _offered("leaving", sensor_processes_running=3), what="it is told")
        assert offered["sensor_processes_monitored"] == 3
        assert (offered["active_rules"], offered["max_concurrent_sensors"]) == (3, 20)

    assert not any(is_alive(pid) for pid in pids)
    assert set(SensorProcess.objects.values_list("status", "pid")) == {("stopped", None)}
    assert not Sensor.objects.filter(lease_worker__isnull=False).exists()
    worker = Worker.objects.get(name="leaving")
    assert (worker.status, worker.capabilities["sensor_processes_running"]) == ("inactive", 0)
    assert "max_concurrent_executions" not in worker.capabilities


def test_process_whose_lease_was_taken_away_is_killed(lab):
    sensor = lab.sensor()
    lab.rule(sensor)
    other = make_worker(worker_role="sensor", runtimes=())
    with running():
        pid = wait_for_status(sensor, "running").pid
        Sensor.objects.filter(pk=sensor.pk).update(
            lease_worker=other.pk, lease_expires_at=timezone.now() + timedelta(seconds=60)
        )
        wait_until(lambda: not is_alive(pid), what="its end")


# --- Where -------------------------------------------------------------------------------------------------------


def test_two_supervisors_run_it_once_and_the_other_takes_over(lab):
    sensor = lab.sensor()
    lab.rule(sensor)
    with running(name="b") as (second, _):
        with running(name="a") as (first, _):
            holders = {first.worker_id: "a", second.worker_id: "b"}
            row = wait_for_status(sensor, "running")
            time.sleep(1)
            assert SensorProcess.objects.filter(status="running").count() == 1
            assert row.worker_id in holders
            Worker.objects.filter(pk=row.worker_id).update(cordoned=True)
            os.kill(row.pid, 9)
            moved = wait_for_status(sensor, "running", pid_not=row.pid)
            assert moved.worker_id == next(pk for pk in holders if pk != row.worker_id)
            assert not is_alive(row.pid)


def test_cordoned_worker_takes_no_sensor(lab):
    sensor = lab.sensor()
    with running(name="cordoned") as (agent, _):
        Worker.objects.filter(pk=agent.worker_id).update(cordoned=True)
        rule = lab.rule(sensor, enabled=False)
        services.enable_rule(rule.pk)
        time.sleep(1)
        assert not SensorProcess.objects.exists()


def test_sensor_goes_where_its_selector_and_runtime_say(lab, settings):
    sensor = lab.sensor(worker_selector={"zone": "eu"})
    lab.rule(sensor)
    lab.rule(lab.sensor(name="node", runtime=make_runtime(ref="core.nodejs")))
    with running(name="nowhere"):
        time.sleep(1)
        assert not SensorProcess.objects.exists()
        settings.WORKER_LABELS = {"zone": "eu"}
        with running(name="eu") as (agent, _):
            assert wait_for_status(sensor, "running").worker_id == agent.worker_id


def test_sensors_of_a_worker_that_was_lost_are_taken_over(lab):
    sensor = lab.sensor()
    lab.rule(sensor)
    lost = make_worker(worker_role="sensor", lease_seconds=-1)
    Sensor.objects.filter(pk=sensor.pk).update(
        lease_worker=lost.pk, lease_expires_at=timezone.now() - timedelta(seconds=1)
    )
    SensorProcess.objects.create(sensor=sensor, sensor_ref=sensor.ref, worker=lost, status="running", pid=99999999)
    with running() as (agent, _):
        row = wait_until(lambda: SensorProcess.objects.filter(worker=agent.worker_id, status="running").first())
        assert row.sensor_id == sensor.pk
        assert SensorProcess.objects.get(worker=lost).status == "stopped"


def test_sensor_of_a_worker_that_lives_is_left_alone(lab):
    sensor = lab.sensor()
    lab.rule(sensor)
    there = make_worker(worker_role="sensor")
    Sensor.objects.filter(pk=sensor.pk).update(
        lease_worker=there.pk, lease_expires_at=timezone.now() - timedelta(seconds=1)
    )
    with running():
        time.sleep(1.5)
    sensor.refresh_from_db()
    assert sensor.lease_worker == there.pk


def test_sensor_that_demands_nonsense_holds_up_no_other(lab):
    odd = lab.sensor(name="odd", worker_affinity={"required": ["nonsense"]})
    lab.rule(odd)
    sensor = lab.sensor()
    lab.rule(sensor)
    with running():
        wait_for_status(sensor, "running")
        assert process_of(odd) is None
