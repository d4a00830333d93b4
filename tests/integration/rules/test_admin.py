"""The console's pages of events and rules: why a rule did not run, the form, trying, replaying."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apps.events.models import Event, Timer
from apps.events.services import EventRequest, store_event
from apps.executions.models import Execution
from apps.packs.services import load_core_pack
from apps.rules import services
from apps.rules.admin.fields import ConditionsField
from apps.rules.admin.hiding import STARS, hide, restore
from apps.rules.models import Enforcement, Rule, RuleDecision
from tests.factories import (
    grant,
    make_action,
    make_admin,
    make_event,
    make_identity,
    make_pack,
    make_rule,
    make_set,
    make_trigger,
)

pytestmark = pytest.mark.django_db

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def olga():
    return make_admin(login="olga")


@pytest.fixture
def console(olga):
    client = Client()
    client.force_login(olga)
    return client


@pytest.fixture
def trigger():
    return make_trigger(
        ref="lab.disk",
        param_schema={"host": {"type": "string"}, "token": {"type": "string", "secret": True}},
        out_schema={"token": {"type": "string", "secret": True}},
    )


@pytest.fixture
def action():
    return make_action(
        ref="lab.alarm",
        param_schema={"message": {"type": "string", "required": True}, "password": {"type": "string", "secret": True}},
    )


def page_of(row, name="change"):
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])


def list_of(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def text_of(answer):
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def messages_of(answer):
    return [str(message) for message in answer.context["messages"]]


def happen(trigger, payload=None, **fields):
    return store_event(EventRequest(trigger=trigger, payload={} if payload is None else payload, **fields))


def decided(console, event):
    """What the page of an event says of each rule: ``{ref: Decided}``."""
    return {each.rule_ref: each for each in console.get(page_of(event)).context["decided"]}


def not_asked(console, event):
    return [each.why for each in console.get(page_of(event)).context["not_asked"]]


def problems(answer):
    """The complaints of the form, by field; the page has come back."""
    assert answer.status_code == 200
    return {name: list(errors) for name, errors in answer.context["form"].errors.items()}


# --- Why did my rule not run? -----------------------------------------------------------------------------------


def test_a_rule_that_matched_shows_its_enforcement_and_execution(console, trigger, action):
    rule = make_rule(trigger=trigger, action=action, action_params={"message": "hi"})
    event = happen(trigger)

    shown = decided(console, event)[rule.ref]

    assert shown.shown.outcome == "matched"
    assert shown.enforcement == Enforcement.objects.get()
    assert shown.executions == [Execution.objects.get()]
    assert page_of(Execution.objects.get()) in text_of(console.get(page_of(event)))


def test_a_false_criterion_says_what_it_found(console, trigger):
    rule = make_rule(
        trigger=trigger,
        conditions=[
            {"field": "host", "operator": "equals", "value": "db1"},
            {"field": "free", "operator": "lt", "value": 100},
        ],
    )
    event = happen(trigger, {"host": "db1", "free": 812})

    shown = decided(console, event)[rule.ref].shown

    assert shown.outcome == "not_matched"
    assert "812" in shown.reason
    assert [(step.mark, step.criterion, list(step.found)) for step in shown.steps] == [
        ("holds", 'host equals "db1"', [("host", '"db1"')]),
        ("fails", "free lt 100", [("free", "812")]),
    ]


def test_an_error_says_where(console, trigger):
    rule = make_rule(trigger=trigger, conditions={"expression": "event.payload.inodes.free < 100"})
    event = happen(trigger, {"host": "db1"})

    shown = decided(console, event)[rule.ref].shown

    assert shown.outcome == "error"
    assert "'event.payload.inodes' is undefined" in shown.reason
    assert shown.steps[0].error != ""


def test_what_is_held_back_says_until_when(console, trigger):
    window = {"window_seconds": 3600}
    rules = {
        "throttled": make_rule(trigger=trigger, throttle={"max": 1, **window}),
        "deduplicated": make_rule(trigger=trigger, dedupe={"key": "{{ event.payload.host }}", **window}),
        "aggregating": make_rule(trigger=trigger, aggregate={"count": 5, **window}),
    }
    happen(trigger, {"host": "db1"})

    shown = decided(console, happen(trigger, {"host": "db1"}))

    assert {outcome: shown[rule.ref].shown.outcome for outcome, rule in rules.items()} == {
        name: name for name in rules
    }
    assert "The limit of 1 in 3600 s is reached" in shown[rules["throttled"].ref].shown.reason
    assert shown[rules["deduplicated"].ref].shown.key == "db1"
    assert "2 of 5" in shown[rules["aggregating"].ref].shown.reason


def test_a_missing_action_says_so(console, trigger):
    action = make_action(ref="lab.gone")
    rule = make_rule(trigger=trigger, action=action)
    action.delete()

    event = happen(trigger)

    shown = decided(console, event)[rule.ref]
    assert "'lab.gone' was deleted" in shown.shown.reason
    assert (shown.enforcement.status, shown.executions) == ("disabled", [])
    assert "no execution" in text_of(console.get(page_of(event)))


def test_a_disabled_rule_is_listed_as_one_that_did_not_look(console, trigger):
    make_rule(trigger=trigger, enabled=False)

    event = happen(trigger)

    assert not_asked(console, event) == ["it is disabled; only enabled rules look at events"]


def test_a_rule_that_was_made_later_is_told_apart(console, trigger):
    event = happen(trigger)
    make_rule(trigger=trigger)

    (why,) = not_asked(console, event)

    assert why.startswith("it was made only after the event")


def test_a_rule_that_was_enabled_later_is_told_apart(console, trigger):
    rule = make_rule(trigger=trigger, enabled=False)
    event = happen(trigger)
    services.enable_rule(rule.pk)

    (why,) = not_asked(console, event)

    assert why.startswith("it was disabled, or belonged to another trigger, when the event came")


def test_a_decision_that_retention_removed_is_told_apart(console, trigger):
    rule = make_rule(trigger=trigger)
    Rule.objects.filter(pk=rule.pk).update(updated=rule.created - timedelta(days=1))
    event = happen(trigger)
    RuleDecision.objects.all().delete()

    assert not_asked(console, event) == ["its decision is no longer kept"]


def test_an_event_for_one_rule_says_so(console, trigger):
    mine, other = make_rule(trigger=trigger), make_rule(trigger=trigger)
    event = make_event(trigger=trigger, rule=mine.pk, rule_ref=mine.ref)

    assert f"the event was for {mine.ref} alone" in not_asked(console, event)
    assert other.ref in text_of(console.get(page_of(event)))


def test_an_undecided_event_stands_out(console, trigger):
    make_rule(trigger=trigger)
    event = make_event(trigger=trigger, processed_at=None)

    page = console.get(page_of(event))

    assert page.context["undecided"] is True
    assert not_asked(console, event) == ["the event is not decided yet"]
    assert [row.pk for row in console.get(list_of(Event), {"state": "undecided"}).context["cl"].result_list] == [
        event.pk
    ]


def test_hostile_payloads_stay_text_and_secrets_hidden(console, trigger):
    make_rule(
        trigger=trigger,
        conditions=[{"field": "note", "operator": "equals", "value": HOSTILE + "!"}],
        action_params={"message": "{{ event.payload.note }}"},
    )
    event = happen(trigger, {"note": HOSTILE, "token": "s3cret-value", HOSTILE: [HOSTILE]}, config={HOSTILE: HOSTILE})

    for page in (page_of(event), page_of(event, "test"), list_of(Event), list_of(RuleDecision)):
        text = text_of(console.get(page))
        assert HOSTILE not in text
        assert "s3cret-value" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text_of(console.get(page_of(event)))


def test_the_page_of_an_event_makes_the_same_queries_for_many_rules(console, trigger, action):
    def queries(event):
        with CaptureQueriesContext(connection) as made:
            assert console.get(page_of(event)).status_code == 200
        return len([query for query in made.captured_queries if "clock_timestamp" not in query["sql"]])

    make_rule(trigger=trigger, action=action)
    make_rule(trigger=trigger, enabled=False)
    first = happen(trigger)
    console.get(page_of(first))
    one = queries(first)
    for _number in range(3):
        make_rule(trigger=trigger, action=action)
        make_rule(trigger=trigger, enabled=False)

    assert queries(happen(trigger)) == one


# --- The list of events -----------------------------------------------------------------------------------------


def found(console, **query):
    answer = console.get(list_of(Event), query)
    assert answer.status_code == 200
    return sorted(row.pk for row in answer.context["cl"].result_list)


def test_events_are_found_by_what_an_operator_knows(console):
    disk, door = make_trigger(ref="lab.disk_full"), make_trigger(ref="lab.door")
    rule = make_rule(trigger=disk)
    first, second = make_event(trigger=disk, rule=rule.pk, rule_ref=rule.ref), make_event(trigger=door)
    replay = make_event(trigger=door, replay_of=second)

    assert found(console, q=f"#{first.pk}") == [first.pk]
    assert found(console, q="lab.door") == [second.pk, replay.pk]
    assert found(console, q="DISK") == [first.pk]
    assert found(console, q=str(Event.objects.get(pk=first.pk).correlation_id)) == [first.pk]
    assert found(console, q="nothing like it") == []
    assert found(console, q="9" * 30) == []
    assert found(console, trigger_ref="lab.door") == [second.pk, replay.pk]
    assert found(console, rule_ref=rule.ref) == [first.pk]
    assert found(console, replay_of=second.pk) == [replay.pk]
    assert found(console, correlation_id="no uuid") == []
    assert found(console, since="1h") == [first.pk, second.pk, replay.pk]


def test_the_list_says_what_rules_decided(console, trigger):
    make_rule(trigger=trigger, conditions={"expression": "event.payload.x"})
    make_rule(trigger=trigger)
    make_rule(trigger=trigger)
    happen(trigger, {"x": False})

    text = text_of(console.get(list_of(Event)))

    assert "matched 2</span>" in text
    assert "not_matched</span>" in text


def test_decisions_are_filtered_by_outcome_among_the_newest(console, trigger, monkeypatch):
    make_rule(trigger=trigger, throttle={"max": 1, "window_seconds": 3600})
    for _number in range(4):
        happen(trigger)

    def outcomes(**query):
        rows = console.get(list_of(RuleDecision), query).context["cl"].result_list
        return [row.outcome for row in rows]

    assert outcomes(outcome="throttled") == ["throttled"] * 3
    assert outcomes(outcome="matched") == ["matched"]
    monkeypatch.setattr("apps.rules.admin.records.SEARCHED_DECISIONS", 2)
    assert outcomes(outcome="matched") == []
    assert outcomes(outcome="matched", rule=Rule.objects.get().pk) == ["matched"]


# --- Replay and test --------------------------------------------------------------------------------------------


def test_a_replay_is_a_new_event_that_is_decided(console, trigger, action):
    rule = make_rule(trigger=trigger, action=action, action_params={"message": "{{ event.payload.host }}"})
    event = happen(trigger, {"host": "db1"})

    answer = console.post(page_of(event, "replay"), {"payload": '{"host": "db2"}', "reason": "try again"})

    new = Event.objects.get(replay_of=event)
    assert answer.headers["Location"] == page_of(new)
    assert new.payload == {"host": "db2"}
    assert RuleDecision.objects.filter(event=new.pk, rule=rule, outcome="matched").exists()
    assert Execution.objects.order_by("-pk")[0].config == {"message": "db2"}


def test_a_replay_keeps_the_payload_and_may_be_for_one_rule(console, trigger):
    only, other = make_rule(trigger=trigger), make_rule(trigger=trigger)
    event = happen(trigger, {"host": "db1"})

    console.post(page_of(event, "replay"), {"rule_ref": only.ref})

    new = Event.objects.get(replay_of=event)
    assert (new.payload, new.rule_ref) == ({"host": "db1"}, only.ref)
    assert not RuleDecision.objects.filter(event=new.pk, rule=other).exists()


@pytest.mark.parametrize("text, payload", [("null", None), ("[1]", [1]), ("0", 0)])
def test_a_replay_takes_any_json(console, trigger, text, payload):
    event = happen(trigger, {"host": "db1"})

    console.post(page_of(event, "replay"), {"payload": text})

    assert Event.objects.get(replay_of=event).payload == payload


def test_a_replay_that_is_refused_says_why(console, trigger):
    event = happen(trigger)
    trigger.set(enabled=False)

    answer = console.post(page_of(event, "replay"), {})

    assert messages_of(answer) == ["Trigger 'lab.disk' is disabled"]
    assert problems(console.post(page_of(event, "replay"), {"payload": "{"}))["payload"][0].startswith(
        "This is not JSON"
    )
    assert not Event.objects.filter(replay_of=event).exists()


def test_several_events_are_replayed_from_the_list(console, trigger):
    events = [happen(trigger), happen(trigger)]
    chosen = {"action": "replay_selected", "_selected_action": [event.pk for event in events]}

    console.post(list_of(Event), chosen)
    assert Event.objects.count() == 2
    console.post(list_of(Event), {**chosen, "confirmed": "yes"})

    assert set(Event.objects.exclude(replay_of=None).values_list("replay_of", flat=True)) == {e.pk for e in events}


def test_an_event_is_tested_against_all_rules_of_its_trigger(console, trigger, action):
    event = happen(trigger, {"free": 5})
    make_rule(ref="lab.a", trigger=trigger, action=action, action_params={"message": "{{ event.payload.free }}"})
    make_rule(ref="lab.b", trigger=trigger, enabled=False)
    make_rule(ref="lab.c", trigger=trigger, conditions={"expression": "event.payload.free > 9"})
    make_rule(ref="lab.other")

    tested = console.get(page_of(event, "test")).context["tested"]

    assert [(each["rule"].ref, each["shown"].outcome, each["obstacle"]) for each in tested] == [
        ("lab.a", "matched", ""),
        ("lab.b", "matched", "the rule is disabled"),
        ("lab.c", "not_matched", ""),
    ]
    assert "message" in tested[0]["params"]
    assert not RuleDecision.objects.exists()
    assert not Execution.objects.exists()


# --- The form ---------------------------------------------------------------------------------------------------

ADD = "/admin/rules/rule/add/"


def given(trigger, action, **fields):
    return {
        "ref": "lab.rule", "pack_ref": trigger.pack_ref, "label": "A rule", "enabled": "on", "trigger_ref": trigger.ref,
        "action_ref": action.ref, "action_params": '{"message": "hi"}', **fields,
    }  # fmt: skip


def test_the_form_makes_a_rule(console, olga, trigger, action):
    make_set(grant("actions:read"), ref="lab.reader")
    make_set(grant("actions:update"), ref="lab.writer")
    answer = console.post(
        ADD,
        given(
            trigger, action, description="What for", conditions="event.payload.free < 100", trigger_params='{"host": "db1"}',
            priority="7", permission_set_refs="lab.writer, lab.reader", alert_on_failure="on",
            throttle_max="2", throttle_window_seconds="60", throttle_on_limit="delay",
        ),
        follow=True,
    )  # fmt: skip

    rule = Rule.objects.get(ref="lab.rule")
    assert answer.redirect_chain == [(page_of(rule), 302)]
    assert messages_of(answer) == ["Rule lab.rule was saved."]
    assert (rule.conditions, rule.trigger_params) == ({"expression": "event.payload.free < 100"}, {"host": "db1"})
    assert (rule.owner_identity, rule.priority, rule.alert_on_failure, rule.is_adhoc) == (olga, 7, True, True)
    assert rule.permission_set_refs == ["lab.writer", "lab.reader"]
    assert rule.throttle == {"max": 2, "window_seconds": 60, "on_limit": "delay"}
    assert (rule.dedupe, rule.aggregate) == (None, None)


@pytest.mark.parametrize("text, sets", [("", None), ("none", []), (" a.b ,c.d,", ["a.b", "c.d"])])
def test_rights_are_the_actions_none_or_sets(console, trigger, action, text, sets):
    for ref in sets or ():
        make_set(grant("actions:read"), ref=ref)

    console.post(ADD, given(trigger, action, permission_set_refs=text))

    assert Rule.objects.get().permission_set_refs == sets


@pytest.mark.parametrize(
    "fields, field, complaint",
    [
        ({"action_params": "{}"}, "action_params", "'message' is required"),
        ({"action_params": '{"message": 3}'}, "action_params", "message"),
        ({"action_params": "[1]"}, "action_params", "This must be a JSON object"),
        ({"action_params": "{"}, "action_params", "This is not JSON"),
        ({"trigger_params": '{"host": 3}'}, "trigger_params", "host"),
        ({"conditions": "[1"}, "conditions", "This is not JSON"),
        ({"conditions": '{"all": [}'}, "conditions", "This is not JSON"),
        ({"trigger_ref": "no.such"}, "trigger_ref", "Trigger 'no.such' not found"),
        ({"action_ref": "no.such"}, "action_ref", "Action 'no.such' not found"),
        ({"ref": "not a ref"}, "ref", ""),
        ({"priority": "101"}, "priority", "less than or equal to 100"),
        ({"dedupe_key": "x"}, "dedupe_window_seconds", "This field is required."),
        ({"aggregate_count": "1", "aggregate_window_seconds": "5"}, "aggregate_count", "greater than or equal to 2"),
        ({"throttle_max": "1", "throttle_window_seconds": "604801"}, "throttle_window_seconds", "604800"),
        ({"throttle_on_limit": "delay"}, "throttle_max", "This field is required."),
        ({"label": ""}, "label", "This field is required."),
    ],
)
def test_what_does_not_fit_is_said_beside_the_field(console, trigger, action, fields, field, complaint):
    answer = console.post(ADD, given(trigger, action, **fields))

    assert complaint in " ".join(problems(answer)[field])
    assert not Rule.objects.exists()


def test_a_ref_that_is_taken_is_refused(console, trigger, action):
    make_rule(ref="lab.rule")

    assert problems(console.post(ADD, given(trigger, action))) == {"ref": ["Rule with ref 'lab.rule' already exists"]}


def test_a_template_passes_for_any_type(console, trigger):
    action = make_action(param_schema={"count": {"type": "integer"}})

    console.post(ADD, given(trigger, action, action_params='{"count": "{{ event.payload.n }}"}'))

    assert Rule.objects.get().action_params == {"count": "{{ event.payload.n }}"}


def test_a_mistake_in_the_conditions_is_saved_and_shown_with_its_place(console, trigger, action):
    answer = console.post(ADD, given(trigger, action, conditions="event.payload.free <\n  (1"), follow=True)

    (warning,) = answer.context["warnings"]
    assert Rule.objects.get().conditions == {"expression": "event.payload.free <\n  (1"}
    assert "line 2, column 5" in warning.place
    assert warning.excerpt == "  (1\n    ^"
    assert len(messages_of(answer)) == 2


def test_the_form_changes_a_rule_and_its_timer_follows(console, olga):
    load_core_pack()
    rule = services.create_rule(
        ref="core.tick", pack_ref="core", action_ref="core.echo", trigger_ref="core.intervaltimer", owner=olga, label="Tick",
        trigger_params={"interval": 5, "unit": "minutes"}, action_params={"message": "tick"},
    )  # fmt: skip
    before = Timer.objects.get(rule=rule.pk)

    shown = console.get(page_of(rule, "edit")).context["form"]
    console.post(
        page_of(rule, "edit"),
        {
            "label": "Tick", "enabled": "on", "trigger_ref": "core.intervaltimer", "action_ref": "core.echo",
            "trigger_params": '{"interval": 9, "unit": "hours"}', "action_params": shown["action_params"].value(),
        },
    )  # fmt: skip

    after = Timer.objects.get(rule=rule.pk)
    assert (before.spec, after.spec) == ({"interval": 5, "unit": "minutes"}, {"interval": 9, "unit": "hours"})
    assert after.next_fire_at - timezone.now() > timedelta(hours=8)
    rule.refresh_from_db()
    assert rule.action_params == {"message": "tick"}


def test_saving_what_the_form_shows_changes_nothing(console, trigger, action):
    rule = make_rule(
        trigger=trigger, action=action, action_params={"message": "{{ event.payload.x }}", "password": "s3cret-value"},
        trigger_params={"token": "s3cret-value"}, conditions={"any": [{"field": "a", "operator": "exists"}]},
        dedupe={"key": "k", "window_seconds": 5, "extend": True}, aggregate={"count": 3, "window_seconds": 9},
        throttle={"max": 1, "window_seconds": 5, "on_limit": "delay", "max_delayed": 7}, priority=-3, permission_set_refs=[],
    )  # fmt: skip
    services.update_rule(rule.pk, {"action_params": rule.action_params})  # which puts its secret away
    before = Rule.objects.filter(pk=rule.pk).values().get()

    page = console.get(page_of(rule, "edit"))
    form = page.context["form"]
    sent = {name: form[name].value() for name in form.fields if form[name].value() not in (None, False)}
    answer = console.post(page_of(rule, "edit"), sent)

    assert "s3cret-value" not in text_of(page)
    assert answer.status_code == 302
    assert Rule.objects.filter(pk=rule.pk).values().get() == before


def test_the_form_shows_what_trigger_and_action_take(console, trigger, action):
    for kind, name in (("trigger", trigger.ref), ("action", action.ref)):
        answer = console.get(f"/admin/rules/rule/declared/{kind}/", {f"{kind}_ref": name})
        assert f"{name} takes" in text_of(answer)
    assert "There is no no.such." in text_of(
        console.get("/admin/rules/rule/declared/action/", {"action_ref": "no.such"})
    )
    assert console.get(ADD, {"trigger_ref": trigger.ref}).context["form"]["trigger_ref"].value() == trigger.ref


def test_who_may_not_enter_makes_no_rule(trigger, action):
    stranger = Client()
    stranger.force_login(make_identity())

    answer = stranger.post(ADD, given(trigger, action))

    assert answer.status_code == 302
    assert not Rule.objects.exists()


# --- The page of a rule, its verbs ------------------------------------------------------------------------------


def test_a_rule_says_what_stands_in_its_way(console, trigger, action):
    rule = make_rule(trigger=trigger, action=action, enabled=False, action_params={"message": 3})
    trigger.set(enabled=False)
    action.delete()

    obstacles = console.get(page_of(rule)).context["obstacles"]

    assert [sentence.split(".")[0] for sentence in obstacles] == [
        "The rule is disabled: it does not look at events",
        "Its trigger lab",
        "Its action lab",
    ]


def test_parameters_that_fit_no_more_are_an_obstacle(console, trigger, action):
    rule = make_rule(trigger=trigger, action=action, action_params={})

    (obstacle,) = console.get(page_of(rule)).context["obstacles"]

    assert obstacle.startswith("Parameters of the action: ")


def test_a_timer_rule_shows_its_next_due_times(console, olga):
    load_core_pack()
    rule = services.create_rule(
        ref="core.daily", pack_ref="core", action_ref="core.echo", trigger_ref="core.crontimer", owner=olga, label="Daily",
        trigger_params={"expression": "0 0 9 * * *", "timezone": "Asia/Tokyo"}, action_params={"message": "x"},
    )  # fmt: skip

    timer = console.get(page_of(rule)).context["timer"]

    assert len(timer["firings"]) == 6
    assert {firing["note"] for firing in timer["firings"]} == {"09:00:00 there"}
    assert "active" in timer["state"]
    services.disable_rule(rule.pk)
    assert len(console.get(page_of(rule)).context["timer"]["firings"]) == 6


def test_a_rule_shows_its_latest_decisions_and_their_share(console, trigger):
    rule = make_rule(trigger=trigger, throttle={"max": 1, "window_seconds": 3600})
    for _number in range(4):
        happen(trigger)

    context = console.get(page_of(rule)).context

    assert len(context["decisions"]) == 4
    assert [(share["outcome"], share["count"], share["percent"]) for share in context["shares"]] == [
        ("matched", 1, 25.0),
        ("throttled", 3, 75.0),
    ]
    listed = console.get(context["shares"][1]["url"]).context["cl"].result_list
    assert {row.outcome for row in listed} == {"throttled"}


def test_a_rule_is_switched_and_deleted(console, trigger):
    rule = make_rule(trigger=trigger)
    happen(trigger)

    console.post(page_of(rule, "disable"))
    assert Rule.objects.filter(pk=rule.pk, enabled=False).exists()
    console.post(page_of(rule, "enable"))
    assert Rule.objects.filter(pk=rule.pk, enabled=True).exists()
    question = console.get(page_of(rule, "remove"))
    answer = console.post(page_of(rule, "remove"), {"confirmed": "yes"}, follow=True)

    assert "What it has decided and started stays." in text_of(question)
    assert messages_of(answer) == [f"{rule.ref} is deleted"]
    assert not Rule.objects.exists()
    assert RuleDecision.objects.get().rule_ref == rule.ref


def test_rules_are_disabled_from_the_list(console):
    rules = [make_rule(), make_rule(), make_rule()]
    chosen = {"action": "disable_selected", "_selected_action": [rule.pk for rule in rules[:2]]}

    answer = console.post(list_of(Rule), chosen, follow=True)

    assert len(messages_of(answer)) == 2
    assert list(Rule.objects.filter(enabled=True)) == rules[2:]


def test_rules_of_packs_cannot_be_deleted_behind_the_service(console):
    rule = make_rule()

    assert console.post(f"/admin/rules/rule/{rule.pk}/delete/", {"post": "yes"}).status_code == 403
    assert console.post(page_of(rule), {"label": "x"}).status_code == 403
    assert Rule.objects.filter(pk=rule.pk).exists()


# --- Trying -----------------------------------------------------------------------------------------------------


def test_a_rule_is_tested_on_the_newest_event_or_a_payload(console, trigger, action):
    rule = make_rule(
        trigger=trigger, action=action, conditions={"expression": "event.payload.free < 100"},
        action_params={"message": "{{ event.payload.free }}", "password": "s3cret-value"},
    )  # fmt: skip
    event = make_event(trigger=trigger, payload={"free": 5})

    form = console.get(page_of(rule, "test")).context["form"]
    sent = {name: form[name].value() or "" for name in form.fields}
    stored = console.post(page_of(rule, "test"), sent)
    imagined = console.post(page_of(rule, "test"), {**sent, "payload": '{"free": 500}'})

    assert sent["event"] == event.pk
    assert stored.context["tried"].matched is True
    assert "s3cret-value" not in text_of(stored)
    assert imagined.context["tried"].shown.outcome == "not_matched"
    assert imagined.context["tried"].link is None
    assert not RuleDecision.objects.exists()


def test_a_draft_is_tested_and_not_saved(console, trigger):
    rule = make_rule(trigger=trigger, enabled=False)

    answer = console.post(page_of(rule, "test"), {"payload": '{"x": 1}', "conditions": "event.payload.x > 5"})

    assert answer.context["tried"].shown.outcome == "not_matched"
    assert answer.context["tried"].obstacle == "the rule is disabled"
    rule.refresh_from_db()
    assert rule.conditions == {}


@pytest.mark.parametrize(
    "sent, complaint",
    [
        ({}, "Name a stored event, or write a payload."),
        ({"event": str(10**15)}, "not found"),
        ({"event": "x"}, "Enter a whole number."),
    ],
)
def test_a_test_needs_an_event(console, trigger, sent, complaint):
    answer = console.post(page_of(make_rule(trigger=trigger), "test"), sent)

    assert complaint in " ".join(problems(answer)["event"])
    assert answer.context["tried"] is None


def test_an_event_of_another_trigger_cannot_be_tried(console, trigger):
    answer = console.post(page_of(make_rule(trigger=trigger), "test"), {"event": make_event().pk})

    assert "of trigger" in " ".join(problems(answer)["event"])


def test_a_back_test_counts_what_would_have_fired(console, trigger):
    rule = make_rule(trigger=trigger)
    for free in (5, 50, 500):
        make_event(trigger=trigger, payload={"free": free})

    answer = console.post(
        page_of(rule, "backtest"),
        {
            "hours": "24",
            "conditions": "event.payload.free < 100",
            "throttle_max": "1",
            "throttle_window_seconds": "60",
        },
    )

    past = answer.context["past"]
    assert (past.examined, past.matched) == (3, 1)
    assert sorted((outcome, count) for _badge, count, _percent, outcome in past.outcomes) == [
        ("matched", 1),
        ("not_matched", 1),
        ("throttled", 1),
    ]
    assert len(past.samples) == 3
    assert not RuleDecision.objects.exists()


def test_a_back_test_refuses_settings_that_cannot_be(console, trigger):
    answer = console.post(page_of(make_rule(trigger=trigger), "backtest"), {"hours": "24", "throttle_max": "1"})

    assert problems(answer) == {"throttle_window_seconds": ["This field is required."]}
    assert answer.context["past"] is None


# --- Fields -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"expression": "event.payload.x > 1"},
        {"expression": "{{ event.payload.x }}"},
        {"expression": "[1, 2] == event.payload.x"},
        {"expression": "{'a': 1}.a == 1"},
        {"expression": 3},
        [{"field": "a", "operator": "exists"}],
        {"all": [{"expression": "true"}]},
    ],
)
def test_conditions_come_back_as_they_were_shown(conditions):
    assert ConditionsField(required=False).clean(ConditionsField.text_of(conditions)) == conditions


def test_secrets_are_hidden_and_kept_and_templates_shown():
    schema = {"token": {"secret": True}, "list": {"items": {"properties": {"key": {"secret": True}}}}}
    kept = {"token": "s3cret", "list": [{"key": "k1"}, {"key": "{{ pack.config.key }}"}], "open": "x"}

    shown = hide(schema, kept)

    assert shown == {"token": STARS, "list": [{"key": STARS}, {"key": "{{ pack.config.key }}"}], "open": "x"}
    assert restore(schema, shown, kept) == kept
    assert restore(schema, {"token": "new"}, kept) == {"token": "new"}
    assert restore(schema, {"token": STARS}, {}) == {"token": STARS}


# --- The first page ---------------------------------------------------------------------------------------------


def test_the_first_page_shows_what_is_held_back_and_what_does_not_work(console, trigger):
    make_rule(ref="lab.slow", trigger=trigger, throttle={"max": 1, "window_seconds": 3600})
    action = make_action(pack=make_pack())
    make_rule(ref="lab.lost", trigger=trigger, action=action)
    action.delete()
    for _number in range(3):
        happen(trigger)
    make_event(trigger=trigger, processed_at=None)
    Timer.objects.create(
        rule=1, rule_ref="lab.timer", trigger_ref="core.crontimer", kind="cron", spec={}, state="invalid", error="x",
        anchored_at=timezone.now(), last_missed_at=timezone.now(),
    )  # fmt: skip

    context = console.get("/admin/").context

    assert (context["events"], context["undecided"], context["held_back"]) == ("4", "1", 2)
    assert [(row["rule_ref"], row["outcome"], row["count"]) for row in context["holding"]] == [
        ("lab.slow", "throttled", 2)
    ]
    assert {enforcement.rule_ref for enforcement in context["nothing_started"]} == {"lab.lost"}
    assert [timer.rule_ref for timer in context["invalid_timers"]] == ["lab.timer"]
    assert [timer.rule_ref for timer in context["late_timers"]] == ["lab.timer"]
    assert console.get(context["holding"][0]["url"]).context["cl"].result_count == 2
