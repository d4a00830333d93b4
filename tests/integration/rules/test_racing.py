"""Rules that change while their events arrive."""

from functools import partial

import pytest
from django.db import connection

from apps.events.models import Event, Timer
from apps.events.services import EventRequest, store_event
from apps.executions.models import Execution
from apps.rules import services, views
from apps.rules.models import Enforcement, Rule, RuleDecision
from tests.clients import anonymous, signed_in
from tests.factories import make_action, make_admin, make_identity, make_rule, make_trigger
from tests.racing import together as at_once

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 40


def together(*works):
    """Run each in a thread of its own; return what they raised."""
    return [answer for answer in at_once(*works) if isinstance(answer, Exception)]


def test_a_rule_may_be_changed_and_deleted_while_events_arrive():
    rule = make_rule(ref="lab.r")
    other = make_rule(trigger=rule.trigger, action=rule.action, ref="lab.s")

    def arrive():
        for number in range(EVENTS):
            store_event(EventRequest(trigger=rule.trigger, payload={"n": number}))

    def change():
        for number in range(10):
            services.disable_rule(rule.pk)
            services.update_rule(rule.pk, {"label": f"L{number}", "trigger_params": {"n": number}})
            services.enable_rule(rule.pk)
        services.delete_rule(rule.pk)

    raised = together(arrive, arrive, change)

    assert raised == []
    assert list(Rule.objects.values_list("ref", flat=True)) == ["lab.s"]
    assert Event.objects.filter(processed_at__isnull=False).count() == 2 * EVENTS
    assert RuleDecision.objects.filter(rule=other).count() == 2 * EVENTS
    of_the_deleted = RuleDecision.objects.filter(rule_ref="lab.r")
    assert of_the_deleted.filter(rule=None).count() == of_the_deleted.count()
    assert Enforcement.objects.filter(rule_ref="lab.s").count() == 2 * EVENTS


def test_an_action_may_be_deleted_while_events_arrive():
    rule = make_rule()

    def arrive():
        for number in range(EVENTS):
            store_event(EventRequest(trigger=rule.trigger, payload={"n": number}))

    raised = together(arrive, arrive, rule.action.delete)

    assert raised == []
    assert Enforcement.objects.count() == RuleDecision.objects.count() == 2 * EVENTS
    started = Execution.objects.count()
    assert Enforcement.objects.filter(status="processed").count() == started
    assert Execution.objects.filter(action=None).count() == started


def test_two_changes_of_one_rule_both_count():
    rule = make_rule()

    raised = together(
        *(lambda name=name: services.update_rule(rule.pk, {name: f"new {name}"}) for name in ("label", "description"))
    )

    rule.refresh_from_db()
    assert (raised, rule.label, rule.description) == ([], "new label", "new description")


def test_of_two_deletions_one_finds_nothing():
    rule = make_rule()

    raised = together(*[lambda: services.delete_rule(rule.pk)] * 3)

    assert [type(error) for error in raised] == [services.RuleNotFound] * 2


def timed_rule(caller, action):
    body = {"unit": "hours", "interval": 1}
    named = {"ref": f"{action.pack_ref}.tick", "pack_ref": action.pack_ref, "action_ref": action.ref}
    sent = {**named, "label": "Tick", "trigger_ref": "core.intervaltimer", "trigger_params": body}
    assert caller.post("/api/v1/rules", sent).status_code == 201
    return f"/api/v1/rules/{action.pack_ref}.tick"


def test_timer_runs_when_rule_and_trigger_are_switched_on_at_once(core_pack):
    caller, trigger = signed_in(make_admin()), "/api/v1/triggers/core.intervaltimer"
    rule = timed_rule(caller, make_action())
    states = []

    for verb in ["disable", "enable"] * 15:
        answers = at_once(
            partial(caller.post, f"{rule}/{verb}"), partial(caller.post, f"{trigger}/{verb}"), spread_seconds=0.01
        )

        assert [answer.status_code for answer in answers] == [200, 200]
        states.append(Timer.objects.get().state)

    assert states == ["stopped", "active"] * 15


def test_rule_of_a_timer_may_be_changed_while_its_action_is_deleted(core_pack):
    caller = signed_in(make_admin())

    for number in range(15):
        action = make_action()
        rule = timed_rule(caller, action)

        answers = at_once(
            partial(caller.put, rule, {"trigger_params": {"unit": "hours", "interval": number + 2}}),
            partial(caller.delete, f"/api/v1/actions/{action.ref}"),
            spread_seconds=0.01,
        )

        assert [answer.status_code for answer in answers] == [200, 200]
        assert Timer.objects.get(rule_ref=f"{action.pack_ref}.tick").state == "stopped"


def test_action_may_be_deleted_while_executions_of_it_are_asked_for():
    caller = signed_in(make_admin())

    for _ in range(10):
        action = make_action()

        def ask(action=action):
            return [caller.post("/api/v1/executions/execute", {"action_ref": action.ref}) for _ in range(5)]

        *asked, deleted = at_once(
            ask, ask, partial(caller.delete, f"/api/v1/actions/{action.ref}"), spread_seconds=0.05
        )

        assert deleted.status_code == 200, deleted.json()
        assert {answer.status_code for answers in asked for answer in answers} <= {201, 404, 422}
        assert not Execution.objects.filter(action=action.pk).exists()


@pytest.mark.postgresql  # SQLite lets nobody else write meanwhile
@pytest.mark.parametrize("way", ["service", "webhook"])
def test_event_comes_through_while_the_owner_of_its_rule_is_deleted(way):
    """PostgreSQL refuses the execution only when all is to be committed, and the event with it."""
    owner, trigger = make_identity(), make_trigger(webhook_enabled=True, webhook_key="wh_key")
    make_rule(trigger=trigger, owner_identity=owner)
    inserted = []

    def delete_meanwhile(execute, statement, *further):
        answer = execute(statement, *further)
        if statement.startswith('INSERT INTO "execution" ') and not inserted:
            inserted.append(statement)
            assert together(owner.delete) == []
        return answer

    with connection.execute_wrapper(delete_meanwhile):
        if way == "service":
            store_event(EventRequest(trigger=trigger, payload={}))
        else:
            assert anonymous().post("/api/v1/webhooks/wh_key", {"payload": {}}).status_code == 200

    assert len(inserted) == Event.objects.count() == Execution.objects.count() == 1


def test_no_rule_is_left_out_when_what_is_kept_of_them_is_forgotten(monkeypatch):
    monkeypatch.setattr(views, "_MOST_KEPT", 2)
    rule = make_rule()
    for _ in range(2):
        make_rule(trigger=rule.trigger, action=rule.action)

    for _ in range(4):
        event = store_event(EventRequest(trigger=rule.trigger, payload={}))

        assert RuleDecision.objects.filter(event=event.pk).count() == 3
