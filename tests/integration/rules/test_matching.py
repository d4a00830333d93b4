"""From a stored event to decisions, enforcements and executions (events.md sections 3 to 7)."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import JSONField, Value

from apps.core import clock
from apps.events.models import Event, Trigger
from apps.events.rule_port import RuleUse
from apps.events.services import EventRequest, store_event
from apps.executions.models import Execution
from apps.executions.secrets import real_config
from apps.rules.models import Enforcement, Rule, RuleDecision, RuleWindow
from apps.rules.sweep import decide_undecided
from tests.factories import make_action, make_event, make_identity, make_pack, make_rule, make_trigger

pytestmark = pytest.mark.django_db


def happen(trigger: Trigger, payload: Any = None, **fields: Any) -> Event:
    return store_event(EventRequest(trigger=trigger, payload=payload, **fields))


def use_of(rule: Rule) -> RuleUse:
    return RuleUse(
        id=rule.pk,
        ref=rule.ref,
        trigger_id=rule.trigger_id,
        trigger_ref=rule.trigger_ref,
        trigger_params=rule.trigger_params,
        enabled=rule.enabled,
    )


def outcomes(event: Event) -> dict[str, str]:
    return dict(RuleDecision.objects.filter(event=event.pk).values_list("rule_ref", "outcome"))


def test_conditions_that_are_null_in_the_column_always_hold() -> None:
    trigger = make_trigger()
    rule, other = make_rule(trigger=trigger), make_rule(trigger=trigger)
    Rule.objects.filter(pk=rule.pk).update(conditions=Value(None, JSONField()))

    event = happen(trigger, {"host": "db1"})

    assert outcomes(event) == {rule.ref: "matched", other.ref: "matched"}
    assert Enforcement.objects.get(rule=rule).conditions == {}


def test_each_rule_decides_once_and_a_match_starts_one_execution() -> None:
    trigger = make_trigger()
    matching = make_rule(
        trigger=trigger,
        conditions={"expression": "event.payload.free_mb < 100"},
        action_params={
            "message": "{{ event.payload.host }} has {{ event.payload.free_mb }} MB",
            "mb": "{{ event.payload.free_mb }}",
        },
        priority=7,
        permission_set_refs=[],
        owner_identity=make_identity(),
    )
    other = make_rule(trigger=trigger, conditions=[{"field": "host", "operator": "equals", "value": "db2"}])
    make_rule(trigger=trigger, enabled=False)
    make_rule()

    event = happen(trigger, {"host": "db1", "free_mb": 12})

    assert outcomes(event) == {matching.ref: "matched", other.ref: "not_matched"}
    enforcement = Enforcement.objects.get()
    assert (enforcement.rule, enforcement.event, enforcement.status) == (matching, event.pk, "processed")
    assert (enforcement.payload, enforcement.condition) == ({"host": "db1", "free_mb": 12}, "all")
    assert enforcement.conditions == matching.conditions
    assert enforcement.resolved_at is not None
    execution = Execution.objects.get()
    assert execution.config == enforcement.config == {"message": "db1 has 12 MB", "mb": 12}
    assert (execution.enforcement, execution.rule_ref, execution.trigger_ref) == (
        enforcement.pk, matching.ref, trigger.ref,
    )  # fmt: skip
    assert (execution.priority, execution.executor, execution.permission_set_refs) == (7, matching.owner_identity, [])
    assert execution.correlation_id == event.correlation_id
    decision = RuleDecision.objects.get(rule=matching)
    assert (decision.enforcement, decision.event, decision.trigger_ref) == (enforcement, event.pk, trigger.ref)


def test_without_owner_and_sets_the_defaults_of_the_action_count() -> None:
    action = make_action(default_execution_permission_set_refs=["core.viewer"], priority=3)
    rule = make_rule(action=action)

    happen(rule.trigger)

    execution = Execution.objects.get()
    assert execution.executor is not None
    assert (execution.executor.login, execution.priority, execution.permission_set_refs) == (
        "system", 3, ["core.viewer"],
    )  # fmt: skip


def test_bound_event_is_looked_at_by_its_rule_alone() -> None:
    trigger = make_trigger()
    bound, other = make_rule(trigger=trigger), make_rule(trigger=trigger)

    event = happen(trigger, {}, rule=use_of(bound))

    assert outcomes(event) == {bound.ref: "matched"}
    assert (event.rule, event.rule_ref) == (bound.pk, bound.ref)
    assert not RuleDecision.objects.filter(rule=other).exists()


def test_bound_to_a_disabled_rule_says_so() -> None:
    rule = make_rule(enabled=False)

    event = happen(rule.trigger, {}, rule=use_of(rule))

    assert outcomes(event) == {rule.ref: "rule_disabled"}
    assert not Enforcement.objects.exists()


def test_disabled_trigger_keeps_its_events_and_starts_nothing() -> None:
    rule = make_rule(trigger=make_trigger(enabled=False))

    event = happen(rule.trigger, {})

    assert outcomes(event) == {rule.ref: "trigger_disabled"}
    assert not Execution.objects.exists()


@pytest.mark.parametrize("gone", ["action", "trigger"])
def test_what_is_gone_is_named_by_the_decision(gone: str) -> None:
    trigger = make_trigger()
    rule = make_rule(trigger=trigger)
    ref = getattr(rule, gone).ref
    getattr(rule, gone).delete()
    again = make_trigger(ref=trigger.ref) if gone == "trigger" else trigger

    event = happen(again, {})

    decision = RuleDecision.objects.get(event=event.pk)
    assert decision.enforcement is not None
    assert (decision.enforcement.status, decision.enforcement.resolved_at is not None) == ("disabled", True)
    assert f"{gone} '{ref}'" in (decision.reason or "")
    assert not Execution.objects.exists()


def test_a_changed_rule_action_or_pack_counts_at_once() -> None:
    rule = make_rule(
        pack=make_pack(config={"greeting": "hello"}), action_params={"message": "{{ pack.config.greeting }}"}
    )
    happen(rule.trigger, {})
    rule.pack.set(config={"greeting": "good day"})
    happen(rule.trigger, {})
    rule.set(action_params={"message": "bye"})
    happen(rule.trigger, {})
    rule.set(enabled=False)
    happen(rule.trigger, {})

    messages = [execution.config["message"] for execution in Execution.objects.order_by("pk")]

    assert messages == ["hello", "good day", "bye"]


def test_error_in_the_expression_is_kept_with_the_decision() -> None:
    rule = make_rule(conditions={"expression": "event.payload.count > 3"})

    event = happen(rule.trigger, {"other": 1})

    decision = RuleDecision.objects.get(event=event.pk)
    assert (decision.outcome, decision.enforcement) == ("error", None)
    assert "count" in (decision.error or "")


def test_event_without_payload_matches_whatever_the_conditions_say() -> None:
    rule = make_rule(conditions={"expression": "event.payload.count > 3"})

    assert outcomes(happen(rule.trigger)) == {rule.ref: "matched"}
    assert Enforcement.objects.get().payload == {}


def test_strict_action_refuses_what_violates_its_schema() -> None:
    action = make_action(strict_parameters=True, param_schema={"count": {"type": "integer", "required": True}})
    rule = make_rule(action=action, action_params={"count": "{{ event.payload.count }}"})

    first, second = happen(rule.trigger, {"count": "many"}), happen(rule.trigger, {"count": 2})

    assert (outcomes(first), outcomes(second)) == ({rule.ref: "error"}, {rule.ref: "matched"})
    assert Execution.objects.get().config == {"count": 2}


def test_parameters_over_a_mebibyte_are_an_error() -> None:
    rule = make_rule(action_params={"text": "{{ event.payload.text }}", "again": "{{ event.payload.text }}"})

    event = happen(rule.trigger, {"text": "x" * 600_000})

    decision = RuleDecision.objects.get(event=event.pk)
    assert (decision.outcome, decision.enforcement) == ("error", None)
    assert "larger than 1,048,576 bytes" in (decision.error or "")


def test_secrets_are_marked_in_enforcement_and_decision() -> None:
    marker = {"$attune_secret": True, "redacted": True}
    pack = make_pack(config={"token": "s3cret-c"}, conf_schema={"token": {"type": "string", "secret": True}})
    action = make_action(param_schema={"password": {"type": "string", "secret": True}, "plain": {"type": "string"}})
    trigger = make_trigger(out_schema={"pin": {"type": "string", "secret": True}})
    rule = make_rule(
        pack=pack,
        action=action,
        trigger=trigger,
        conditions=[{"field": "pin", "operator": "equals", "value": "other"}],
    )
    refused = happen(trigger, {"pin": "s3cret-p"})
    rule.set(conditions={}, action_params={"password": "{{ pack.config.token }}", "plain": "{{ pack.config.token }}"})

    happen(trigger, {"pin": "s3cret-p"})

    assert Enforcement.objects.get().config == {"password": marker, "plain": None}
    execution = Execution.objects.get()
    assert execution.config == {"password": marker, "plain": None}
    assert real_config(execution) == {"password": "s3cret-c", "plain": None}
    decision = RuleDecision.objects.get(event=refused.pk)
    assert "s3cret" not in f"{decision.criteria} {decision.reason} {decision.error}"


def test_undecided_events_are_decided_by_the_sweep_once() -> None:
    rule = make_rule()
    event = make_event(trigger=rule.trigger, payload={"a": 1}, processed_at=None)

    assert decide_undecided() == 1
    assert decide_undecided() == 0
    assert outcomes(event) == {rule.ref: "matched"}
    assert Execution.objects.count() == 1


def test_windows_hold_back_and_say_so() -> None:
    rule = make_rule(
        dedupe={"key": "{{ event.payload.id }}", "window_seconds": 60}, throttle={"max": 1, "window_seconds": 60}
    )

    events = [happen(rule.trigger, {"id": number}) for number in (1, 1, 2)]

    decisions = [RuleDecision.objects.get(event=event.pk) for event in events]
    assert [decision.outcome for decision in decisions] == ["matched", "deduplicated", "throttled"]
    assert [decision.key for decision in decisions] == [None, "1", None]
    assert all(decision.reason for decision in decisions[1:])
    assert Execution.objects.count() == 1


def test_delayed_execution_waits_for_its_turn() -> None:
    rule = make_rule(throttle={"max": 1, "window_seconds": 60, "on_limit": "delay"})
    before = clock.now()

    events = [happen(rule.trigger, {}) for _ in range(2)]

    assert outcomes(events[1]) == {rule.ref: "delayed"}
    first, second = Execution.objects.order_by("pk")
    assert first.not_before is None
    assert second.not_before is not None
    assert second.not_before >= before + timedelta(seconds=60)


def test_aggregate_shows_its_events_to_the_templates() -> None:
    rule = make_rule(
        aggregate={"count": 3, "window_seconds": 60, "key": "{{ event.payload.host }}"},
        action_params={
            "count": "{{ aggregate.count }}",
            "ids": "{{ aggregate.event_ids }}",
            "payloads": "{{ aggregate.payloads }}",
            "key": "{{ aggregate.key }}",
            "first": "{{ aggregate.first_created }}",
            "last": "{{ aggregate.last_created }}",
        },
    )

    events = [happen(rule.trigger, {"host": "a", "n": number}) for number in range(3)]

    assert [outcomes(event)[rule.ref] for event in events] == ["aggregating", "aggregating", "matched"]
    assert Execution.objects.get().config == {
        "count": 3,
        "ids": [event.pk for event in events],
        "payloads": [{"host": "a", "n": number} for number in range(3)],
        "key": "a",
        "first": clock.as_text(events[0].created),
        "last": clock.as_text(events[-1].created),
    }
    assert not RuleWindow.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_limits_hold_among_simultaneous_events() -> None:
    rule = make_rule(throttle={"max": 5, "window_seconds": 600})
    deduplicated = make_rule(trigger=rule.trigger, dedupe={"key": "{{ event.payload.id }}", "window_seconds": 600})

    def store(number: int) -> None:
        try:
            happen(rule.trigger, {"id": number % 3})
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store, range(40)))

    assert Enforcement.objects.filter(rule=rule).count() == 5
    assert Enforcement.objects.filter(rule=deduplicated).count() == 3
    assert RuleDecision.objects.count() == 80
    assert Execution.objects.count() == 8


def test_a_known_rule_costs_few_queries(django_assert_max_num_queries: Any) -> None:
    trigger = make_trigger()
    make_rule(trigger=trigger, conditions={"expression": "event.payload.n > 100"})
    happen(trigger, {"n": 1})
    with django_assert_max_num_queries(9) as few:
        happen(trigger, {"n": 1})
    for _ in range(10):
        make_rule(trigger=trigger, conditions={"expression": "event.payload.n > 100"})
    happen(trigger, {"n": 1})

    with django_assert_max_num_queries(len(few.captured_queries)):
        happen(trigger, {"n": 1})
