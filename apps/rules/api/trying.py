"""Try rules: the tester and the back-test (api.md 10.2, 10.3). Both store and run nothing."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import clock
from apps.core.api import envelopes
from apps.core.api.views import AttuneViewSet
from apps.core.errors import BadRequest, NotFound, ValidationFailed
from apps.executions.api.serializers import wire
from apps.identity.grants import Facts
from apps.rules.api.trying_bodies import (
    BacktestBody,
    BacktestSerializer,
    DraftBacktestBody,
    DraftRuleTestBody,
    RuleTestBody,
    RuleTestSerializer,
)
from apps.rules.backtest import Report, Sample, Span, backtest
from apps.rules.conditions import check_conditions
from apps.rules.drafts import REPLACED, Draft, draft_of_fields, draft_of_rule
from apps.rules.holding import KINDS, holding_problems, without_nulls
from apps.rules.judging import Judgement
from apps.rules.models import Rule
from apps.rules.tester import imagined_event, stored_event, try_rule

DEFAULT_SPAN: Final = timedelta(hours=24)
LONGEST_SPAN: Final = timedelta(days=30)
DEFAULT_LIMIT: Final = 10_000
DEFAULT_SAMPLES: Final = 20


class TryingViewSet(AttuneViewSet[Rule]):
    """What a rule would make of events."""

    queryset = Rule.objects.select_related("pack", "action", "trigger").order_by("ref")
    noun = "Rule"
    grants: ClassVar = {
        "test": "rules:read",
        "test_draft": "rules:read",
        "backtest": "rules:read",
        "backtest_draft": "rules:read",
    }

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Nothing is changed, so there is no first answer to keep, and no transaction around long work."""
        handler = self.post  # set by as_view
        super().initial(request, *args, **kwargs)
        self.post = handler

    @extend_schema(request=RuleTestBody, responses=RuleTestSerializer)
    def test(self, request: Request, ref: str) -> Response:
        """Try a rule, or a draft of it, on a stored event or on a payload."""
        rule = self.get_object()
        body = self.validated(RuleTestBody)
        return self._test(draft_of_rule(rule, _changes(body)), body)

    @extend_schema(operation_id="rules_test_draft_create", request=DraftRuleTestBody, responses=RuleTestSerializer)
    def test_draft(self, request: Request) -> Response:
        """Try a rule that is named in the body, or one that is not saved."""
        body = self.validated(DraftRuleTestBody)
        return self._test(self._draft(body), body)

    @extend_schema(request=BacktestBody, responses=BacktestSerializer)
    def backtest(self, request: Request, ref: str) -> Response:
        """Try a rule, or a draft of it, on the stored events of its trigger."""
        rule = self.get_object()
        body = self.validated(BacktestBody)
        return self._backtest(draft_of_rule(rule, _changes(body)), body)

    @extend_schema(operation_id="rules_backtest_draft_create", request=DraftBacktestBody, responses=BacktestSerializer)
    def backtest_draft(self, request: Request) -> Response:
        """Try a rule that is named in the body, or one that is not saved, on stored events."""
        body = self.validated(DraftBacktestBody)
        return self._backtest(self._draft(body), body)

    def _draft(self, body: Mapping[str, Any]) -> Draft:
        """Return the rule that the body names or describes. Raises BadRequest unless it does one of both."""
        rule_ref, trigger_ref = body.get("rule_ref"), body.get("trigger_ref")
        if (rule_ref is None) == (trigger_ref is None):
            raise BadRequest("Exactly one of rule_ref and trigger_ref must be given")
        if rule_ref is not None:
            rule = self.get_queryset().filter(ref=rule_ref).first()
            if rule is None:
                raise NotFound(f"Rule '{rule_ref}' not found")
            self.authorize(rule)
            return draft_of_rule(rule, _changes(body))
        return draft_of_fields(
            trigger_ref=str(trigger_ref),
            action_ref=body.get("action_ref"),
            pack_ref=body.get("pack_ref"),
            changes=_changes(body),
        )

    def _test(self, draft: Draft, body: Mapping[str, Any]) -> Response:
        event_id = _event_id(body)
        has_payload = "payload" in self.request.data and not (event_id is not None and body.get("payload") is None)
        if (event_id is None) != has_payload:
            raise BadRequest("Exactly one of event_id and payload must be given")
        if event_id is not None:
            self.caller.require("events:read", Facts(id=event_id))
            event = stored_event(draft, event_id)
        else:
            event = imagined_event(draft, body.get("payload"), body.get("config"))
        return _warned(envelopes.single(_test_data(draft, event_id, try_rule(draft, event))), draft, body)

    def _backtest(self, draft: Draft, body: Mapping[str, Any]) -> Response:
        self.caller.require("events:read", Facts())  # of all events of the trigger
        span = _span(body)
        report = backtest(draft, span, samples=body.get("samples", DEFAULT_SAMPLES))
        return _warned(envelopes.single(_report_data(draft, span, report)), draft, body)


