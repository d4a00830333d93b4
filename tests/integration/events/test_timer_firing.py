"""What a firing stores, what becomes of missed due times, and that each is fired once (events.md 9)."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from apps.core import clock
from apps.events import timers
from apps.events.models import Event, Sensor, Timer, TimerFire, Trigger
from apps.events.signals import event_stored
from apps.events.timers import firing
from apps.executions.models import Execution
from apps.packs.services import load_core_pack
from apps.rules.models import RuleDecision
from tests.integration.events.timer_lab import events_of, payloads_of, set_back, timer_of, timer_rule

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("core_pack")]


def as_time(value: str) -> datetime:
    return datetime.fromisoformat(value)


def fire_at(moment: datetime) -> int:
    return timers.fire_due(moment)


def test_firing_is_event_row_and_next_due_time_together() -> None:
    rule, other = timer_rule(), timer_rule()
    timer = set_back(rule, 60)

    assert timers.fire_due() == 1

    [event], [row] = events_of(rule), TimerFire.objects.all()
    sensor = Sensor.objects.get(ref="core.timer_sensor")
    assert (event.trigger_ref, event.rule, event.source_ref, event.source_id) == (
        "core.intervaltimer", rule.pk, "core.timer_sensor", sensor.pk,
    )  # fmt: skip
    assert (row.rule, row.rule_ref, row.due_at, row.outcome, row.event_id) == (
        rule.pk, rule.ref, timer.next_fire_at, "fired", event.pk,
    )  # fmt: skip
    after = timer_of(rule)
    assert timer.next_fire_at is not None
    assert after.next_fire_at == timer.next_fire_at + timedelta(seconds=60)
    assert (after.last_due_at, after.last_fired_at, after.execution_count) == (timer.next_fire_at, row.fired_at, 1)
    assert RuleDecision.objects.get().rule_ref == rule.ref  # nobody else sees it
    assert Execution.objects.count() == 1
    assert timer_of(other).execution_count == 0


def test_payload_of_an_interval() -> None:
    rule = timer_rule(params={"interval": 2, "unit": "minutes"})
    for _ in range(2):
        fire_at(timer_of(rule).next_fire_at + timedelta(milliseconds=5))  # type: ignore[operator]

    first, second = payloads_of(rule)
    assert (as_time(second.pop("fired_at")) - as_time(first.pop("fired_at"))) == timedelta(seconds=120)
    assert first == {
        "type": "interval", "interval_seconds": 120, "execution_count": 1, "sensor_ref": "core.timer_sensor",
    }  # fmt: skip
    assert second == {**first, "execution_count": 2}


def test_payload_of_a_cron_timer() -> None:
    rule = timer_rule("core.crontimer", {"expression": "0 0 9 * * *", "timezone": "Europe/Berlin"})
    due = timer_of(rule).next_fire_at
    assert due is not None
    fire_at(due + timedelta(milliseconds=7))

    following = timer_of(rule).next_fire_at
    assert payloads_of(rule) == [
        {
            "type": "cron",
            "fired_at": clock.as_text(due + timedelta(milliseconds=7)),
            "scheduled_at": clock.as_text(due),
            "expression": "0 0 9 * * *",
            "timezone": "Europe/Berlin",
            "next_fire_at": clock.as_text(following),
            "execution_count": 1,
            "sensor_ref": "core.timer_sensor",
        }
    ]


def test_payload_of_a_one_shot_and_of_a_recurrence() -> None:
    moment = clock.now().replace(microsecond=0) + timedelta(seconds=20)
    once = timer_rule("core.datetimetimer", {"fire_at": clock.as_text(moment), "timezone": "Asia/Tokyo"})
    again = timer_rule("core.rruletimer", {"dtstart": clock.as_text(moment), "rule": "FREQ=DAILY;COUNT=1"})
    fired_at = moment + timedelta(milliseconds=12)

    assert fire_at(fired_at) == 2

    assert payloads_of(once) == [
        {
            "type": "one_shot",
            "fire_at": clock.as_text(moment),
            "fired_at": clock.as_text(fired_at),
            "timezone": "Asia/Tokyo",
            "delay_ms": 12,
            "sensor_ref": "core.timer_sensor",
        }
    ]
    assert payloads_of(again) == [
        {
            "type": "rrule",
            "fired_at": clock.as_text(fired_at),
            "scheduled_at": clock.as_text(moment),
            "delay_ms": 12,
            "execution_count": 1,
            "sensor_ref": "core.timer_sensor",
        }
    ]
    assert (timer_of(once).state, timer_of(again).state) == ("finished", "finished")


def test_cron_says_null_after_its_last_firing() -> None:
    moment = clock.now().replace(microsecond=0) + timedelta(seconds=3)
    rule = timer_rule("core.crontimer", {"expression": "* * * * * *", "end_at": clock.as_text(moment)})
    for second in range(5):
        fire_at(moment + timedelta(seconds=second - 3))

    said = [payload["next_fire_at"] for payload in payloads_of(rule)]
    assert said[-1] is None
    assert None not in said[:-1]
    assert timer_of(rule).state == "finished"


# Ten due times have passed while nobody looked; with `late` the newest of them is beyond the grace of 30 s.
@pytest.mark.parametrize(
    ("misfire", "late", "events", "made_up", "dropped"),
    [
        ("skip", 5, 1, [], 9),
        ("skip", 45, 0, [], 10),
        ("once", 5, 2, [{"misfire": True, "missed_count": 9}], 8),
        ("once", 45, 1, [{"misfire": True, "missed_count": 10}], 9),
        ("all", 5, 5, [{"misfire": True}] * 4, 5),
        ("all", 45, 4, [{"misfire": True}] * 4, 6),
    ],
)
def test_missed_due_times_after_a_stop(
    misfire: str, late: int, events: int, made_up: list[dict[str, Any]], dropped: int
) -> None:
    rule = timer_rule(params={"interval": 60, "unit": "seconds", "misfire": misfire, "misfire_limit": 4})
    timer = set_back(rule, 600 + late)
    assert timer.next_fire_at is not None

    assert timers.fire_due() == events

    found = payloads_of(rule)
    marks = [{k: v for k, v in payload.items() if k in ("misfire", "missed_count")} for payload in found]
    assert [mark for mark in marks if mark] == made_up
    assert [payload["execution_count"] for payload in found] == list(range(1, events + 1))
    after = timer_of(rule)
    assert (after.missed_count, after.execution_count) == (dropped, events)
    last_missed = 10 if late > 30 else 9
    assert after.last_missed_at == timer.anchored_at + timedelta(seconds=60 * last_missed)
    assert after.next_fire_at == timer.anchored_at + timedelta(seconds=660)
    due = list(TimerFire.objects.filter(outcome="fired").order_by("id").values_list("due_at", flat=True))
    assert due == sorted(due)
    assert TimerFire.objects.filter(outcome="skipped").count() == (misfire == "skip")
    [alert] = Event.objects.filter(trigger_ref="core.alert")
    assert (alert.payload["failure_type"], alert.payload["component_ref"]) == ("timer_missed", rule.ref)


def test_backlog_larger_than_a_batch_is_made_up_whole() -> None:
    params = {"interval": 1, "unit": "seconds", "misfire": "all", "misfire_limit": 130}
    rule = timer_rule(params=params)
    timer = set_back(rule, 200)

    fired = fire_at(clock.now())

    due = list(TimerFire.objects.order_by("due_at").values_list("due_at", flat=True))
    assert fired == len(due) == len(set(due)) == 131
    assert due[-1] - timer.anchored_at in (timedelta(seconds=200), timedelta(seconds=201))
    assert timer_of(rule).execution_count == 131


def test_due_time_that_has_its_row_already_gets_no_second_event() -> None:
    rule = timer_rule()
    timer = set_back(rule, 60)
    timers.fire_due()
    Timer.objects.filter(pk=timer.pk).update(next_fire_at=timer.next_fire_at)  # as if the clock had been put back

    assert timers.fire_due() == 0
    assert len(events_of(rule)) == 1
    assert timer_of(rule).execution_count == 1
    assert timer_of(rule).next_fire_at > timer.next_fire_at  # type: ignore[operator]


def test_timer_that_cannot_fire_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    broken, sound = timer_rule(), timer_rule()
    set_back(broken, 70)
    set_back(sound, 60)
    Timer.objects.filter(rule=broken.pk).update(spec={"interval": 60, "misfire_limit": "many"})
    read = firing.read
    # What no setting can bring about, a fault of ours.
    monkeypatch.setattr(firing, "read", lambda kind, spec: 1 / 0 if "misfire_limit" in spec else read(kind, spec))

    assert timers.fire_due() == 1

    assert len(events_of(sound)) == 1
    assert timer_of(broken).state == "active"
    monkeypatch.undo()
    timers.fire_due()
    assert timer_of(broken).state == "invalid"


def test_trigger_deleted_behind_the_products_back_stops_the_timer() -> None:
    rule = timer_rule()
    set_back(rule, 60)
    Timer.objects.update(trigger_ref="core.gone")

    assert timers.fire_due() == 0
    assert timer_of(rule).state == "stopped"


def test_pending_says_what_is_due_and_what_comes() -> None:
    nothing = (timers.pending(), timers.next_due_seconds())
    soon, late = timer_rule(), timer_rule(params={"interval": 90, "unit": "seconds"})
    ahead = timers.pending()
    set_back(soon, 60)
    due = timers.pending()

    assert nothing == (timers.pending().__class__(overdue=False, next_seconds=None), None)
    assert not ahead.overdue
    assert ahead.next_seconds == pytest.approx(60, abs=2)
    assert due.overdue
    assert due.next_seconds == pytest.approx(90, abs=2)
    assert timers.next_due_seconds() == 0
    assert timer_of(late).execution_count == 0


@pytest.mark.django_db(transaction=True)
def test_many_schedulers_at_once_fire_each_due_time_once() -> None:
    load_core_pack()
    rules = [timer_rule(params={"interval": 10, "unit": "seconds", "misfire": "all"}) for _ in range(12)]
    for rule in rules:
        set_back(rule, 45)
    start, fired = threading.Barrier(4), []

    def schedule() -> None:
        try:
            start.wait(60)
            while timers.pending().overdue:
                fired.append(timers.fire_due())
        finally:
            connection.close()

    threads = [threading.Thread(target=schedule) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    due = list(TimerFire.objects.values_list("rule", "due_at"))
    assert len(due) == len(set(due)) == sum(fired)
    assert {rule.pk: len(events_of(rule)) for rule in rules} == {
        rule.pk: timer_of(rule).execution_count for rule in rules
    }
    assert all(timer_of(rule).execution_count in (4, 5) for rule in rules)


@pytest.mark.django_db(transaction=True)
def test_claim_lost_with_its_scheduler_leaves_nothing() -> None:
    load_core_pack()
    rule = timer_rule()
    set_back(rule, 60)

    def die(**_signal: Any) -> None:
        raise SystemExit  # not an Exception: nothing catches it on the way out

    event_stored.connect(die)
    try:
        with pytest.raises(SystemExit):
            timers.fire_due()
    finally:
        event_stored.disconnect(die)

    assert (events_of(rule), TimerFire.objects.count(), timer_of(rule).execution_count) == ([], 0, 0)
    assert timers.fire_due() == 1


def test_firing_a_batch_takes_the_same_statements_for_every_timer(django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        set_back(timer_rule(), 60)
    Trigger.objects.get(ref="core.intervaltimer")

    with django_assert_max_num_queries(90):
        assert timers.fire_due() == 3
