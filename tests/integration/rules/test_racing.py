"""Rules that change while their events arrive."""

import threading

import pytest
from django.db import connection

from apps.events.models import Event
from apps.events.services import EventRequest, store_event
from apps.executions.models import Execution
from apps.rules import services
from apps.rules.models import Enforcement, Rule, RuleDecision
from tests.factories import make_rule

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = 40


def together(*works):
    """Run each in a thread of its own; return what they raised."""
    start, raised = threading.Barrier(len(works)), []

    def run(work):
        start.wait(60)
        try:
            work()
        except Exception as error:
            raised.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return raised


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
