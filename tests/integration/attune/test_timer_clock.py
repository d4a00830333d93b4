"""The thread that fires timers: how long it sleeps, and what wakes it."""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from apps.core import clock
from apps.events.models import TimerFire
from apps.packs.models import Pack
from attune.timer_clock import TimerClock
from tests.integration.events.timer_lab import events_of, set_back, timer_rule

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ticking(core_pack: Pack) -> Iterator[TimerClock]:
    ticking = TimerClock()
    ticking.start()
    yield ticking
    assert ticking.stop(10)


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_turn_fires_and_says_how_long_to_sleep(core_pack: Pack) -> None:
    clock_of_timers = TimerClock()
    idle = clock_of_timers.turn()
    rule = timer_rule(params={"interval": 1000, "unit": "seconds"})
    set_back(rule, 1000.5)

    sleep = clock_of_timers.turn()

    assert len(events_of(rule)) == 1
    assert idle == 1.0  # another process may arm one unheard
    assert sleep == 1.0  # the next is due much later
    set_back(rule, 998.6)
    assert 0 < clock_of_timers.turn() < 0.95


@pytest.mark.sqlite  # a pool keeps its connections
def test_fault_of_the_database_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", "/nowhere/at/all.sqlite3")

    assert TimerClock().turn() == 1.0


def test_timer_fires_within_250_ms_of_its_due_time(ticking: TimerClock) -> None:
    def lateness() -> timedelta:
        due = clock.now() + timedelta(seconds=0.7)
        rule = timer_rule("core.datetimetimer", {"fire_at": clock.as_text(due)})
        wait_for(lambda: events_of(rule))
        [event] = events_of(rule)
        return event.created - due

    late = lateness()
    for _again in range(4):  # a busy machine may be late now and then, not always
        if late >= timedelta(seconds=0.25):
            late = lateness()

    assert timedelta(0) <= late < timedelta(seconds=0.25)


def test_ticks_do_not_drift(ticking: TimerClock) -> None:
    rule = timer_rule(params={"interval": 1, "unit": "seconds", "misfire": "all"})
    wait_for(lambda: len(events_of(rule)) >= 4)

    rows = list(TimerFire.objects.filter(rule=rule.pk).order_by("due_at")[:4])
    assert {second.due_at - first.due_at for first, second in itertools.pairwise(rows)} == {timedelta(seconds=1)}
    assert min(row.fired_at - row.due_at for row in rows) < timedelta(seconds=0.25)


@pytest.mark.postgresql
def test_notification_of_another_process_wakes_it(ticking: TimerClock) -> None:
    from apps.events.timers.bell import CHANNEL, bell

    wait_for(lambda: bell.rings > 0)
    seen = bell.rings
    with connection.cursor() as cursor:
        cursor.execute(f"NOTIFY {CHANNEL}")

    wait_for(lambda: bell.rings > seen, 1)
