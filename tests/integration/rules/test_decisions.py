"""Decisions and enforcements over HTTP."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.rules.models import Enforcement, EnforcementStatus, Outcome, RuleDecision
from tests.clients import signed_in
from tests.factories import make_event, make_execution, make_identity, make_rule

pytestmark = pytest.mark.django_db

ENFORCEMENTS = "/api/v1/enforcements"


def make_enforcement(rule=None, **fields):
    rule = rule or make_rule()
    defaults = {"rule": rule, "rule_ref": rule.ref, "trigger_ref": rule.trigger_ref, "payload": {"a": 1}}
    return Enforcement.objects.create(**{**defaults, **fields})


def make_decision(rule=None, **fields):
    rule = rule or make_rule()
    event = fields.pop("event", None) or make_event(trigger=rule.trigger).pk
    defaults = {"rule": rule, "rule_ref": rule.ref, "trigger_ref": rule.trigger_ref, "outcome": "not_matched"}
    return RuleDecision.objects.create(**{**defaults, "event": event, "duration_us": 5, **fields})


def ids(answer):
    assert answer.status_code == 200, answer.json()
    return [row["id"] for row in answer.json()["data"]]


# --- Decisions --------------------------------------------------------------------------------------------------


def test_a_decision_shows_what_came_of_it(api):
    rule = make_rule()
    enforcement = make_enforcement(rule)
    executions = [
        make_execution(enforcement=enforcement.pk),
        make_execution(enforcement=enforcement.pk, retry_count=1),
    ]
    step = {"index": 0, "kind": "always", "result": True, "error": None}
    decision = make_decision(rule, outcome="matched", enforcement=enforcement, criteria=[step], reason="r", key="k")

    (row,) = api.get(f"/api/v1/rules/{rule.ref}/decisions").json()["data"]

    created = row.pop("created")
    assert created.endswith("Z")
    assert row == {
        "id": decision.pk,
        "event": decision.event,
        "rule": rule.pk,
        "rule_ref": rule.ref,
        "trigger_ref": rule.trigger_ref,
        "outcome": "matched",
        "matched": True,
        "reason": "r",
        "error": None,
        "key": "k",
        "trace": [step],
        "params_warnings": [],
        "enforcement": enforcement.pk,
        "executions": [execution.pk for execution in executions],
        "duration_us": 5,
    }


def test_decisions_of_a_rule_newest_first_and_filtered(api):
    rule = make_rule()
    by_outcome = {outcome: make_decision(rule, outcome=outcome).pk for outcome in Outcome.values}
    make_decision()
    path = f"/api/v1/rules/{rule.ref}/decisions"

    assert ids(api.get(path)) == list(reversed(by_outcome.values()))
    assert ids(api.get(f"{path}?outcome=throttled")) == [by_outcome["throttled"]]
    assert ids(api.get(f"{path}?outcome=error,matched")) == [by_outcome["error"], by_outcome["matched"]]
    assert ids(api.get(f"{path}?matched=true")) == [by_outcome["delayed"], by_outcome["matched"]]
    assert len(ids(api.get(f"{path}?matched=false"))) == len(Outcome.values) - 2
    newest = RuleDecision.objects.get(pk=by_outcome["rule_disabled"])
    assert ids(api.get(f"{path}?event={newest.event}")) == [newest.pk]
    stamp = newest.created.isoformat().replace("+00:00", "Z")
    assert newest.pk in ids(api.get(f"{path}?created_after={stamp}"))
    assert newest.pk not in ids(api.get(f"{path}?created_before={stamp}"))
    first = api.get(f"{path}?per_page=4").json()
    rest = api.get(f"{path}?per_page=100&cursor={first['pagination']['next_cursor']}")
    assert [*(row["id"] for row in first["data"]), *ids(rest)] == list(reversed(by_outcome.values()))


def test_decisions_on_an_event(api):
    event = make_event()
    decisions = [make_decision(make_rule(trigger=event.trigger), event=event.pk) for _ in range(3)]
    make_decision()
    path = f"/api/v1/events/{event.pk}/decisions"

    assert ids(api.get(path)) == [decision.pk for decision in reversed(decisions)]
    assert ids(api.get(f"{path}?rule_ref={decisions[1].rule_ref}")) == [decisions[1].pk]


@pytest.mark.parametrize("query", ["outcome=maybe", "matched=2", "event=x", "created_after=soon", "cursor=x"])
def test_a_bad_filter_of_decisions(api, query):
    rule, event = make_rule(), make_event()

    for path in (f"/api/v1/rules/{rule.ref}/decisions", f"/api/v1/events/{event.pk}/decisions"):
        assert api.get(f"{path}?{query}").status_code == 400


def test_decisions_of_what_is_not_there(api):
    for path in ("/api/v1/rules/no.no/decisions", f"/api/v1/events/{2**63}/decisions", "/api/v1/events/7/decisions"):
        assert api.get(path).status_code == 404
    assert api.get("/api/v1/events/x/decisions").status_code == 400


def test_decisions_are_for_those_who_may_read_the_rule(api):
    decision = make_decision()

    nobody = signed_in(make_identity())

    assert nobody.get(f"/api/v1/rules/{decision.rule_ref}/decisions").status_code == 404
    assert nobody.get(f"/api/v1/events/{decision.event}/decisions").status_code == 404
    assert ids(api.get(f"/api/v1/events/{decision.event}/decisions")) == [decision.pk]


def test_a_list_of_decisions_asks_the_same_whatever_its_length(api):
    rule = make_rule()

    def matched():
        enforcement = make_enforcement(rule)
        make_execution(enforcement=enforcement.pk)
        make_decision(rule, outcome="matched", enforcement=enforcement)

    matched()
    path = f"/api/v1/rules/{rule.ref}/decisions"
    with CaptureQueriesContext(connection) as one:
        api.get(path)
    matched(), matched()
    with CaptureQueriesContext(connection) as three:
        assert len(ids(api.get(path))) == 3
    assert len(one) == len(three)


# --- Enforcements -----------------------------------------------------------------------------------------------


def test_an_enforcement_in_full_and_as_a_summary(api):
    rule = make_rule()
    event = make_event(trigger=rule.trigger)
    enforcement = make_enforcement(rule, event=event.pk, config={"x": 1}, conditions={"expression": "true"})

    (summary,) = api.get(ENFORCEMENTS).json()["data"]
    data = api.get(f"{ENFORCEMENTS}/{enforcement.pk}").json()["data"]

    told = {
        "id": enforcement.pk, "rule": rule.pk, "rule_ref": rule.ref, "trigger_ref": rule.trigger_ref,
        "event": event.pk, "status": "created", "condition": "all", "created": summary["created"],
    }  # fmt: skip
    assert summary == told
    assert data == {
        **told, "config": {"x": 1}, "payload": {"a": 1}, "conditions": {"expression": "true"}, "resolved_at": None,
    }  # fmt: skip


def test_enforcements_newest_first_and_filtered(api):
    rule = make_rule()
    first = make_enforcement(rule, event=7)
    second = make_enforcement(rule, event=8, status=EnforcementStatus.PROCESSED)
    other = make_enforcement(status=EnforcementStatus.DISABLED)

    assert ids(api.get(ENFORCEMENTS)) == [other.pk, second.pk, first.pk]
    assert ids(api.get(f"{ENFORCEMENTS}?rule={rule.pk}")) == [second.pk, first.pk]
    assert ids(api.get(f"{ENFORCEMENTS}?event=8")) == [second.pk]
    assert ids(api.get(f"{ENFORCEMENTS}?status=processed,disabled")) == [other.pk, second.pk]
    assert ids(api.get(f"{ENFORCEMENTS}?rule_ref={other.rule_ref}")) == [other.pk]
    assert ids(api.get(f"{ENFORCEMENTS}?trigger_ref={rule.trigger_ref.split('.')[0]}.*")) == [second.pk, first.pk]
    assert ids(api.get(f"{ENFORCEMENTS}?rule={rule.pk}&status=created")) == [first.pk]
    assert ids(api.get(f"{ENFORCEMENTS}?created_before=2020-01-01")) == []
    assert ids(api.get(f"{ENFORCEMENTS}?per_page=1&order=asc")) == [first.pk]
    assert api.get(f"{ENFORCEMENTS}?per_page=1000").json()["pagination"]["effective_page_size"] == 1000


@pytest.mark.parametrize("query", ["rule=x", "event=1.5", "status=done", "created_after=x", "page=x"])
def test_a_bad_filter_of_enforcements(api, query):
    answer = api.get(f"{ENFORCEMENTS}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")


def test_an_enforcement_that_is_not_there(api):
    assert [api.get(f"{ENFORCEMENTS}/{pk}").status_code for pk in ("7", 2**70, "x")] == [404, 404, 400]
    assert ids(api.get(f"{ENFORCEMENTS}/7/executions")) == []


def test_executions_of_an_enforcement(api):
    enforcement = make_enforcement()
    execution = make_execution(enforcement=enforcement.pk)
    make_execution()

    assert ids(api.get(f"{ENFORCEMENTS}/{enforcement.pk}/executions")) == [execution.pk]
    assert ids(api.get(f"/api/v1/executions/enforcement/{enforcement.pk}")) == [execution.pk]


def test_who_may_read_enforcements():
    enforcement = make_enforcement()
    nobody = signed_in(make_identity())

    answer = nobody.get(f"{ENFORCEMENTS}/{enforcement.pk}")

    assert (answer.status_code, answer.json()["error"]) == (403, "Insufficient permissions: enforcements:read")
    assert nobody.get(f"{ENFORCEMENTS}/{enforcement.pk + 1}").status_code == 404
    assert ids(nobody.get(ENFORCEMENTS)) == []


def test_secret_values_take_a_grant_of_their_own(api):
    enforcement = make_enforcement()
    path = f"{ENFORCEMENTS}/{enforcement.pk}?include_secret_values"

    assert api.get(f"{path}=true").json()["error"] == "Insufficient permissions: enforcements:decrypt"
    assert (api.get(f"{path}=false").status_code, api.get(f"{path}=maybe").status_code) == (200, 400)


def test_nobody_writes_enforcements_and_decisions(api):
    decision, enforcement = make_decision(), make_enforcement()

    codes = [
        api.post(ENFORCEMENTS, {}), api.put(f"{ENFORCEMENTS}/{enforcement.pk}", {}),
        api.delete(f"{ENFORCEMENTS}/{enforcement.pk}"), api.post(f"/api/v1/rules/{decision.rule_ref}/decisions", {}),
    ]  # fmt: skip
    assert [answer.status_code for answer in codes] == [405] * 4


def test_a_list_of_enforcements_asks_the_same_whatever_its_length(api):
    make_enforcement()
    with CaptureQueriesContext(connection) as one:
        api.get(ENFORCEMENTS)
    make_enforcement(), make_enforcement()
    with CaptureQueriesContext(connection) as three:
        assert len(ids(api.get(ENFORCEMENTS))) == 3
    assert len(one) == len(three)


def test_what_a_deleted_rule_has_decided_stays(api):
    rule = make_rule()
    event = make_event(trigger=rule.trigger, rule=rule.pk, rule_ref=rule.ref)
    enforcement = make_enforcement(rule, event=event.pk)
    decision = make_decision(rule, event=event.pk, outcome="matched", enforcement=enforcement)

    api.delete(f"/api/v1/rules/{rule.ref}")

    for row in (decision, enforcement, event):
        row.refresh_from_db()
        assert row.rule_ref == rule.ref
    assert (decision.rule, enforcement.rule, event.rule) == (None, None, None)
    (shown,) = api.get(f"/api/v1/events/{event.pk}/decisions").json()["data"]
    assert (shown["rule"], shown["rule_ref"], shown["enforcement"]) == (None, rule.ref, enforcement.pk)
