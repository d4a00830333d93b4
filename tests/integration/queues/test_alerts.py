"""Alerts about queues: full ones, and those that do not get shorter; each case once."""

from datetime import datetime, timedelta

import pytest

from apps.core import clock
from apps.events.models import Event, Trigger
from apps.queues import alerts
from apps.queues.models import ItemStatus, WorkQueue, WorkQueueItem
from tests.factories import make_item, make_queue, make_trigger

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def alert() -> Trigger:
    return make_trigger(ref="core.alert")


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> "Hands":
    return Hands(monkeypatch)


class Hands:
    """A clock whose hands a test moves."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.at: datetime = clock.now()
        patch.setattr(alerts.clock, "now", lambda: self.at)

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


def told() -> list[tuple[str, str]]:
    return [(e.payload["failure_type"], e.payload["component_ref"]) for e in Event.objects.order_by("id")]


def end(count: int) -> None:
    ids = list(WorkQueueItem.objects.filter(status="queued").order_by("id").values_list("pk", flat=True)[:count])
    WorkQueueItem.objects.filter(pk__in=ids).update(status=ItemStatus.COMPLETED)


def test_a_full_queue_is_told_once_until_it_has_room() -> None:
    queue = make_queue(ref="mail", max_depth=2)
    make_item(queue)
    alerts.look_at_limits()
    assert told() == []

    make_item(queue)
    for _ in range(2):
        alerts.look_at_limits()
    assert told() == [("queue_full", "mail")]
    payload = Event.objects.get().payload
    assert (payload["severity"], payload["component_id"], payload["details"]) == (
        "warning", queue.pk, {"depth": 2, "max_depth": 2}
    )  # fmt: skip

    end(1)
    alerts.look_at_limits()
    make_item(queue)
    alerts.look_at_limits()
    assert len(told()) == 2


def test_a_queue_that_does_not_get_shorter_is_told_once(hands: Hands) -> None:
    queue = make_queue(ref="mail")
    make_item(queue), make_item(queue), make_item(queue)
    first, second = alerts.Watch(), alerts.Watch()
    for watch in (first, second):
        watch.look()
    hands.move(minutes=59)
    first.look()
    assert told() == []

    hands.move(minutes=1)
    for watch in (first, second, first):
        watch.look()
    assert told() == [("queue_not_shorter", "mail")]
    assert alerts.Watch().look() is None  # one that has just started knows no better

    end(1)
    first.look()
    assert WorkQueue.objects.get().told_stuck_at is None
    hands.move(hours=1)
    first.look()
    assert len(told()) == 2


def test_a_queue_that_gets_shorter_or_has_nothing_ready_is_fine(hands: Hands) -> None:
    moving, idle, off = make_queue(), make_queue(), make_queue(enabled=False)
    for _ in range(3):
        make_item(moving)
    make_item(idle, not_before=hands.at + timedelta(days=1))
    make_item(off)
    watch = alerts.Watch()
    for _ in range(3):
        watch.look()
        end(1)
        hands.move(hours=1)

    assert told() == []


def test_a_case_ends_when_nothing_is_ready(hands: Hands) -> None:
    queue = make_queue()
    make_item(queue)
    watch = alerts.Watch()
    watch.look()
    hands.move(hours=2)
    watch.look()
    assert WorkQueue.objects.get().told_stuck_at is not None

    end(1)
    alerts.Watch().look()

    assert WorkQueue.objects.get().told_stuck_at is None


def test_a_queue_without_its_action_is_told(hands: Hands) -> None:
    queue = make_queue(ref="mail")
    make_item(queue)
    WorkQueue.objects.update(dispatch_action=None)
    watch = alerts.Watch()
    watch.look()
    hands.move(hours=1)
    watch.look()

    assert "its action was deleted" in Event.objects.get().payload["summary"]