def _changes(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the draft. Raises ValidationFailed for a malformed window."""
    changes = {name: body[name] for name in REPLACED if name in body}
    found = [problem for kind in KINDS for problem in holding_problems(kind, changes.get(kind))]
    if found:
        raise ValidationFailed(details=[{"field": field, "message": message} for field, message in found])
    return {name: without_nulls(value) if name in KINDS else value for name, value in changes.items()}


def _event_id(body: Mapping[str, Any]) -> int | None:
    named = {body[name] for name in ("event_id", "event") if body.get(name) is not None}
    if len(named) > 1:
        raise BadRequest("event_id and event name different events")
    return named.pop() if named else None


def _span(body: Mapping[str, Any]) -> Span:
    until: datetime = body.get("until") or clock.now()
    since: datetime = body.get("since") or until - DEFAULT_SPAN
    if since >= until:
        raise BadRequest("since must be before until")
    if until - since > LONGEST_SPAN:
        raise BadRequest(f"since and until may be at most {LONGEST_SPAN.days} days apart")
    return Span(since=since, until=until, limit=body.get("limit", DEFAULT_LIMIT))


def _warned(response: Response, draft: Draft, body: Mapping[str, Any]) -> Response:
    """Put what is wrong with the syntax of drafted conditions beside the data."""
    if "conditions" in body and (warnings := check_conditions(draft.conditions)):
        response.data["warnings"] = warnings
    return response


def _test_data(draft: Draft, event_id: int | None, judgement: Judgement) -> dict[str, Any]:
    return {
        "rule_ref": draft.rule_ref,
        "event": event_id,
        "outcome": str(judgement.outcome),
        "matched": judgement.matched,
        "reason": judgement.reason,
        "error": judgement.error,
        "rule_enabled": draft.rule_enabled,
        "trigger_enabled": draft.trigger_enabled,
        "rendered_params": judgement.shown_params if judgement.matched else None,
        "params_warnings": list(judgement.params_warnings),
        "trace": list(judgement.steps),
    }


def _report_data(draft: Draft, span: Span, report: Report) -> dict[str, Any]:
    return {
        "rule_ref": draft.rule_ref,
        "since": wire(span.since),
        "until": wire(span.until),
        "events_examined": report.events_examined,
        "outcomes": {str(outcome): number for outcome, number in sorted(report.outcomes.items())},
        "truncated": report.next_since is not None,
        "next_since": wire(report.next_since),
        "oldest_event_at": wire(report.oldest_event_at),
        "buckets": [
            {"bucket": wire(hour), "events": bucket.events, "matched": bucket.matched}
            for hour, bucket in sorted(report.buckets.items())
        ],
        "samples": [_sample_data(sample) for sample in report.samples],
    }


def _sample_data(sample: Sample) -> dict[str, Any]:
    judgement = sample.judgement
    return {
        "event": sample.event,
        "created": wire(sample.created),
        "outcome": str(judgement.outcome),
        "reason": judgement.reason,
        "trace": list(judgement.steps),
        "rendered_params": judgement.shown_params if judgement.matched else None,
    }
