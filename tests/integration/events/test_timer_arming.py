"""When a timer starts, starts anew, goes on and stops (events.md 9.1)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.core import clock
from apps.events import timers
from apps.events.models import Event, Timer, Trigger
from apps.events.rule_port import RuleUse
from apps.events.timers.bell import bell
from apps.packs.models import Pack
from apps.rules import services
from tests.integration.events.timer_lab import EVERY_MINUTE, events_of, set_back, timer_of, timer_rule

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("core_pack")]


def in_seconds(seconds: float) -> str:
    return (clock.now() + timedelta(seconds=seconds)).isoformat()


def test_timer_starts_with_its_rule() -> None:
    before = clock.now()

    timer = timer_of(timer_rule(params={**EVERY_MINUTE, "misfire": "all", "misfire_limit": 7}))

    assert before <= timer.anchored_at <= clock.now() + timedelta(milliseconds=1)
    assert timer.next_fire_at == timer.anchored_at + timedelta(seconds=60)
    assert (timer.state, timer.kind, timer.misfire, timer.misfire_limit) == ("active", "interval", "all", 7)
    assert (timer.execution_count, timer.missed_count, timer.error) == (0, 0, None)


@pytest.mark.parametrize(
    ("trigger_ref", "params", "expected"),
    [
        ("core.crontimer", {"expression": "0 0 9 1 1 *", "timezone": "Europe/Berlin"}, (1, 1, 8)),
        ("core.rruletimer", {"dtstart": "2020-06-15T09:00:00Z", "freq": "YEARLY"}, (6, 15, 9)),
    ],
)
def test_next_due_time_of_other_kinds(trigger_ref: str, params: dict[str, Any], expected: tuple[int, ...]) -> None:
    due = timer_of(timer_rule(trigger_ref, params)).next_fire_at

    assert due is not None
    assert due > clock.now()
    assert (due.month, due.day, due.hour) == expected


def test_rule_made_disabled_has_a_timer_that_stands() -> None:
    timer = timer_of(timer_rule(enabled=False))

    assert (timer.state, timer.next_fire_at) == ("stopped", None)


def test_disabled_and_enabled_again_starts_anew() -> None:
    rule = timer_rule()
    set_back(rule, 1000)
    timers.fire_due()

    services.disable_rule(rule.pk)
    stopped = timer_of(rule)
    services.enable_rule(rule.pk)
    started = timer_of(rule)

    assert (stopped.state, stopped.next_fire_at) == ("stopped", None)
    assert (started.state, started.execution_count, started.missed_count) == ("active", 0, 0)
    assert started.anchored_at > stopped.anchored_at
    assert started.next_fire_at == started.anchored_at + timedelta(seconds=60)


def test_enabling_an_enabled_rule_and_other_changes_do_not_disturb() -> None:
    rule = timer_rule()
    set_back(rule, 30)
    before = timer_of(rule)

    services.enable_rule(rule.pk)
    services.update_rule(rule.pk, {"label": "Other", "conditions": [{"field": "a", "operator": "exists"}]})
    services.update_rule(rule.pk, {"trigger_params": dict(EVERY_MINUTE)})

    after = timer_of(rule)
    assert (after.anchored_at, after.next_fire_at) == (before.anchored_at, before.next_fire_at)


def test_other_settings_start_it_anew() -> None:
    rule = timer_rule()
    set_back(rule, 30)

    services.update_rule(rule.pk, {"trigger_params": {"interval": 2, "unit": "hours"}})

    timer = timer_of(rule)
    assert timer.next_fire_at == timer.anchored_at + timedelta(hours=2)


def test_other_trigger_starts_it_anew_and_a_foreign_one_ends_it() -> None:
    rule = timer_rule()

    services.update_rule(
        rule.pk, {"trigger_ref": "core.crontimer", "trigger_params": {"expression": "@hourly", "dst_policy": "both"}}
    )
    cron = timer_of(rule)
    services.update_rule(rule.pk, {"trigger_ref": "core.alert", "trigger_params": {}})

    assert (cron.kind, cron.trigger_ref, cron.dst_policy) == ("cron", "core.crontimer", "both")
    assert not Timer.objects.filter(rule=rule.pk).exists()


def test_disabled_trigger_stops_all_its_timers_and_enabled_starts_them_anew() -> None:
    rules = [timer_rule(), timer_rule(), timer_rule(enabled=False)]
    trigger = Trigger.objects.get(ref="core.intervaltimer")

    trigger.set(enabled=False)
    stopped = [timer_of(rule).state for rule in rules]
    trigger.set(enabled=True)

    assert stopped == ["stopped"] * 3
    assert [timer_of(rule).state for rule in rules] == ["active", "active", "stopped"]


def test_deleted_trigger_stops_and_deleted_rule_removes() -> None:
    stays, goes = timer_rule(), timer_rule()

    services.delete_rule(goes.pk)
    Trigger.objects.get(ref="core.intervaltimer").delete()

    assert (timer_of(stays).state, timer_of(stays).next_fire_at) == ("stopped", None)
    assert not Timer.objects.filter(rule=goes.pk).exists()


def test_one_shot_of_the_past_is_finished_and_never_fires() -> None:
    rule = timer_rule("core.datetimetimer", {"fire_at": in_seconds(-1)})

    assert timers.fire_due() == 0
    services.disable_rule(rule.pk)
    services.enable_rule(rule.pk)

    assert (timer_of(rule).state, timer_of(rule).next_fire_at) == ("finished", None)
    assert events_of(rule) == []


def test_one_shot_fires_once_and_a_new_time_arms_it_again() -> None:
    rule = timer_rule("core.datetimetimer", {"fire_at": in_seconds(5)})
    later = clock.now() + timedelta(seconds=6)

    assert [timers.fire_due(later), timers.fire_due(later)] == [1, 0]
    assert timer_of(rule).state == "finished"
    services.update_rule(rule.pk, {"trigger_params": {"fire_at": in_seconds(10)}})

    assert timer_of(rule).state == "active"
    assert timers.fire_due(clock.now() + timedelta(seconds=11)) == 1
    assert timer_of(rule).state == "finished"


def test_one_shot_that_fired_does_not_fire_again_when_the_clock_is_put_back() -> None:
    fire_at = in_seconds(5)
    rule = timer_rule("core.datetimetimer", {"fire_at": fire_at})
    timers.fire_due(clock.now() + timedelta(seconds=6))

    services.disable_rule(rule.pk)
    services.enable_rule(rule.pk)  # its time lies ahead again
    fired = timers.fire_due(clock.now() + timedelta(seconds=6))

    assert fired == 0
    assert timer_of(rule).state == "finished"
    assert len(events_of(rule)) == 1


@pytest.mark.parametrize(
    ("trigger_ref", "params", "error"),
    [
        ("core.crontimer", {"expression": "0 0 0 30 2 *"}, "expression: has no time within 5 years"),
        ("core.crontimer", {"expression": "{{ when }}"}, "expression: must have 5, 6 or 7 fields"),
        ("core.intervaltimer", {"interval": "{{ n }}", "unit": "days"}, "interval: must be a whole number"),
        ("core.datetimetimer", {"fire_at": "{{ soon }}"}, "fire_at: must be a time of RFC 3339"),
    ],
)
def test_settings_that_cannot_be_used_leave_rule_and_reason(
    trigger_ref: str, params: dict[str, Any], error: str
) -> None:
    rule = timer_rule(trigger_ref, params)
    timer = timer_of(rule)

    assert (timer.state, timer.next_fire_at) == ("invalid", None)
    assert timer.error is not None
    assert timer.error.startswith(error)
    [alert] = Event.objects.filter(trigger_ref="core.alert")
    assert (alert.payload["failure_type"], alert.payload["component_ref"]) == ("timer_invalid", rule.ref)
    services.update_rule(rule.pk, {"trigger_ref": "core.intervaltimer", "trigger_params": EVERY_MINUTE})
    assert (timer_of(rule).state, timer_of(rule).error) == ("active", None)


def test_rule_that_is_never_due_within_the_bound_is_finished() -> None:
    params = {"dtstart": "1970-01-01T00:00:00Z", "rule": "FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30"}

    assert timer_of(timer_rule("core.rruletimer", params)).state == "finished"


def test_pack_rule_without_a_unit_counts_seconds(core_pack: Pack) -> None:
    rule = timer_rule(enabled=False)
    use = RuleUse(
        id=rule.pk, ref=rule.ref, trigger_id=rule.trigger_id, trigger_ref=rule.trigger_ref,
        trigger_params={"interval": 5}, enabled=True,
    )  # fmt: skip

    timers.arm(use, trigger_enabled=True)

    timer = timer_of(rule)
    assert timer.next_fire_at == timer.anchored_at + timedelta(seconds=5)


@pytest.mark.django_db(transaction=True)
def test_scheduler_is_woken_by_every_change(django_capture_on_commit_callbacks: Any) -> None:
    seen = bell.rings
    rule = timer_rule()
    assert bell.rings > seen

    seen = bell.rings
    services.disable_rule(rule.pk)
    assert bell.rings > seen


@pytest.mark.parametrize(
    ("trigger_ref", "params", "field"),
    [
        ("core.intervaltimer", {"interval": 0, "unit": "seconds"}, "interval"),
        ("core.intervaltimer", {"interval": 1, "unit": "weeks"}, "unit"),
        ("core.intervaltimer", {"interval": 1}, "unit"),
        ("core.crontimer", {"expression": "61 * * * * *"}, "expression"),
        ("core.crontimer", {"expression": "@daily", "timezone": "Mars/Olympus"}, "timezone"),
        ("core.crontimer", {"expression": "@daily", "misfire": "maybe"}, "misfire"),
        ("core.datetimetimer", {"fire_at": "tomorrow"}, "fire_at"),
        ("core.rruletimer", {"dtstart": "2026-01-01T00:00:00Z", "rule": "FREQ=NEVER"}, "rule"),
        ("core.rruletimer", {"dtstart": "2026-01-01T00:00:00Z"}, "freq"),
        ("core.rruletimer", {"freq": "DAILY"}, "dtstart"),
        (
            "core.rruletimer",
            {"dtstart": "2026-01-01T00:00:00Z", "freq": "DAILY", "count": 1, "until": "20270101"},
            "until",
        ),
        ("core.rruletimer", {"dtstart": "2026-01-01T00:00:00Z", "freq": "DAILY", "by_day": ["XX"]}, "by_day.0"),
    ],
)
def test_wrong_settings_are_refused(trigger_ref: str, params: dict[str, Any], field: str, api: Any) -> None:
    body = {"ref": "core.x", "label": "x", "pack_ref": "core", "action_ref": "core.echo", "trigger_ref": trigger_ref}

    response = api.post("/api/v1/rules", {**body, "trigger_params": params}, format="json")

    assert (response.status_code, response.json()["code"]) == (422, "VALIDATION_ERROR")
    assert f"'{field}'" in response.json()["error"]


def test_parts_do_not_count_beside_a_rule() -> None:
    params = {"dtstart": "2026-01-01T00:00:00Z", "rule": "FREQ=DAILY", "count": 1, "until": "20200101"}

    assert timer_of(timer_rule("core.rruletimer", params)).state == "active"


def test_all_times_are_on_the_databases_clock() -> None:
    assert abs(timer_of(timer_rule()).anchored_at - datetime.now(UTC)) < timedelta(seconds=5)
