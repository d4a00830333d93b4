"""The registry of what a worker process runs."""

import threading

from apps.workers.runs import RunRegistry


class Recorder:
    """A control that notes what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def stop(self, reason: str) -> None:
        self.told.append(reason)

    def kill(self) -> None:
        self.told.append("kill")


def test_add_takes_an_execution_once():
    runs = RunRegistry()

    assert runs.add(7, 1, Recorder())
    assert not runs.add(7, 2, Recorder())
    assert runs.snapshot() == {7: 1}


def test_stop_reaches_only_the_run_it_names():
    runs, one, two = RunRegistry(), Recorder(), Recorder()
    runs.add(1, 1, one)
    runs.add(2, 1, two)

    assert runs.stop(1, "cancel")
    assert not runs.stop(3, "cancel")
    assert (one.told, two.told) == (["cancel"], [])


def test_kill_all_names_the_reason_first():
    runs, one = RunRegistry(), Recorder()
    runs.add(1, 1, one)

    runs.stop_all("lost")
    runs.kill_all()

    assert one.told == ["lost", "lost", "kill"]


def test_wait_empty_returns_when_the_last_run_is_removed():
    runs = RunRegistry()
    runs.add(1, 1, Recorder())
    assert not runs.wait_empty(timeout=0.01)

    threading.Timer(0.05, runs.remove, [1]).start()

    assert runs.wait_empty(timeout=10)
    assert runs.add(1, 2, Recorder())
