"""The loop of the scheduler, turned once at a time."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from apps.executions.models import Execution
from attune.scheduler import Scheduler
from tests.factories import make_request


@pytest.mark.django_db(transaction=True)
def test_turn_waits_for_the_next_round_when_nothing_is_due() -> None:
    assert 0.5 < Scheduler().turn() <= 5


@pytest.mark.django_db(transaction=True)
def test_turn_comes_earlier_when_something_is_due_earlier() -> None:
    make_request(not_before=timezone.now() + timedelta(seconds=2))

    assert 0 < Scheduler().turn() < 2


@pytest.mark.django_db(transaction=True)
def test_turn_puts_what_has_become_due_in_line() -> None:
    execution = make_request(not_before=timezone.now() + timedelta(hours=1))
    Execution.objects.filter(pk=execution.pk).update(not_before=timezone.now() - timedelta(seconds=1))

    Scheduler().turn()

    execution.refresh_from_db()
    assert execution.demand_id is not None


@pytest.mark.sqlite  # a pool keeps its connections
@pytest.mark.django_db(transaction=True)
def test_fault_does_not_end_the_loop(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> None:
    settings.SWEEP_SECONDS = 1
    connection.close()
    monkeypatch.setitem(connection.settings_dict, "NAME", "/nowhere/at/all.sqlite3")

    assert Scheduler().turn() <= 1


@pytest.mark.django_db(transaction=True)
def test_scheduler_ends_when_it_is_asked() -> None:
    scheduler = Scheduler()
    scheduler.start()

    scheduler.ask_to_stop()

    assert scheduler.join(60)
