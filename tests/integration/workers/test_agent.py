"""The agent of a worker process, inside this one: registration, renewals, capabilities, stop."""

import sys
import threading
from datetime import timedelta

import pytest
from django.db import connection

from apps.core.fields import Now
from apps.packs.signals import pack_registered
from apps.workers import remote_control
from apps.workers.agent import NameTaken, WorkerAgent, current_agent
from apps.workers.lease import Times
from apps.workers.models import Runtime, Worker, WorkerHistory, WorkerLease
from apps.workers.runner_services import RunnerServices
from apps.workers.runtimes.warm import IDLE_SECONDS, TemplateKey
from apps.workers.signals import lease_renewed, worker_available, worker_draining
from tests.factories import make_pack
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
TIMES = Times(heartbeat=0.1, lease=3, kill_grace=0.3)


class Recorder:
    """A control that notes what it was told, and lets go of its run when it is."""

    def __init__(self, agent, execution_id, *, obeys=True):
        self.told = []
        self._let_go = lambda: agent.runs.remove(execution_id) if obeys else None
        agent.runs.add(execution_id, 1, self)

    def stop(self, reason):
        self.told.append(reason)
        self._let_go()

    def kill(self):
        self.told.append("kill")
        self._let_go()


@pytest.fixture
def start(settings, tmp_path):
    """Start agents; they are stopped with the test."""
    settings.RUNTIME_ENVS_DIR = tmp_path / "envs"
    settings.WORKER_RUNTIMES = ["shell"]
    quiet = lease_renewed.receivers
    lease_renewed.receivers = []  # the runs of these tests have no executions, so the engine would stop them
    started = []

    def make(name="w1", **options):
        agent = WorkerAgent(
            services=RunnerServices(guarded=False), name=name, slots=3, times=TIMES,
            on_lost_name=options.pop("on_lost_name", lambda: None),
        )  # fmt: skip
        started.append(agent)
        agent.start(**options)
        return agent

    yield make
    for agent in started:
        agent.stop(0)
    lease_renewed.receivers = quiet
    lease_renewed.sender_receivers_cache.clear()
    connection.close()


@pytest.fixture
def hear():
    """Connect receivers for the test only; return what they heard."""
    connected = []

    def connect(signal):
        heard = []

        def listen(**arguments):
            heard.append(arguments)

        signal.connect(listen, weak=False)
        connected.append((signal, listen))
        return heard

    yield connect
    for signal, listen in connected:
        signal.disconnect(listen)


def renewed_since(moment):
    return lambda: WorkerLease.objects.get().renewed_at > moment


def test_start_registers_and_keeps_the_lease(start, hear):
    available = hear(worker_available)
    agent = start()

    worker = Worker.objects.get()
    assert (worker.pk, worker.name, worker.status) == (agent.worker_id, "w1", "active")
    assert worker.capabilities["runtimes"] == ["shell"]
    assert worker.capabilities["max_concurrent_executions"] == 3
    assert worker.meta["process"]["pid"] > 0
    assert agent.lease_valid()
    assert current_agent() is agent
    assert [told["worker_id"] for told in available] == [agent.worker_id]
    wait_until(renewed_since(WorkerLease.objects.get().renewed_at))
    assert Worker.objects.get().updated == worker.updated


def test_renewal_tells_what_runs_and_lets_it_be_stopped(start, hear):
    heard = hear(lease_renewed)
    agent = start()
    control = Recorder(agent, 7)

    told = wait_until(lambda: next((one for one in heard if one["runs"] == {7: 1}), None))
    told["stop"](7, "cancel")

    assert (told["worker_id"], told["holder"]) == (agent.worker_id, agent.holder)
    assert control.told == ["cancel"]


def test_warm_interpreters_that_nobody_needs_end_with_a_renewal(start):
    agent = start()
    key = TemplateKey(argv=(sys.executable,), env=(), preload=(), stamp=())
    template = agent.services.templates.get(key)
    wait_until(renewed_since(WorkerLease.objects.get().renewed_at))
    assert agent.services.templates.pids == [template.pid]

    template.used_at -= IDLE_SECONDS + 1

    wait_until(lambda: agent.services.templates.pids == [])


def test_slow_receiver_holds_up_no_renewal(start):
    agent = start()
    released = threading.Event()

    def slow(**_):
        released.wait(60)

    lease_renewed.connect(slow)
    try:
        for _ in range(3):
            wait_until(renewed_since(WorkerLease.objects.get().renewed_at))
        assert agent.lease_valid()
    finally:
        released.set()
        lease_renewed.disconnect(slow)


