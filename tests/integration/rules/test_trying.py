"""The tester and the back-test."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.events.models import Event
from apps.executions.models import Execution
from apps.rules.backtest import Span, backtest
from apps.rules.drafts import draft_of_rule
from apps.rules.models import Enforcement, RuleDecision, RuleWindow
from tests.factories import make_event, make_rule, make_trigger

pytestmark = pytest.mark.django_db

RULES = "/api/v1/rules"
TOLD = {
    "rule_ref", "event", "outcome", "matched", "reason", "error", "rule_enabled", "trigger_enabled",
    "rendered_params", "params_warnings", "trace",
}  # fmt: skip
CONDITIONS = [
    {"field": "host", "operator": "equals", "value": "db1"},
    {"field": "free_mb", "operator": "equals", "value": 0},
]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def error_of(answer):
    return answer.status_code, answer.json()["code"]


def stored():
    """How much the engine has stored besides events."""
    return [model.objects.count() for model in (RuleDecision, Enforcement, RuleWindow, Execution)]


def events_at(trigger, *seconds, **fields):
    """Events of that many seconds after noon; their payload is ``{"n": <number>}``."""
    return [
        make_event(trigger=trigger, payload={"n": number}, created=NOON + timedelta(seconds=after), **fields)
        for number, after in enumerate(seconds)
    ]


def over_the_day(**changes):
    return {"since": "2026-03-01", "until": "2026-03-02T00:00:00Z", **changes}


# --- Tester -----------------------------------------------------------------------------------------------------


def test_a_payload_that_does_not_match(api):
    rule = make_rule(conditions=CONDITIONS, enabled=False)

    data = api.post(f"{RULES}/{rule.ref}/test", {"payload": {"host": "db1", "free_mb": 812}}).json()["data"]

    assert set(data) == TOLD
    assert (data["rule_ref"], data["event"], data["outcome"], data["matched"]) == (
        rule.ref, None, "not_matched", False,
    )  # fmt: skip
    assert (data["rule_enabled"], data["trigger_enabled"], data["rendered_params"]) == (False, True, None)
    assert "812" in data["reason"]
    assert [(step["index"], step["kind"], step["field"], step["result"]) for step in data["trace"]] == [
        (0, "field", "host", True), (1, "field", "free_mb", False),
    ]  # fmt: skip
    assert data["trace"][1] == {
        "index": 1, "kind": "field", "field": "free_mb", "operator": "equals", "value": 0, "actual": 812,
        "result": False, "error": None,
    }  # fmt: skip


def test_a_match_shows_the_parameters(api):
    rule = make_rule(action_params={"text": "on {{ event.payload.host }}", "gone": "{{ event.payload.no }}"})

    data = api.post(f"{RULES}/{rule.ref}/test", {"payload": {"host": "db1"}}).json()["data"]

    assert (data["outcome"], data["rendered_params"]) == ("matched", {"text": "on db1", "gone": None})
    (warning,) = data["params_warnings"]
    assert (set(warning), warning["template"]) == ({"path", "template", "error"}, "{{ event.payload.no }}")


def test_a_stored_event(api):
    rule = make_rule(conditions=CONDITIONS, action_params={"id": "{{ event.id }}"})
    event = make_event(trigger=rule.trigger, payload={"host": "db1", "free_mb": 0})

    by_id, by_alias = [api.post(f"{RULES}/{rule.ref}/test", {name: event.pk}).json() for name in ("event_id", "event")]

    assert by_id == by_alias
    assert (by_id["data"]["event"], by_id["data"]["rendered_params"]) == (event.pk, {"id": event.pk})


def test_nothing_is_stored_and_nothing_runs(api):
    rule = make_rule(throttle={"max": 1, "window_seconds": 60})
    event = make_event(trigger=rule.trigger, payload={})

    for sent in ({"payload": {}}, {"event_id": event.pk}) * 2:
        assert api.post(f"{RULES}/{rule.ref}/test", sent).json()["data"]["outcome"] == "matched"
    assert api.post(f"{RULES}/{rule.ref}/backtest", {}).status_code == 200

    assert stored() == [0, 0, 0, 0]
    assert Event.objects.count() == 1


def test_a_draft_of_a_stored_rule(api):
    rule = make_rule(conditions=CONDITIONS, action_params={"text": "old"})

    data = api.post(
        f"{RULES}/{rule.ref}/test",
        {"payload": {"n": 5}, "conditions": {"expression": "event.payload.n > 3"}, "action_params": {"text": "new"}},
    ).json()["data"]

    assert (data["outcome"], data["rendered_params"]) == ("matched", {"text": "new"})
    rule.refresh_from_db()
    assert (rule.conditions, rule.action_params) == (CONDITIONS, {"text": "old"})


def test_a_rule_that_is_not_saved(api):
    trigger = make_trigger(enabled=False)

    data = api.post(
        f"{RULES}/test",
        {
            "trigger_ref": trigger.ref,
            "conditions": {"expression": "event.payload.n > 3"},
            "action_params": {"t": "{{ event.trigger }}"},
            "payload": {"n": 4},
        },
    ).json()["data"]

    assert (data["rule_ref"], data["rule_enabled"], data["trigger_enabled"]) == (None, True, False)
    assert (data["matched"], data["rendered_params"]) == (True, {"t": trigger.ref})


def test_a_rule_named_in_the_body(api):
    rule = make_rule(conditions=CONDITIONS)

    named, in_path = [
        api.post(path, {"payload": {"host": "x"}, **more}).json()
        for path, more in ((f"{RULES}/test", {"rule_ref": rule.ref}), (f"{RULES}/{rule.ref}/test", {}))
    ]

    assert named == in_path


def test_a_payload_may_be_any_json_and_null_too(api):
    rule = make_rule(conditions=CONDITIONS)

    outcomes = [
        api.post(f"{RULES}/{rule.ref}/test", {"payload": payload}).json()["data"]["outcome"]
        for payload in (None, [], "text", 5, {"host": "db1", "free_mb": 0})
    ]

    assert outcomes == ["matched", "not_matched", "not_matched", "not_matched", "matched"]


def test_the_config_of_a_made_up_event(api):
    rule = make_rule(conditions={"expression": "event.config.headers['x-a'] == 'b'"})

    data = api.post(f"{RULES}/{rule.ref}/test", {"payload": {}, "config": {"headers": {"x-a": "b"}}}).json()["data"]

    assert data["matched"] is True


def test_what_cannot_be_tried(api):
    rule, other = make_rule(), make_event()
    own = make_event(trigger=rule.trigger)
    path = f"{RULES}/{rule.ref}/test"

    assert error_of(api.post(path, {})) == (400, "BAD_REQUEST")
    assert error_of(api.post(path, {"event_id": own.pk, "payload": {}})) == (400, "BAD_REQUEST")
    assert error_of(api.post(path, {"event_id": own.pk, "event": other.pk})) == (400, "BAD_REQUEST")
    assert error_of(api.post(path, {"event_id": other.pk})) == (400, "BAD_REQUEST")
    assert error_of(api.post(path, {"event_id": own.pk + 1000})) == (404, "NOT_FOUND")
    assert error_of(api.post(path, {"event_id": "x"})) == (422, "VALIDATION_ERROR")
    assert error_of(api.post(path, {"payload": {}, "conditions": "x"})) == (422, "VALIDATION_ERROR")
    assert error_of(api.post(path, {"payload": {}, "action_params": []})) == (422, "VALIDATION_ERROR")
    assert error_of(api.post(f"{RULES}/no.no/test", {"payload": {}})) == (404, "NOT_FOUND")
    assert api.post(path, {"event_id": own.pk, "payload": None}).status_code == 200
    assert api.get(path).status_code == 405
    for sent in ({}, {"rule_ref": rule.ref, "trigger_ref": rule.trigger_ref}):
        assert error_of(api.post(f"{RULES}/test", {"payload": {}, **sent})) == (400, "BAD_REQUEST")
    for sent in (
        {"rule_ref": "no.no"},
        {"trigger_ref": "no.no"},
        {"trigger_ref": rule.trigger_ref, "action_ref": "no.no"},
        {"trigger_ref": rule.trigger_ref, "pack_ref": "no"},
    ):
        assert error_of(api.post(f"{RULES}/test", {"payload": {}, **sent})) == (404, "NOT_FOUND")


def test_a_draft_with_a_syntax_error_says_where(api):
    rule = make_rule()

    answer = api.post(f"{RULES}/{rule.ref}/test", {"payload": {}, "conditions": {"expression": "1 +"}}).json()

    assert answer["data"]["matched"] is False
    assert [set(warning) for warning in answer["warnings"]] == [{"path", "message", "line", "column"}]


def test_a_rule_whose_action_and_trigger_are_gone_can_be_tried(api):
    rule = make_rule()
    event = make_event(trigger=rule.trigger, payload={})
    rule.trigger.delete()
    rule.action.delete()

    data = api.post(f"{RULES}/{rule.ref}/test", {"event_id": event.pk}).json()["data"]

    assert (data["outcome"], data["trigger_enabled"]) == ("matched", False)


def test_values_that_violate_the_actions_schema_are_warned_of(api, alarm):
    rule = make_rule(action=alarm, action_params={"text": "t", "level": "{{ event.payload.level }}"})

    data = api.post(f"{RULES}/{rule.ref}/test", {"payload": {"level": 9}}).json()["data"]

    assert data["rendered_params"] == {"text": "t", "level": 9}
    assert [warning["path"] for warning in data["params_warnings"]] == ["level"]


def test_an_idempotency_key_keeps_no_answer_of_a_test(api):
    rule = make_rule(conditions=CONDITIONS)
    headers = {"HTTP_IDEMPOTENCY_KEY": "once"}

    first = api.post(f"{RULES}/{rule.ref}/test", {"payload": {"host": "x"}}, **headers)
    second = api.post(f"{RULES}/{rule.ref}/test", {"payload": None}, **headers)

    assert [answer.json()["data"]["matched"] for answer in (first, second)] == [False, True]


# --- Back-test --------------------------------------------------------------------------------------------------


def test_a_backtest_over_stored_events(api):
    rule = make_rule(conditions={"expression": "event.payload.n >= 2"}, action_params={"n": "{{ event.payload.n }}"})
    events = events_at(rule.trigger, 0, 1, 2, 3700)
    make_event(payload={"n": 5}, created=NOON)

    data = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day()).json()["data"]

    samples = data.pop("samples")
    assert data == {
        "rule_ref": rule.ref,
        "since": "2026-03-01T00:00:00Z",
        "until": "2026-03-02T00:00:00Z",
        "events_examined": 4,
        "outcomes": {"matched": 2, "not_matched": 2},
        "truncated": False,
        "next_since": None,
        "oldest_event_at": "2026-03-01T12:00:00Z",
        "buckets": [
            {"bucket": "2026-03-01T12:00:00Z", "events": 3, "matched": 1},
            {"bucket": "2026-03-01T13:00:00Z", "events": 1, "matched": 1},
        ],
    }
    assert [sample["event"] for sample in samples] == [events[number].pk for number in (3, 2, 1, 0)]
    assert set(samples[0]) == {"event", "created", "outcome", "reason", "trace", "rendered_params"}
    assert (samples[0]["rendered_params"], samples[2]["rendered_params"]) == ({"n": 3}, None)
    assert samples[0]["created"] == "2026-03-01T13:01:40Z"


def test_samples_are_matches_then_errors_then_the_rest_newest_first(api):
    rule = make_rule(conditions={"expression": "event.payload.n % 3 == 0 or (event.payload.n % 3 == 1 and missing)"})
    events = [event.pk for event in events_at(rule.trigger, *range(9))]

    def shown(number):
        data = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day(samples=number)).json()["data"]
        return [(sample["event"], sample["outcome"]) for sample in data["samples"]]

    expected = [
        *((events[number], "matched") for number in (6, 3, 0)),
        *((events[number], "error") for number in (7, 4, 1)),
        *((events[number], "not_matched") for number in (8, 5, 2)),
    ]
    assert (shown(9), shown(4), shown(0)) == (expected, expected[:4], [])


def test_the_range_includes_its_start_and_not_its_end(api):
    rule = make_rule()
    events = events_at(rule.trigger, 0, 1, 2)

    data = api.post(
        f"{RULES}/{rule.ref}/backtest", {"since": "2026-03-01T12:00:00Z", "until": "2026-03-01T12:00:02Z"}
    ).json()["data"]

    assert [sample["event"] for sample in data["samples"]] == [events[1].pk, events[0].pk]


def test_events_bound_to_another_rule_are_left_out(api):
    rule, other = make_rule(), make_rule()
    mine, free = events_at(rule.trigger, 0, rule=rule.pk, rule_ref=rule.ref) + events_at(rule.trigger, 1)
    events_at(rule.trigger, 2, rule=other.pk, rule_ref=other.ref)
    events_at(rule.trigger, 3, rule_ref="gone.rule")

    data = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day()).json()["data"]

    assert [sample["event"] for sample in data["samples"]] == [free.pk, mine.pk]


def test_the_limit_stops_it_where_the_next_call_goes_on(api):
    rule = make_rule()
    events = [event.pk for event in events_at(rule.trigger, *range(450))]
    seen, since, calls = [], "2026-03-01", 0

    while since is not None:
        data = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day(since=since, limit=200, samples=100)).json()[
            "data"
        ]
        assert data["truncated"] is (data["next_since"] is not None)
        seen.append(data["events_examined"])
        since, calls = data["next_since"], calls + 1

    assert (seen, calls) == ([200, 200, 50], 3)
    assert data["samples"][0]["event"] == events[-1]


def test_the_time_limit_stops_it_too():
    rule = make_rule()
    events_at(rule.trigger, 0, 1)
    span = Span(since=NOON, until=NOON + timedelta(hours=1), limit=10)

    report = backtest(draft_of_rule(rule, {}), span, samples=5, work_seconds=0)

    assert (report.events_examined, report.next_since, report.samples) == (0, NOON, [])


def test_large_parameters_are_left_out_of_samples(api):
    rule = make_rule(action_params={"text": "x" * 70_000})
    events_at(rule.trigger, 0)

    (sample,) = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day()).json()["data"]["samples"]

    assert (sample["outcome"], sample["rendered_params"]) == ("matched", None)


def test_a_test_shows_an_aggregate_that_fires_with_its_one_event(api):
    trigger = make_trigger(out_schema={"pin": {"type": "string", "secret": True}})
    rule = make_rule(
        trigger=trigger,
        aggregate={"count": 3, "window_seconds": 60, "key": "{{ event.payload.host }}"},
        action_params={
            "text": "{{ aggregate.count }} of {{ aggregate.key }}",
            "all": "{{ aggregate.payloads }}",
        },
    )
    body = {"payload": {"host": "db1", "pin": "hunter2"}}

    data = api.post(f"{RULES}/{rule.ref}/test", body).json()["data"]

    assert data["params_warnings"] == []
    assert data["rendered_params"]["text"] == "3 of db1"
    assert [payload["host"] for payload in data["rendered_params"]["all"]] == ["db1"]
    assert "hunter2" not in str(data)


def test_an_aggregate_shows_the_payloads_of_its_events(api):
    rule = make_rule(aggregate={"count": 2, "window_seconds": 60}, action_params={"all": "{{ aggregate.payloads }}"})
    events_at(rule.trigger, 0, 1)

    sample, _other = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day()).json()["data"]["samples"]

    assert sample["rendered_params"] == {"all": [{"n": 0}, {"n": 1}]}


def test_events_of_one_moment_are_all_seen_across_pages(api):
    rule = make_rule()
    events_at(rule.trigger, *[0] * 450)

    data = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day()).json()["data"]

    assert data["events_examined"] == 450


@pytest.mark.parametrize(
    "windows, outcomes",
    [
        ({"throttle": {"max": 2, "window_seconds": 10}}, {"matched": 4, "throttled": 2}),
        ({"throttle": {"max": 2, "window_seconds": 10, "on_limit": "delay"}}, {"matched": 4, "delayed": 2}),
        ({"dedupe": {"key": "k", "window_seconds": 10}}, {"matched": 2, "deduplicated": 4}),
        ({"dedupe": {"key": "{{ event.payload.n }}", "window_seconds": 10}}, {"matched": 6}),
        ({"aggregate": {"count": 3, "window_seconds": 60}}, {"aggregating": 4, "matched": 2}),
    ],
)
def test_windows_count_with_the_time_of_the_events(api, windows, outcomes):
    rule = make_rule(**windows)
    unlimited = make_rule(trigger=rule.trigger)
    events_at(rule.trigger, 0, 1, 2, 20, 21, 22)

    own = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day()).json()["data"]
    drafted = api.post(f"{RULES}/{unlimited.ref}/backtest", over_the_day(**windows)).json()["data"]
    removed = api.post(f"{RULES}/{rule.ref}/backtest", over_the_day(**dict.fromkeys(windows))).json()["data"]

    assert (own["outcomes"], drafted["outcomes"], removed["outcomes"]) == (outcomes, outcomes, {"matched": 6})
    assert stored() == [0, 0, 0, 0]


def test_a_backtest_of_a_rule_that_is_not_saved(api):
    trigger = make_trigger()
    events_at(trigger, 0, 1, 2)

    data = api.post(
        f"{RULES}/backtest", over_the_day(trigger_ref=trigger.ref, conditions={"expression": "event.payload.n > 0"})
    ).json()["data"]

    assert (data["rule_ref"], data["outcomes"]) == (None, {"matched": 2, "not_matched": 1})


def test_a_backtest_without_events(api):
    rule = make_rule()

    data = api.post(f"{RULES}/{rule.ref}/backtest", {}).json()["data"]

    assert (data["events_examined"], data["outcomes"], data["buckets"], data["samples"], data["oldest_event_at"]) == (
        0, {}, [], [], None,
    )  # fmt: skip
    since, until = (datetime.fromisoformat(data[name]) for name in ("since", "until"))
    assert until - since == timedelta(hours=24)


@pytest.mark.parametrize(
    "sent, code",
    [
        ({"since": "2026-03-02", "until": "2026-03-01"}, 400),
        ({"since": "2026-03-01", "until": "2026-03-01"}, 400),
        ({"since": "2026-01-01", "until": "2026-03-01"}, 400),
        ({"since": "2999-01-01"}, 400),
        ({"since": "soon"}, 422),
        ({"until": 5}, 422),
        ({"limit": 0}, 422),
        ({"limit": 100_001}, 422),
        ({"samples": 101}, 422),
        ({"samples": -1}, 422),
        ({"conditions": 5}, 422),
        ({"dedupe": {"key": "k"}}, 422),
        ({"throttle": []}, 422),
    ],
)
def test_a_backtest_that_cannot_be_made(api, sent, code):
    rule = make_rule()

    assert api.post(f"{RULES}/{rule.ref}/backtest", sent).status_code == code
    assert api.post(f"{RULES}/backtest", {"rule_ref": rule.ref, **sent}).status_code == code


def test_a_backtest_reads_pages_and_not_events(api):
    rule = make_rule()
    path = f"{RULES}/{rule.ref}/backtest"
    events_at(rule.trigger, 0)
    with CaptureQueriesContext(connection) as one:
        api.post(path, over_the_day())
    events_at(rule.trigger, *range(99))
    with CaptureQueriesContext(connection) as hundred:
        api.post(path, over_the_day())

    assert len(one) == len(hundred)
