"""Whether the process that holds a worker's name is gone."""

import os
import subprocess

from apps.workers.holder import is_gone, start_time, this_process


def test_this_process_is_there():
    assert not is_gone(this_process())


def test_ended_process_is_gone_and_a_zombie_too():
    child = subprocess.Popen(["sleep", "0"])
    started = {**this_process(), "pid": child.pid, "start_time": 1}
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert start_time(child.pid) is None
    assert is_gone(started)
    child.wait()
    assert is_gone(started)


def test_another_process_with_the_same_number_is_not_it():
    here = this_process()
    assert is_gone({**here, "start_time": here["start_time"] - 1})


def test_process_with_a_living_guard_is_not_gone():
    here = this_process()
    dead = {**here, "start_time": here["start_time"] - 1}
    assert not is_gone({**dead, "guard_pid": here["pid"], "guard_start_time": here["start_time"]})


def test_nothing_is_known_of_a_process_elsewhere():
    here = {**this_process(), "start_time": 1}
    assert not is_gone({**here, "boot_id": "another"})
    assert not is_gone({**here, "pid_namespace": "pid:[1]"})
    assert not is_gone({})
    assert not is_gone(None)