def test_lease_that_ran_out_is_taken_anew_once_nothing_runs(start, hear):
    available = hear(worker_available)
    agent = start()
    control = Recorder(agent, 7)
    WorkerLease.objects.update(expires_at=Now() - timedelta(seconds=1))

    wait_until(lambda: agent.generation == 2 and agent.lease_valid())

    assert control.told[0] == "lost"
    assert "kill" in control.told
    assert WorkerLease.objects.get().generation == 2
    wait_until(lambda: len(available) == 2)


def test_name_taken_by_another_kills_what_runs_and_ends_the_agent(start):
    lost = threading.Event()
    agent = start(on_lost_name=lost.set)
    control = Recorder(agent, 7)
    WorkerLease.objects.update(holder="00000000-0000-4000-8000-000000000000")

    assert lost.wait(60)

    assert "kill" in control.told
    assert not agent.lease_valid()
    agent.stop(5)
    assert Worker.objects.get().status == "active"  # the other holder's now


def test_start_can_be_called_off_while_the_name_is_held(start):
    start()

    with pytest.raises(NameTaken):
        start(called_off=lambda: True)


def test_stop_waits_for_what_runs_and_gives_the_lease_up(start, hear):
    draining = hear(worker_draining)
    agent = start()
    control = Recorder(agent, 7)
    stopping = threading.Thread(target=agent.stop, args=(30,))
    stopping.start()

    wait_until(lambda: Worker.objects.get().draining)
    wait_until(renewed_since(WorkerLease.objects.get().renewed_at))
    assert Worker.objects.get().status == "active"
    agent.runs.remove(7)
    stopping.join()

    worker = Worker.objects.get()
    assert (worker.status, worker.draining, control.told) == ("inactive", False, [])
    assert [told["worker"].pk for told in draining] == [agent.worker_id]
    assert not agent.lease_valid()
    assert current_agent() is None
    assert start().generation == 2


def test_second_wish_to_stop_skips_the_wait(start):
    agent = start()
    control = Recorder(agent, 7)
    stopping = threading.Thread(target=agent.stop, args=(60,))
    stopping.start()
    wait_until(lambda: Worker.objects.get().draining)

    agent.hurry()
    stopping.join(timeout=10)

    assert not stopping.is_alive()
    assert control.told == ["lost"]


def test_stop_ends_even_when_a_run_does_not(start):
    agent = start()
    Recorder(agent, 7, obeys=False)

    agent.stop(0)

    assert Worker.objects.get().status == "inactive"


def test_changed_packs_are_seen(start, settings, hear):
    settings.WORKER_RUNTIMES = None
    available = hear(worker_available)
    agent = start()
    assert agent.offers()["runtimes"] == []

    always = {"verification": {"always_available": True}}
    Runtime.objects.create(ref="lab.tool", name="Tool", distributions=always)

    wait_until(lambda: agent.offers()["runtimes"] == ["tool"])
    assert Worker.objects.get().capabilities["runtimes"] == ["tool"]
    wait_until(lambda: len(available) == 2)
    last = WorkerHistory.objects.order_by("-id").first()
    assert (last.changed_fields, last.reason) == (["capabilities"], "capabilities")


def test_environment_is_built_after_registration_and_shown_in_the_capabilities(start, settings, tmp_path):
    settings.WORKER_RUNTIMES = ["tool"]
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "needs").write_text("x")
    Runtime.objects.create(
        ref="lab.tool",
        name="Tool",
        execution_config={
            "environment": {"env_type": "folder", "create_command": ["true"]},
            "dependencies": {"manifest_file": "needs", "install_command": ["cp", "{manifest_path}", "{env_dir}"]},
        },
    )
    agent = start()
    pack = make_pack(ref="lab", storage_path=str(folder), installation_method="register")
    pack_registered.send(sender=type(pack), pack=pack, created=True)

    wait_until(lambda: "lab/tool" in agent.offers()["environments"])

    assert (tmp_path / "envs" / "lab" / "tool" / "needs").read_text() == "x"


def test_remote_control_stops_the_run_it_names(start):
    agent = start()
    control = Recorder(agent, 7)
    order = {"execution_id": 7, "epoch": 1, "reason": "cancel"}

    assert remote_control.stop_run(None, worker_id=agent.worker_id + 1, **order) == {"ok": "not mine"}
    assert remote_control.stop_run(None, worker_id=agent.worker_id, **{**order, "epoch": 2}) == {"ok": "not running"}
    assert control.told == []
    assert remote_control.stop_run(None, worker_id=agent.worker_id, **order) == {"ok": "stopping"}
    assert control.told == ["cancel"]
