"""
From an event to executions, in the transaction that stores the event (events.md sections 3 to 7).

Each rule that is looked at leaves exactly one decision; one that matches leaves an enforcement, and the enforcement
an execution.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError, transaction

from apps.core import clock, sql
from apps.events.models import Event
from apps.events.rule_port import RuleUse
from apps.executions.services import ExecutionRequest, request_execution
from apps.keys import secret_store
from apps.rules.judging import EventView, Judgement, judge
from apps.rules.models import Enforcement, EnforcementStatus, Outcome, Rule, RuleDecision
from apps.rules.views import CurrentRule, current_rule, current_rules, payloads_of, view_of_event
from apps.rules.window_rows import WindowRows

logger = logging.getLogger(__name__)

_ROWS_OF_ONE_INSERT = 500  # SQLite takes 32,766 values in one statement


def decide(event: Event, bound: RuleUse | None) -> None:
    """
    Decide every rule that this event concerns; inside the transaction that stored it.

    A rule that cannot be decided because of a fault of ours gets a decision that says so, and the others theirs.
    Raises DatabaseError when the database is at fault: the event then stays undecided, and the sweep tries again.
    """
    rules = _candidates(event, bound)
    if not rules:
        return
    try:
        with transaction.atomic():
            _decide(event, rules)
    except DatabaseError:
        raise
    except Exception:
        logger.exception("The rules of event %s could not be decided together; each is tried alone", event.pk)
        for rule in rules:
            _decide_alone(event, rule)


def _candidates(event: Event, bound: RuleUse | None) -> Sequence[CurrentRule]:
    if bound is None and event.rule is None:
        return current_rules(event.trigger_ref)
    found = current_rule(bound.id if bound is not None else event.rule)
    return [found] if found is not None else []


def _decide(event: Event, rules: Sequence[CurrentRule]) -> None:
    view = view_of_event(event)
    rows = [_Decision(event, view, rule).row() for rule in rules]
    for start in range(0, len(rows), _ROWS_OF_ONE_INSERT):
        sql.insert(RuleDecision, rows[start : start + _ROWS_OF_ONE_INSERT])


def _decide_alone(event: Event, rule: CurrentRule) -> None:
    try:
        with transaction.atomic():
            _decide(event, [rule])
    except DatabaseError:
        raise
    except Exception as error:
        logger.exception("Rule '%s' could not be decided on event %s", rule.rule.ref, event.pk)
        text = f"The rule could not be decided: {type(error).__name__}: {error}"
        failed = Judgement(outcome=Outcome.ERROR, reason=text, error=text)
        sql.insert(RuleDecision, [decision_row(event, rule.rule, failed, enforcement=None, duration_us=0)])


@dataclass
class _Decision:
    """One rule, one event."""

    event: Event
    view: EventView
    rule: CurrentRule

    def row(self) -> dict[str, Any]:
        """Decide, make what follows from it, and return the row of the decision."""
        began = time.perf_counter_ns()
        judgement, enforcement = self._judge()
        duration_us = (time.perf_counter_ns() - began) // 1000
        return decision_row(
            self.event, self.rule.rule, judgement, enforcement=enforcement, duration_us=min(duration_us, 2**31 - 1)
        )

    def _judge(self) -> tuple[Judgement, int | None]:
        rule, trigger = self.rule.rule, self.event.trigger
        if not rule.enabled:
            return Judgement(outcome=Outcome.RULE_DISABLED, reason=f"The rule '{rule.ref}' is disabled"), None
        if trigger is None or not trigger.enabled:
            reason = f"The trigger '{self.event.trigger_ref}' is {'disabled' if trigger is not None else 'gone'}"
            return Judgement(outcome=Outcome.TRIGGER_DISABLED, reason=reason), None
        judgement = judge(self.rule.view, self.view, windows=WindowRows(), at=clock.now(), payloads_of=payloads_of)
        if judgement.matched:
            return self._enforce(judgement)
        return judgement, None

    def _enforce(self, judgement: Judgement) -> tuple[Judgement, int]:
        missing = self._missing()
        enforcement = self._insert_enforcement(judgement, processed=not missing)
        if missing:
            return judgement.because(missing), enforcement
        self._request(judgement, enforcement)
        return judgement, enforcement

    def _missing(self) -> str:
        """Return what stands in the way of an execution, as a sentence; empty when nothing does."""
        rule = self.rule.rule
        if rule.trigger_id is None:
            return (
                f"The rule is no longer linked to its trigger '{rule.trigger_ref}', which was deleted; save the rule "
                "with an existing trigger"
            )
        if rule.action is None:
            return (
                f"The action '{rule.action_ref}' was deleted, so nothing was started; save the rule with an existing "
                "action"
            )
        return ""

    def _insert_enforcement(self, judgement: Judgement, *, processed: bool) -> int:
        rule = self.rule.rule
        status = EnforcementStatus.PROCESSED if processed else EnforcementStatus.DISABLED
        row = {
            "rule": rule.pk,
            "rule_ref": rule.ref,
            "trigger_ref": self.event.trigger_ref,
            "config": judgement.shown_params,
            "event": self.event.pk,
            "status": status.value,
            "payload": self.event.payload if isinstance(self.event.payload, dict) else {},
            "condition": "all",
            "conditions": rule.conditions if rule.conditions is not None else {},  # null is "always", like none
            "resolved_at": clock.now(),
        }
        (enforcement_id,) = sql.insert_returning(Enforcement, row, ("id",))
        if judgement.secrets:
            secret_store.put(
                secret_store.ENFORCEMENT_CONFIG, enforcement_id, judgement.secrets, source_ref=rule.action_ref
            )
        return int(enforcement_id)

    def _request(self, judgement: Judgement, enforcement: int) -> None:
        rule = self.rule.rule
        assert rule.action is not None
        request_execution(
            ExecutionRequest(
                action=rule.action,
                parameters=judgement.params,
                executor=rule.owner_identity,
                permission_set_refs=rule.permission_set_refs,
                priority=rule.priority,
                not_before=judgement.not_before,
                enforcement=enforcement,
                rule_ref=rule.ref,
                trigger_ref=self.event.trigger_ref,
                correlation_id=self.event.correlation_id,
            )
        )


def decision_row(
    event: Event, rule: Rule, judgement: Judgement, *, enforcement: int | None, duration_us: int
) -> dict[str, Any]:
    """Return the row of a decision, by column."""
    return {
        "event": event.pk,
        "rule": rule.pk,
        "rule_ref": rule.ref,
        "trigger_ref": event.trigger_ref,
        "outcome": str(judgement.outcome),
        "reason": judgement.reason,
        "error": judgement.error,
        "key": judgement.key,
        "criteria": judgement.steps,
        "params_warnings": judgement.params_warnings,
        "enforcement": enforcement,
        "duration_us": duration_us,
    }


@transaction.atomic
def decide_again(event_id: int, now: datetime) -> bool:
    """Decide an event that was stored and not decided; False when somebody else does or has."""
    rows = Event.objects.undecided().select_for_update(no_key=True, skip_locked=True, of=("self",))
    event = rows.select_related("trigger").filter(pk=event_id).first()
    if event is None:
        return False
    decide(event, None)
    Event.objects.filter(pk=event_id).update(processed_at=now)
    return True
