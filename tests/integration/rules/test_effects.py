"""What a change of a rule does to its timer and to sensors, whichever way it comes in."""

import pytest

from apps.events.models import SensorNotice, Timer, TimerFire, Trigger
from apps.events.rule_port import RuleUse, rule_port
from apps.packs.services import register_pack
from apps.rules import services
from apps.rules.models import Rule
from tests.factories import make_action, make_event, make_pack, make_rule, make_runtime, make_sensor, make_trigger

pytestmark = pytest.mark.django_db

RULES = "/api/v1/rules"
EVERY_MINUTE = {"interval": 60, "unit": "seconds"}


@pytest.fixture
def core(db):
    """As much of the core pack as these tests need."""
    pack = make_pack(ref="core")
    make_trigger(pack=pack, ref="core.intervaltimer")
    make_action(pack=pack, ref="core.echo")
    return pack


@pytest.fixture
def timed(core):
    """A rule of the interval timer, made as everybody makes one."""
    action = make_action()
    return services.create_rule(
        ref="lab.tick",
        pack_ref=action.pack_ref,
        label="Tick",
        action_ref=action.ref,
        trigger_ref="core.intervaltimer",
        trigger_params=EVERY_MINUTE,
        owner=None,
    )


def timer_of(rule):
    """The state of a rule's timer and when it started; None when there is none."""
    timer = Timer.objects.filter(rule=rule.pk).first()
    return None if timer is None else (timer.state, timer.anchored_at)


def notices():
    """The notices of all sensors, oldest first: what happened to which rule, by its trigger."""
    rows = SensorNotice.objects.order_by("pk").exclude(sensor__ref="core.timer_sensor")
    return list(rows.values_list("event_type", "rule_ref", "trigger_ref"))


def served(*refs):
    """Triggers of these refs, each with a sensor of its own."""
    triggers = [make_trigger(ref=ref) for ref in refs]
    for trigger in triggers:
        make_sensor(trigger)
    return triggers


# --- Timers -----------------------------------------------------------------------------------------------------


def test_a_timer_follows_its_rule(timed):
    state, started = timer_of(timed)
    assert state == "active"

    services.update_rule(timed.pk, {"label": "Other", "conditions": {"expression": "true"}})
    services.enable_rule(timed.pk)
    assert timer_of(timed) == ("active", started)

    services.update_rule(timed.pk, {"trigger_params": {**EVERY_MINUTE, "interval": 30}})
    state, restarted = timer_of(timed)
    assert (state, restarted > started) == ("active", True)

    services.disable_rule(timed.pk)
    assert timer_of(timed)[0] == "stopped"

    services.enable_rule(timed.pk)
    state, again = timer_of(timed)
    assert (state, again > restarted) == ("active", True)


def test_a_rule_that_is_made_disabled_has_no_running_timer(core):
    action = make_action()

    rule = services.create_rule(
        ref="lab.off",
        pack_ref=action.pack_ref,
        label="Off",
        action_ref=action.ref,
        trigger_ref="core.intervaltimer",
        trigger_params=EVERY_MINUTE,
        owner=None,
        enabled=False,
    )

    assert timer_of(rule)[0] == "stopped"


def test_a_rule_that_changes_its_trigger_loses_the_timer(timed):
    trigger = make_trigger()

    services.update_rule(timed.pk, {"trigger_ref": trigger.ref})
    assert timer_of(timed) is None

    services.update_rule(timed.pk, {"trigger_ref": "core.intervaltimer"})
    assert timer_of(timed)[0] == "active"


def test_a_deleted_rule_leaves_no_timer_and_its_firings_without_id(timed):
    event = make_event(trigger=timed.trigger, rule=timed.pk, rule_ref=timed.ref)
    fire = TimerFire.objects.create(
        rule=timed.pk, rule_ref=timed.ref, due_at=event.created, fired_at=event.created, event=event, outcome="fired"
    )

    services.delete_rule(timed.pk)

    event.refresh_from_db()
    fire.refresh_from_db()
    assert timer_of(timed) is None
    assert (event.rule, event.rule_ref, fire.rule, fire.rule_ref) == (None, "lab.tick", None, "lab.tick")


def test_a_rule_that_goes_with_its_pack_leaves_no_timer(timed):
    timed.pack.delete()

    assert (timer_of(timed), Rule.objects.count()) == (None, 0)


def test_a_timer_rests_while_the_rule_has_no_action(timed):
    action = timed.action
    action.delete()
    assert timer_of(timed)[0] == "stopped"

    services.update_rule(timed.pk, {"label": "Still without"})
    assert timer_of(timed)[0] == "stopped"

    make_action(ref=action.ref, pack=timed.pack)
    services.update_rule(timed.pk, {"action_ref": action.ref})
    assert timer_of(timed)[0] == "active"


