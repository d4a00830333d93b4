"""A request to stop is heard whatever the main thread does at that moment."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from attune.stopping import StopRequest
from tests.processes import BASE_DIR

_LONG_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _alarm_ends_a_hang():
    def hung(*_arguments):
        raise AssertionError("nobody noticed the request")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(int(_LONG_SECONDS) + 10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_wait_at_once(number):
    request = StopRequest()
    with request.by_signals():
        threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
        began = time.monotonic()

        assert request.wait(_LONG_SECONDS)

    assert time.monotonic() - began < _LONG_SECONDS


def test_any_thread_may_ask():
    request = StopRequest()
    threading.Timer(0.05, request.set).start()

    assert request.wait(_LONG_SECONDS)
    assert request.is_set()
    assert request.wait(0)


def test_time_is_up_when_nobody_asks():
    request = StopRequest()

    assert not request.wait(0.01)
    assert not request.is_set()


def test_handlers_before_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with StopRequest().by_signals():
        assert signal.getsignal(signal.SIGTERM) != before[0]

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_handler_asks_while_the_main_thread_asks_too():
    """With a lock this would never end: the handler runs in the middle of ``set`` and ``wait``."""
    request = StopRequest()
    with request.by_signals():
        for _ in range(200):
            os.kill(os.getpid(), signal.SIGTERM)
            request.set()
            assert request.wait(0)


_LOSES_ONE = """
import os, signal, weakref
import manage
from attune.stopping import StopRequest
from tests.processes import BASE_DIR

class Thing: pass

signal.signal(signal.SIGINT, manage.Interrupt())
thing = Thing()
callback = weakref.ref(thing, lambda _gone: os.kill(os.getpid(), signal.SIGINT))
del thing
print("went on")
try:
    with StopRequest().by_signals():
        print("and on")
except KeyboardInterrupt:
    print("stopped")
"""


def test_interrupt_that_got_lost_is_heard_later():
    done = subprocess.run([sys.executable, "-c", _LOSES_ONE], cwd=BASE_DIR, capture_output=True, text=True, check=True)

    assert done.stdout.split("\n") == ["went on", "stopped", ""]
