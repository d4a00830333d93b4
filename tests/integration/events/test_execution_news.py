"""What the product itself tells: ends of executions, lost workers, failures that a rule wants to hear of."""

from typing import Any

import pytest

from apps.events.alerts import Alert, raise_alert
from apps.events.models import Event, Trigger
from apps.events.services import EventRequest, store_event
from apps.executions.models import Execution
from apps.executions.settling import settle
from apps.executions.states import Status
from apps.executions.transitions import Step, transition
from apps.rules.models import RuleDecision
from tests.factories import make_action, make_execution, make_pack, make_rule, make_trigger, make_worker

pytestmark = pytest.mark.django_db


@pytest.fixture
def finished() -> Trigger:
    return make_trigger(ref="core.execution_finished", pack=make_pack(ref="core"))


@pytest.fixture
def alert() -> Trigger:
    return make_trigger(ref="core.alert")


def end(status: Status = Status.FAILED, **fields: Any) -> Execution:
    execution = make_execution(status=Status.RUNNING, **fields)
    step = Step(source=Status.RUNNING, target=status, actor="sweep")
    assert transition(execution, step, result={"error": "broken", "succeeded": False}, exit_code=3, duration_ms=12)
    return execution


def test_end_is_told_while_a_rule_listens(finished: Trigger) -> None:
    end()
    rule = make_rule(trigger=finished, conditions={"expression": "event.payload.status == 'failed'"})

    execution = end()

    event = Event.objects.get()
    assert (event.source, event.source_ref, event.correlation_id) == (None, "system", execution.correlation_id)
    payload = event.payload
    assert (payload["execution_id"], payload["action_ref"], payload["status"]) == (
        execution.pk, execution.action_ref, "failed",
    )  # fmt: skip
    assert (payload["error"], payload["exit_code"], payload["duration_ms"]) == ("broken", 3, 12)
    assert set(payload) == {
        "execution_id", "action_ref", "pack_ref", "status", "error", "exit_code", "duration_ms", "retry_count",
        "rule_ref", "trigger_ref", "correlation_id", "started_at", "finished_at",
    }  # fmt: skip
    assert Execution.objects.get(rule_ref=rule.ref).trigger_ref == finished.ref


def test_rule_that_reacts_to_failures_does_not_loop_on_itself(finished: Trigger) -> None:
    rule = make_rule(trigger=finished)
    end()
    started = Execution.objects.get(rule_ref=rule.ref)

    Execution.objects.filter(pk=started.pk).update(status=Status.RUNNING)
    started.refresh_from_db()
    assert transition(started, Step(source=Status.RUNNING, target=Status.FAILED, actor="sweep"), result={})

    assert Event.objects.count() == 1


def test_children_and_attempts_that_are_repeated_are_not_told(finished: Trigger) -> None:
    make_rule(trigger=finished)
    execution = make_execution(status=Status.RUNNING)
    step = Step(source=Status.RUNNING, target=Status.FAILED, actor="sweep")

    assert transition(execution, step, repeated=True, result={})
    end(parent=make_execution(status=Status.RUNNING))

    assert not Event.objects.exists()


def test_lost_worker_raises_one_alert(alert: Trigger) -> None:
    worker = make_worker(lease_seconds=-1)
    execution = make_execution(status=Status.RUNNING, worker=worker, epoch=1)
    told_of = make_execution(status=Status.RUNNING, worker=worker, epoch=1, trigger_ref=alert.ref)

    settle(worker, Execution.objects.filter(pk__in=[execution.pk, told_of.pk]), reason="worker_unavailable")

    event = Event.objects.get(trigger_ref="core.alert")
    assert (event.payload["severity"], event.payload["category"]) == ("error", "execution")
    assert (event.payload["failure_type"], event.payload["component_type"]) == ("worker_unavailable", "execution")
    assert event.payload["correlation_id"] == f"execution:{execution.pk}:worker_unavailable"


def test_one_event_for_each_correlation_id(alert: Trigger) -> None:
    case = Alert(
        severity="warning", category="sensor", failure_type="crashed", component_type="sensor", summary="It crashed",
        correlation_id="sensor:1:streak:1",
    )  # fmt: skip

    assert raise_alert(case) is not None
    assert raise_alert(case) is None
    assert Event.objects.count() == 1


def test_failure_of_a_rule_that_wants_to_hear_of_it(alert: Trigger) -> None:
    rule = make_rule(alert_on_failure=True)
    quiet = make_rule()

    end(rule_ref=rule.ref)
    end(rule_ref=quiet.ref)
    end(Status.COMPLETED, rule_ref=rule.ref)
    end(rule_ref=rule.ref, trigger_ref="core.alert")

    event = Event.objects.get()
    assert (event.payload["failure_type"], event.payload["details"]["rule_ref"]) == ("rule_execution_failed", rule.ref)
    assert "broken" in event.payload["summary"]


def test_fault_of_a_listening_rule_never_undoes_the_end(finished: Trigger) -> None:
    unusable = make_action(strict_parameters=True, param_schema={"type": "object", "properties": {"a": {"type": "?"}}})
    rule = make_rule(trigger=finished, action=unusable)

    execution = end()

    assert Execution.objects.get(pk=execution.pk).status == "failed"
    decision = RuleDecision.objects.get()
    assert (decision.rule, decision.outcome) == (rule, "error")


def test_more_rules_than_one_statement_takes() -> None:
    trigger, pack = make_trigger(), make_pack()
    action = make_action(pack=pack)
    for _ in range(1001):
        make_rule(
            trigger=trigger, pack=pack, action=action, conditions=[{"field": "a", "operator": "equals", "value": 1}]
        )

    event = store_event(EventRequest(trigger=trigger, payload={}))

    assert RuleDecision.objects.filter(event=event.pk).count() == 1001
