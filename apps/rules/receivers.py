"""News from below: an event was stored, an execution ended."""

from typing import Any

from apps.events.execution_news import forget_audience
from apps.events.models import Event
from apps.events.rule_port import RuleUse
from apps.executions.models import Execution
from apps.rules import failures, matching


def on_event_stored(*, event: Event, rule: RuleUse | None, **_signal: Any) -> None:
    """Decide the event's rules, in the transaction that stores it."""
    matching.decide(event, rule)


def on_execution_finished(*, execution: Execution, repeated: bool, **_signal: Any) -> None:
    """Alert where a rule asks for it."""
    failures.alert_on_failure(execution, repeated=repeated)


def on_rule_changed(**_signal: Any) -> None:
    """Another rule may listen now."""
    forget_audience()
