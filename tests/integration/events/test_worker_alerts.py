"""Alerts about workers: lost ones, and a pool without a free slot."""

from datetime import datetime, timedelta

import pytest

from apps.core import clock
from apps.events import worker_alerts
from apps.events.models import Event, Trigger
from apps.workers.models import WorkerLease
from tests.factories import make_execution, make_trigger, make_worker

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def alert() -> Trigger:
    return make_trigger(ref="core.alert")


def told() -> list[tuple[str, str | None]]:
    return [(e.payload["failure_type"], e.payload.get("component_ref")) for e in Event.objects.order_by("id")]


def test_a_lost_worker_is_told_once_and_anew_when_it_is_lost_again() -> None:
    make_worker(), make_worker(lease_seconds=-1, status="inactive"), make_worker(lease_seconds=-7200)
    lost = make_worker(lease_seconds=-1)
    for _ in range(2):
        worker_alerts.tell_lost()
    assert told() == [("worker_lost", lost.name)]

    WorkerLease.objects.filter(worker=lost).update(generation=2)
    worker_alerts.tell_lost()
    assert told() == [("worker_lost", lost.name)] * 2


def test_a_pool_without_a_free_slot_is_told_after_ten_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = [datetime(2030, 1, 1, 12, tzinfo=clock.now().tzinfo)]
    monkeypatch.setattr(worker_alerts.clock, "now", lambda: hands[0])
    full, pool = make_worker(slots=1), worker_alerts.Pool()
    make_worker(slots=1, cordoned=True), make_worker(slots=1, lease_seconds=-1), make_worker(worker_role="sensor")
    running = make_execution(status="running", worker=full)

    def pass_minutes(count: int) -> None:
        hands[0] += timedelta(minutes=count)
        pool.look()

    for minutes in (0, 9):
        pass_minutes(minutes)
    assert told() == []
    for minutes in (1, 10):
        pass_minutes(minutes)
    assert told() == [("no_free_slot", None)]

    running.set(status="completed")
    pass_minutes(60)
    running.set(status="running")
    for minutes in (1, 10):
        pass_minutes(minutes)
    assert len(told()) == 2


def test_where_no_worker_is_nothing_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = worker_alerts.Pool()
    pool.look()
    now = clock.now()
    monkeypatch.setattr(worker_alerts.clock, "now", lambda: now + timedelta(hours=1))
    pool.look()

    assert told() == []
