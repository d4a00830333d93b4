"""
What one rule makes of one event: criteria, windows, parameters. No queries of its own.

One evaluator for the engine, the tester and the back-test; they differ in the store of the windows alone.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from apps.core import clock
from apps.core.expressions import Lazy, Scope
from apps.core.markers import emptied, marked
from apps.core.schemas import secret_paths, violations
from apps.rules.conditions import evaluate_conditions
from apps.rules.mapping import SecretScope, render_key, render_params
from apps.rules.windows import SHOWN_PAYLOADS, Aggregated, Entry, Passage, Windows, WindowStore, pass_windows

_NO_WINDOWS = Windows()
# U+0000 and lone surrogates, as JSON of ASCII spells them: PostgreSQL keeps neither. An escaped backslash comes first,
# so that the text "\\u0000" is left alone; a pair of surrogates is one character and stays.
_UNSTORABLE = re.compile(r"(\\\\)|(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})|\\u0000|\\ud[89a-f][0-9a-f]{2}")


@dataclass(frozen=True, kw_only=True)
class RuleView:
    """What a rule says. ``param_schema`` is the action's, ``secret_config`` names the pack's secret settings."""

    id: int
    ref: str
    conditions: Any
    action_params: Mapping[str, Any]
    windows: Windows = _NO_WINDOWS
    action_ref: str = ""
    param_schema: Any = None
    strict: bool = False
    pack_config: Mapping[str, Any] = field(default_factory=dict)
    secret_config: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class EventView:
    """What happened. ``id`` None: a payload that is tried out. ``out_schema`` (the trigger's) says what is secret."""

    id: int | None
    trigger_id: int | None
    trigger_ref: str
    payload: Any
    config: Any
    source_ref: str | None
    created: datetime
    out_schema: Any = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """
    What became of it. ``params`` are the execution's when it matched, ``shown_params`` the same with secrets marked, ``secrets`` what
    stood there, by JSON pointer.

    ``steps`` is the trace of events.md section 7, ``not_before`` when a throttle delays the execution.
    """

    outcome: str
    reason: str | None = None
    error: str | None = None
    key: str | None = None
    steps: Sequence[Mapping[str, Any]] = ()
    params: Mapping[str, Any] | None = None
    shown_params: Mapping[str, Any] | None = None
    secrets: Mapping[str, Any] = field(default_factory=dict)
    params_warnings: Sequence[Mapping[str, Any]] = ()
    not_before: datetime | None = None

    @property
    def matched(self) -> bool:
        """Whether an enforcement follows."""
        return self.outcome in ("matched", "delayed")

    def because(self, reason: str) -> "Judgement":
        """Return the same with another reason."""
        return replace(self, reason=reason)


def judge(
    rule: RuleView,
    event: EventView,
    *,
    at: datetime,
    windows: WindowStore | None = None,
    payloads_of: Callable[[Sequence[int]], list[Any]] | None = None,
) -> Judgement:
    """
    Judge one rule on one event that happened, or is said to have happened, at ``at``.

    Without a store the windows of the rule are left out: an aggregate fires with this one event. ``payloads_of`` gives
    the payloads of stored events, in the order of their ids, when a template of an aggregating rule asks for them.
    """
    verdict = evaluate_conditions(
        rule.conditions,
        payload=event.payload,
        scope=_scope(rule, event, at, event_roots=_event_of_conditions(event)),
        secrets=secret_paths(event.out_schema, event.payload) if event.out_schema else (),
    )
    if not verdict.matched:
        return Judgement(outcome=verdict.outcome, reason=verdict.reason, error=verdict.error, steps=verdict.steps)
    passage = _pass(rule, _shown_openly(event), at, windows)
    if passage.held_back:
        return Judgement(outcome=str(passage.outcome), reason=passage.reason, key=passage.key, steps=verdict.steps)
    aggregate = _aggregate_roots(passage.aggregated, _shown_openly(event), payloads_of)
    return replace(_with_parameters(rule, event, at, passage, aggregate), steps=verdict.steps, key=passage.key)


def _pass(rule: RuleView, event: EventView, at: datetime, windows: WindowStore | None) -> Passage:
    if not rule.windows:
        return Passage()
    scope = _scope(rule, event, at, event_roots=_event_of_parameters(event))
    if windows is None:
        return Passage(aggregated=_aggregated_alone(rule.windows.aggregate, event, scope))
    entry = Entry(at=at, event_id=event.id or 0)
    return pass_windows(
        rule.windows,
        rule_id=rule.id,
        entry=entry,
        created=event.created,
        store=windows,
        render_key=lambda template: render_key(template, scope),
    )


def _aggregated_alone(settings: Mapping[str, Any] | None, event: EventView, scope: Scope) -> Aggregated | None:
    """Return what a template sees when this event fires an aggregate and those before it are not known."""
    if settings is None:
        return None
    key = settings.get("key")
    return Aggregated(
        count=settings["count"],
        first_created=event.created,
        last_created=event.created,
        event_ids=() if event.id is None else (event.id,),
        key=None if key is None else render_key(key, scope),
    )


# --- Parameters -----------------------------------------------------------------------------------------------------


def _with_parameters(
    rule: RuleView, event: EventView, at: datetime, passage: Passage, aggregate: dict[str, Any]
) -> Judgement:
    everything = _scope(rule, event, at, event_roots=_event_of_parameters(event) | aggregate, with_secrets=True)
    openly = _scope(rule, event, at, event_roots=_event_of_parameters(_shown_openly(event)) | aggregate)
    places = secret_paths(rule.param_schema, rule.action_params) if rule.param_schema else ()
    secret = SecretScope(scope=everything, places=places)
    rendered = render_params(rule.action_params, openly, secret=secret)
    if rendered.error is not None:
        return _error(rendered.error)
    params = storable(rendered.value)
    problems = [problem.message for problem in violations(rule.param_schema, params)] if rule.strict else []
    if problems:
        return _error(f"Invalid parameters for action '{rule.action_ref}': {'; '.join(problems)}")
    shown, secrets = marked(params, secret_paths(rule.param_schema, params) if rule.param_schema else ())
    return Judgement(
        outcome=passage.outcome or "matched",
        reason=passage.reason,
        params=params,
        shown_params=shown,
        secrets=secrets,
        params_warnings=rendered.warnings,
        not_before=passage.not_before,
    )


def _shown_openly(event: EventView) -> EventView:
    """Return the event without its secret values: they are for the secret parameters of actions alone."""
    if not event.out_schema:
        return event
    return replace(event, payload=emptied(event.payload, secret_paths(event.out_schema, event.payload)))


def _error(text: str) -> Judgement:
    return Judgement(outcome="error", reason=text, error=text)


def storable(value: Any) -> Any:
    """Return rendered parameters as both databases keep them: U+0000 and lone surrogates become U+FFFD."""
    text = json.dumps(value, separators=(",", ":"))
    kept = _UNSTORABLE.sub(lambda found: found[0] if found[1] or found[2] else "\\ufffd", text)
    return value if kept == text else json.loads(kept)


# --- What templates and expressions see -------------------------------------------------------------------------------


def _event_of_conditions(event: EventView) -> dict[str, Any]:
    return {"event": {**_event_root(event), "trigger": event.trigger_id}}


def _event_of_parameters(event: EventView) -> dict[str, Any]:
    return {
        "event": {**_event_root(event), "trigger": event.trigger_ref},
        "trigger": {"payload": event.payload, "data": event.payload},
    }


def _event_root(event: EventView) -> dict[str, Any]:
    return {
        "id": event.id,
        "trigger_ref": event.trigger_ref,
        "payload": event.payload,
        "created": clock.as_text(event.created),
        "config": event.config,
        "source_ref": event.source_ref,
    }


def _scope(
    rule: RuleView, event: EventView, at: datetime, *, event_roots: Mapping[str, Any], with_secrets: bool = False
) -> Scope:
    config = rule.pack_config
    if rule.secret_config and not with_secrets:
        config = {name: value for name, value in config.items() if name not in rule.secret_config}
    system = {"timestamp": clock.as_text(at), "rule": {"id": rule.id, "ref": rule.ref}}
    return Scope(roots={**event_roots, "pack": {"config": config}, "system": system}, now=lambda: at)


def _aggregate_roots(
    aggregated: Aggregated | None, event: EventView, payloads_of: Callable[[Sequence[int]], list[Any]] | None
) -> dict[str, Any]:
    if aggregated is None:
        return {}
    newest = aggregated.event_ids[-SHOWN_PAYLOADS:]

    def read() -> dict[str, Any]:
        return {
            "count": aggregated.count,
            "first_created": clock.as_text(aggregated.first_created),
            "last_created": clock.as_text(aggregated.last_created),
            "event_ids": list(aggregated.event_ids),
            "payloads": payloads_of(newest) if payloads_of is not None else [event.payload],
            "key": aggregated.key,
        }

    return {"aggregate": Lazy(read)}