def test_a_timer_rests_with_its_trigger(timed, api):
    answer = api.post("/api/v1/triggers/core.intervaltimer/disable")
    assert (answer.status_code, timer_of(timed)[0]) == (200, "stopped")

    api.post("/api/v1/triggers/core.intervaltimer/enable")
    assert timer_of(timed)[0] == "active"

    Trigger.objects.get(ref="core.intervaltimer").delete()
    timed.refresh_from_db()
    assert (timer_of(timed)[0], timed.trigger) == ("stopped", None)


def test_a_timer_that_a_pack_brings_restarts_when_its_file_changes(core, tmp_path):
    make_runtime()
    (tmp_path / "rules").mkdir()
    (tmp_path / "pack.yaml").write_text("ref: ticking\nversion: 1.0.0\n")
    file = tmp_path / "rules" / "tick.yaml"

    def registered(text):
        file.write_text(f"trigger_ref: core.intervaltimer\naction_ref: core.echo\n{text}")
        register_pack(tmp_path, force=True)
        return timer_of(Rule.objects.get(ref="ticking.tick"))

    first = registered("trigger_params: {interval: 60, unit: seconds}\n")
    same = registered("trigger_params: {interval: 60, unit: seconds}\nlabel: Other\n")
    changed = registered("trigger_params: {interval: 30, unit: seconds}\n")
    file.unlink()
    register_pack(tmp_path, force=True)

    assert (first[0], same, changed[0], changed[1] > first[1]) == ("active", first, "active", True)
    assert not Timer.objects.filter(rule_ref="ticking.tick").exists()


# --- Sensors ----------------------------------------------------------------------------------------------------


def test_sensors_hear_of_every_change_once(api):
    served("lab.a", "lab.b")
    make_pack(ref="lab")
    make_action(ref="lab.act")
    path = f"{RULES}/lab.r"

    api.post(
        RULES,
        {"ref": "lab.r", "pack_ref": "lab", "label": "R", "action_ref": "lab.act", "trigger_ref": "lab.a"},
    )
    api.put(path, {"trigger_params": {"x": 1}})
    api.put(path, {"trigger_params": {"x": 1}})
    api.post(f"{path}/disable")
    api.post(f"{path}/disable")
    api.post(f"{path}/enable")
    api.put(path, {"trigger_ref": "lab.b"})
    api.delete(path)

    assert notices() == [
        ("RuleCreated", "lab.r", "lab.a"),
        ("RuleUpdated", "lab.r", "lab.a"),
        ("RuleDisabled", "lab.r", "lab.a"),
        ("RuleEnabled", "lab.r", "lab.a"),
        ("RuleDeleted", "lab.r", "lab.a"),
        ("RuleUpdated", "lab.r", "lab.b"),
        ("RuleDeleted", "lab.r", "lab.b"),
    ]


def test_a_refused_change_is_no_news(api):
    (trigger,) = served("lab.a")
    rule = make_rule(trigger=trigger)

    api.put(f"{RULES}/{rule.ref}", {"action_ref": "no.no", "enabled": False})
    api.put(f"{RULES}/{rule.ref}", {"priority": 500, "enabled": False})

    assert notices() == []


def test_sensors_hear_of_rules_that_go_with_their_pack():
    (trigger,) = served("lab.a")
    rule = make_rule(trigger=trigger)

    rule.pack.delete()

    assert notices() == [("RuleDeleted", rule.ref, "lab.a")]


def test_everything_of_a_pack_may_go_at_once(db):
    pack = make_pack()
    trigger, action = make_trigger(pack=pack), make_action(pack=pack)
    make_sensor(trigger, pack=pack)
    make_rule(pack=pack, trigger=trigger, action=action)
    elsewhere = make_rule(trigger=trigger, action=action)

    pack.delete()

    elsewhere.refresh_from_db()
    assert (elsewhere.trigger, elsewhere.action, Rule.objects.count(), notices()) == (None, None, 1, [])


# --- What events asks about rules -------------------------------------------------------------------------------


def test_the_rules_of_triggers():
    first, second = make_trigger(ref="lab.a"), make_trigger(ref="lab.b")
    rules = [
        make_rule(ref="b.on", trigger=first, trigger_params={"x": 1}),
        make_rule(ref="c.off", trigger=first, enabled=False),
        make_rule(ref="a.on", trigger=second),
    ]
    gone = make_trigger(ref="lab.gone")
    make_rule(ref="d.unlinked", trigger=gone)
    gone.delete()
    make_trigger(ref="lab.gone")

    asked = ["lab.a", "lab.b", "lab.gone"]

    assert [use.ref for use in rule_port.of_triggers(asked)] == ["a.on", "b.on"]
    assert [use.ref for use in rule_port.of_triggers(asked, enabled_only=False)] == ["a.on", "b.on", "c.off"]
    assert rule_port.of_triggers([]) == []
    assert rule_port.by_ref("b.on") == rule_port.by_id(rules[0].pk) == RuleUse(
        id=rules[0].pk, ref="b.on", trigger_id=first.pk, trigger_ref="lab.a", trigger_params={"x": 1}, enabled=True
    )  # fmt: skip
    assert [rule_port.by_ref("no.no"), rule_port.by_id(2**70), rule_port.by_id(-1)] == [None, None, None]
