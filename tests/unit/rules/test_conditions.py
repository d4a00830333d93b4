"""Conditions of rules (events.md section 4): what holds, the trace of section 7, reasons, secrets, warnings."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.expressions import Lazy, Scope
from apps.rules.conditions import check_conditions, conditions_problem, evaluate_conditions

PAYLOAD = {
    "host": "db1",
    "free_mb": 812,
    "level": 3,
    "flag": False,
    "none": None,
    "tags": ["prod", 7, [1]],
    "disks": [{"name": "sda", "used": 91.5}],
    "a-b": {"c d": 1},
    "user": {"name": "root", "password": "hunter2"},
}


def judged(conditions, payload=PAYLOAD, secrets=(), **roots):
    event = {
        "id": 7,
        "trigger": 1,
        "trigger_ref": "core.webhook",
        "payload": payload,
        "created": "2026-03-01T00:00:00Z",
    }
    scope = Scope(roots={"event": event, "pack": {"config": {"limit": 5}}, "system": {}, **roots})
    return evaluate_conditions(conditions, payload=payload, scope=scope, secrets=secrets)


def matches(conditions, **options):
    return judged(conditions, **options).matched


def expression(text):
    return {"expression": text}


def entry(field, operator, *value):
    return {"field": field, "operator": operator, **({"value": value[0]} if value else {})}


# --- The table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditions", [None, {}, [], {"all": []}, {"not": {"any": []}}])
def test_what_always_holds(conditions):
    verdict = judged(conditions)

    assert (verdict.matched, verdict.outcome, verdict.reason, verdict.error) == (True, "matched", None, None)
    assert verdict.steps == [{"index": 0, "kind": "always", "result": True, "error": None}]


@pytest.mark.parametrize(
    "conditions", [{}, expression("false"), expression("("), [entry("a", "equals", 1)], {"foo": 1}, "text", 5]
)
def test_an_event_without_payload_matches_whatever_the_conditions(conditions):
    verdict = judged(conditions, payload=None)

    assert (verdict.matched, verdict.steps[0]["kind"]) == (True, "always")


@pytest.mark.parametrize("payload", [{}, [], 0, "", False])
def test_an_empty_payload_is_one(payload):
    assert judged(expression("event.payload.x == 1"), payload=payload).outcome == "error"
    assert judged([entry("x", "equals", 1)], payload=payload).outcome == "not_matched"


@pytest.mark.parametrize(
    "conditions",
    [
        {"foo": 1}, {"expression": "true", "all": []}, {"all": {}}, {"any": "x"}, {"not": []}, {"not": {}}, {"expression": 5}, "true", 5, True,
        ["true"], [[]], [None], [{"operator": "equals", "value": 1}], [{"field": "host", "value": "db1"}], [{"field": "host", "operator": "equals"}],
        [{"field": 1, "operator": "equals", "value": 1}], [{"field": "host", "operator": ["equals"], "value": 1}], [expression("true")],
        entry("host", "equals", "db1"), [entry("host", "equals", "db1"), {"field": "host"}], {"any": [expression("true"), {"field": "host"}]},
        {"not": {"field": "host"}}, {"all": [expression("true"), None]},
    ],
)  # fmt: skip
def test_malformed_conditions_never_match(conditions):
    verdict = judged(conditions)

    assert (verdict.matched, verdict.outcome, verdict.error) == (False, "not_matched", None)
    assert verdict.reason.startswith("conditions")
    assert verdict.reason.endswith(", so it never matches")
    assert len(check_conditions(conditions)) == 1


@pytest.mark.parametrize(
    "text, expected",
    [
        ("event.payload.level == 3", True), ("{{ event.payload.level == 3 }}", True), ("  {{event.payload.level == 3}}\n", True), ("event.payload.level", True),
        ("event.payload.flag", False), ("event.payload.host == 'db1' and event.payload.level > 2", True), ("event.payload.zz is defined", False),
        ("event.payload.zz | default(1)", True), ("'prod' in event.payload.tags", True), ("event.id == 7 and event.trigger_ref == 'core.webhook'", True),
        ("pack.config.limit > event.payload.level", True), ("event.payload['a-b']['c d'] == 1", True), ("[]", False), ("{'a': '{{ b }}'}", True),
    ],
)  # fmt: skip
def test_expressions(text, expected):
    verdict = judged(expression(text))

    assert (verdict.matched, verdict.outcome) == (expected, "matched" if expected else "not_matched")


@pytest.mark.parametrize(
    "text, error",
    [
        ("event.payload.zz", "'event.payload.zz' is undefined (line 1, column 1)"),
        (
            "event.payload.level > '1'",
            "'>' needs two numbers, two strings or two arrays of such, not number and string (line 1, column 21)",
        ),
        ("event.payload.level ==", "the expression ends too early (line 1, column 23)"),
        ("{{ (1 }}", "unexpected '}'; ')' is missing after the expression (line 1, column 7)"),
        (" {{ 1 +\n }} ", "the expression ends too early (line 1, column 8)"),
        ("", "the expression is empty (line 1, column 1)"),
        ("range(1000000)", "range: would build an array of more than 100,000 elements (line 1, column 1)"),
    ],
)
def test_errors_count_as_not_matched(text, error):
    verdict = judged(expression(text))

    assert (verdict.matched, verdict.outcome, verdict.error) == (False, "error", error)
    assert verdict.reason == f"Could not be evaluated: {error}"
    assert verdict.steps[-1]["error"] == error
    assert verdict.steps[-1]["result"] is None


@pytest.mark.parametrize(
    "field, operator, value, expected",
    [
        ("host", "equals", "db1", True), ("host", "equals", "db2", False), ("level", "equals", 3.0, True), ("level", "equals", "3", False),
        ("flag", "equals", 0, False), ("none", "equals", None, True), ("disks", "equals", [{"used": 91.5, "name": "sda"}], True),
        ("disks.0.name", "equals", "sda", True), ("tags.0", "equals", "prod", True), ("tags.2.0", "equals", 1, True), ("a-b.c d", "equals", 1, True),
        ("tags.-1", "equals", [1], False), ("host.0", "equals", "d", False), ("host", "not_equals", "db2", True), ("host", "not_equals", "db1", False),
        ("zz", "not_equals", 1, False), ("host", "contains", "b", True), ("host", "contains", "x", False), ("host", "contains", 1, False),
        ("tags", "contains", 7.0, True), ("tags", "contains", [1], True), ("tags", "contains", "pro", False), ("user", "contains", "name", False),
        ("level", "contains", 3, False), ("level", "gt", 2, True), ("level", "gt", 3, False), ("level", "gte", 3, True), ("level", "lt", 3, False),
        ("level", "lte", 3.0, True), ("level", "gt", "2", False), ("level", "lte", "9", False), ("host", "gt", "db0", True), ("host", "lt", 5, False),
        ("flag", "lt", 1, False), ("none", "lte", None, False), ("tags", "gte", [], False), ("zz", "lt", 5, False), ("host", "in", ["db1", "db2"], True),
        ("host", "in", ["db2"], False), ("host", "in", "db1x", False), ("level", "in", [3.0], True), ("flag", "in", [0], False), ("host", "not_in", ["x"], True),
        ("host", "not_in", ["db1"], False), ("host", "not_in", "x", False), ("zz", "not_in", ["x"], False), ("host", "starts_with", "db", True),
        ("host", "starts_with", "b1", False), ("level", "starts_with", "3", False), ("host", "ends_with", "b1", True), ("host", "ends_with", 1, False),
        ("host", "matches", "^d.[0-9]$", True), ("host", "matches", "b", True), ("host", "matches", "^b", False), ("level", "matches", "3", False),
        ("host", "matches", 1, False), ("host", "exists", None, True), ("none", "exists", None, True), ("zz", "exists", None, False),
        ("zz", "not_exists", None, True), ("host", "not_exists", None, False), ("none", "not_exists", None, False), ("host.zz.y", "not_exists", None, True),
        ("host", "is", "db1", False), ("host", "EQUALS", "db1", False), ("host", "", "db1", False), ("zz", "whatever", 1, False), ("", "exists", None, False),
    ],
)  # fmt: skip
def test_operators(field, operator, value, expected):
    verdict = judged([entry(field, operator, value)])

    assert (verdict.matched, verdict.error, verdict.steps[0]["result"]) == (expected, None, expected)


def test_exists_needs_no_value():
    assert matches([entry("host", "exists"), entry("zz", "not_exists")])


def test_lists_are_joined_by_and():
    assert matches([entry("host", "equals", "db1"), entry("level", "gt", 1)])
    assert not matches([entry("host", "equals", "db1"), entry("level", "gt", 5)])


def test_payloads_that_are_no_objects():
    assert matches([entry("0.a", "equals", 1)], payload=[{"a": 1}])
    assert not matches([entry("a", "equals", 1)], payload="text")
    assert matches(expression("event.payload == 5"), payload=5)


@pytest.mark.parametrize(
    "conditions, expected",
    [
        ({"all": [entry("level", "gt", 1), expression("event.payload.host == 'db1'")]}, True),
        ({"all": [entry("level", "gt", 1), expression("event.payload.host == 'db2'")]}, False),
        ({"any": [entry("level", "gt", 9), expression("event.payload.host == 'db1'")]}, True),
        ({"any": [entry("level", "gt", 9), expression("event.payload.host == 'db2'")]}, False),
        ({"any": []}, False),
        ({"not": entry("level", "gt", 9)}, True),
        ({"not": {"any": [entry("level", "gt", 9), {"not": {"all": [entry("host", "exists")]}}]}}, True),
        ({"not": entry("host", "bogus", 1)}, True),
    ],
)
def test_combinations(conditions, expected):
    assert matches(conditions) is expected


def test_combinations_are_ten_deep_at_most():
    conditions = entry("host", "exists")
    for _ in range(10):
        conditions = {"all": [conditions]}
    assert matches(conditions)

    verdict = judged({"not": conditions})
    assert (verdict.outcome, verdict.matched) == ("error", False)
    assert "nested deeper than 10" in verdict.error


def test_there_are_a_thousand_conditions_at_most():
    assert matches([entry("host", "exists")] * 1000)
    assert "more than 1000" in judged([entry("host", "exists")] * 1001).error
    assert "more than 1000" in judged({"all": [{"any": [entry("host", "exists")] * 600}] * 2}).error


def test_an_error_makes_the_outcome_error_only_when_it_is_reached():
    broken = expression("event.payload.zz > 1")

    assert judged({"all": [entry("level", "gt", 9), broken]}).outcome == "not_matched"
    assert judged({"all": [broken, entry("level", "gt", 9)]}).outcome == "error"
    assert judged({"any": [entry("level", "gt", 1), broken]}).outcome == "matched"
    assert judged({"any": [broken, entry("level", "gt", 1)]}).outcome == "error"
    assert judged({"not": broken}).outcome == "error"
    assert judged([entry("host", "matches", "("), entry("level", "gt", 1)]).outcome == "error"


# --- The trace --------------------------------------------------------------------------------------------------


def test_the_example_of_the_api():
    verdict = judged([entry("host", "equals", "db1"), entry("free_mb", "equals", 0)])

    assert verdict.reason == "free_mb: 812 is not equal to 0"
    assert verdict.steps == [
        {"index": 0, "kind": "field", "field": "host", "operator": "equals", "value": "db1", "actual": "db1", "result": True, "error": None},
        {"index": 1, "kind": "field", "field": "free_mb", "operator": "equals", "value": 0, "actual": 812, "result": False, "error": None},
    ]  # fmt: skip


def test_one_step_per_operand_and_null_for_those_not_evaluated():
    verdict = judged(expression("event.payload.level == 3 and event.payload.host == 'x' and event.payload.zz"))

    assert verdict.outcome == "not_matched"
    assert verdict.steps == [
        {"index": 0, "kind": "expression", "expression": "event.payload.level == 3",
         "operands": [{"path": "event.payload.level", "value": 3}], "result": True, "error": None},
        {"index": 1, "kind": "expression", "expression": "event.payload.host == 'x'",
         "operands": [{"path": "event.payload.host", "value": "db1"}], "result": False, "error": None},
        {"index": 2, "kind": "expression", "expression": "event.payload.zz", "operands": [], "result": None, "error": None},
    ]  # fmt: skip


def test_or_stops_at_the_first_true_one():
    steps = judged(expression("{{ event.payload.flag or event.payload.level > 1 or 1/0 }}")).steps

    assert [(step["expression"], step["result"]) for step in steps] == [
        ("event.payload.flag", False), ("event.payload.level > 1", True), ("1/0", None),
    ]  # fmt: skip


def test_the_operand_that_failed_is_named_and_the_rest_shown():
    verdict = judged(expression("event.payload.level == 3 and\n event.payload.level < 'x' and true"))

    assert [(step["result"], step["error"]) for step in verdict.steps] == [
        (True, None),
        (None, verdict.error),
        (None, None),
    ]
    assert verdict.error.endswith("(line 2, column 22)")


def test_entries_after_the_one_that_decided_are_not_evaluated():
    steps = judged([entry("level", "gt", 9), entry("host", "equals", "db1")]).steps

    assert [(step["index"], step["result"], step["actual"]) for step in steps] == [(0, False, 3), (1, None, "db1")]


def test_steps_of_combinations_are_numbered_through():
    conditions = {
        "any": [{"not": entry("host", "exists")}, {"all": [expression("1 == 2 and true"), entry("zz", "exists")]}]
    }

    assert [(step["index"], step["kind"], step["result"]) for step in judged(conditions).steps] == [
        (0, "field", True), (1, "expression", False), (2, "expression", None), (3, "field", None),
    ]  # fmt: skip


def test_operands_are_the_outermost_paths_each_once():
    steps = judged(
        expression(
            "event.payload.disks[event.payload.level - 3].name == 'sda' or event.payload['disks'] | length > event.payload.zz.y"
        )
    ).steps

    assert steps[0]["operands"] == [{"path": "event.payload.disks[event.payload.level - 3].name", "value": "sda"}]
    verdict = judged(expression("event.payload.level + event.payload.level + event.payload.zz"))
    assert verdict.steps[0]["operands"] == [
        {"path": "event.payload.level", "value": 3}, {"path": "event.payload.zz", "value": None},
    ]  # fmt: skip


def test_lazy_roots_are_made_only_when_read():
    made = []
    pack = Lazy(lambda: made.append(1) or {"config": {"limit": 1}})

    assert matches(expression("event.payload.level == 3"), pack=pack)
    assert made == []
    assert matches(expression("pack.config.limit == 1"), pack=pack)
    assert made == [1]


@pytest.mark.parametrize(
    "conditions, reason",
    [
        (expression("event.payload.level > 5"), "event.payload.level: 3 is not > 5"),
        (expression("5 < event.payload.level"), "5 is not < 3 (event.payload.level)"),
        (expression("event.payload.host != 'db1'"), 'event.payload.host: "db1" is equal to "db1"'),
        (expression("'x' in event.payload.tags"), '"x" is not in ["prod", 7, [1]] (event.payload.tags)'),
        (expression("event.payload.host not in ['db1']"), 'event.payload.host: "db1" is in ["db1"]'),
        (expression("event.payload.tags | length > 3"), "event.payload.tags | length: 3 is not > 3"),
        (expression("event.payload.flag"), "event.payload.flag: false counts as false"),
        (expression("not event.payload.host"), 'event.payload.host: "db1" counts as true'),
        (expression("not event.payload.level == 3"), "event.payload.level: 3 is equal to 3"),
        (expression("event.payload.zz is defined"), "event.payload.zz is not defined"),
        (expression("event.payload.none is not none"), "event.payload.none: null is none"),
        (expression("event.payload.host is number"), 'event.payload.host: "db1" is not number'),
        (expression("match('^x',\n event.payload.host)"), "'match('^x', event.payload.host)' is false"),
        (expression("event.payload.flag or event.payload.level > 5"),
         "none of these holds: event.payload.flag: false counts as false; event.payload.level: 3 is not > 5"),
        ([entry("zz", "equals", 1)], "zz is missing"),
        ([entry("host", "not_exists")], 'host: "db1" is there'),
        ([entry("host", "bogus", 1)], "host: \"db1\" is not looked at: unknown operator 'bogus'"),
        ([entry("level", "gte", 4)], "level: 3 is not >= 4"),
        ([entry("tags", "contains", "x")], 'tags: ["prod", 7, [1]] does not contain "x"'),
        ({"not": entry("level", "gte", 3)}, "what must not hold does: level: 3 is >= 3"),
        ({"any": []}, "any of no conditions never holds"),
        ({"any": [entry("level", "equals", index) for index in range(10, 15)]},
         "none of these holds: level: 3 is not equal to 10; level: 3 is not equal to 11; level: 3 is not equal to 12; and 2 more"),
    ],
)  # fmt: skip
def test_reasons_are_sentences(conditions, reason):
    verdict = judged(conditions)

    assert (verdict.outcome, verdict.reason) == ("not_matched", reason)


def test_long_values_are_cut():
    payload = {"text": "x" * 5000, "list": list(range(5000)), "fits": "y" * 1024}
    verdict = judged(
        [entry("fits", "exists"), entry("list", "equals", [0] * 5000), entry("text", "exists")], payload=payload
    )

    fits, numbers, text = verdict.steps
    assert fits["actual"] == "y" * 1024
    assert numbers["actual"].startswith("[0,1,2,3")
    assert numbers["actual"].endswith("...")
    assert len(numbers["actual"]) == len(numbers["value"]) == len(text["actual"]) == 1027
    assert len(verdict.reason) < 500
    operand = judged(expression("event.payload == 1"), payload=payload).steps[0]["operands"][0]
    assert len(operand["value"]) == 1027


def test_the_trace_of_many_conditions_stays_small():
    payload = {"text": "x" * 5000}

    verdict = judged([entry("text", "contains", "x" * 2000)] * 1000, payload=payload)

    assert len(json.dumps(verdict.steps)) < 400_000


def test_secrets_are_hidden():
    secrets = [("user", "password"), ("users", 0, "password")]
    payload = {**PAYLOAD, "users": [{"name": "a", "password": "hunter2"}]}
    conditions = {
        "any": [
            entry("user.password", "equals", "a"),
            entry("user", "equals", {}),
            entry("users", "equals", []),
            entry("users.0.password", "starts_with", "x"),
            expression("event.payload.user.password == 'x'"),
            expression("event.payload.user == {} or event.payload == 1 or event == 1"),
            expression("event.payload.user.password ~ '!' == 'x'"),
            expression("event.payload[event.payload.level | string | replace('3', 'user')]['password'] > 'x'"),
            expression("event.payload.users[0].password | length > 100"),
            expression("event.payload.user.password[:3] == 1 or not event.payload.user.password"),
        ]
    }

    verdict = judged(conditions, payload=payload, secrets=secrets)

    assert verdict.outcome == "not_matched"
    assert "hunter2" not in json.dumps([verdict.steps, verdict.reason])
    assert verdict.steps[0]["actual"] == "***"
    assert verdict.steps[1]["actual"] == {"name": "root", "password": "***"}
    assert verdict.steps[2]["actual"] == [{"name": "a", "password": "***"}]
    assert payload["user"]["password"] == "hunter2"
    for one in conditions["any"]:
        assert "hunt" not in json.dumps(judged({"all": [one]}, payload=payload, secrets=secrets).reason)


def test_errors_tell_no_values():
    for text in ("number(event.payload.user.password)", "event.payload.user.password > 1", "from_json(event.payload.user.password)",
                 "event.payload.user[event.payload.user.password]", "upper(event.payload.user)"):  # fmt: skip
        verdict = judged(expression(text), secrets=[("user", "password")])

        assert verdict.outcome == "error"
        assert "hunter2" not in json.dumps([verdict.steps, verdict.reason, verdict.error])


# --- What it costs ----------------------------------------------------------------------------------------------


def test_all_conditions_share_a_budget():
    began = time.thread_time()
    verdict = judged({"any": [expression("sum(range(70000)) < 0")] * 200})

    assert verdict.outcome == "error"
    assert "steps" in verdict.error
    assert time.thread_time() - began < 20


def test_operands_cost_from_the_same_budget():
    began = time.thread_time()
    judged({"any": [expression("event.payload.tags[sum(range(70000)) - 2449965000] != 'prod'")] * 500})

    assert time.thread_time() - began < 30


# --- When they are saved ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("conditions", [{}, [], None, {"foo": 1}, ["x"]])
def test_objects_lists_and_null_can_be_stored(conditions):
    assert conditions_problem(conditions) is None


@pytest.mark.parametrize("conditions", ["event.payload.x", 5, True, 1.5])
def test_anything_else_cannot(conditions):
    assert conditions_problem(conditions) == "conditions must be an object or a list"


@pytest.mark.parametrize(
    "conditions, found",
    [
        (expression("event.payload.x == 1"), []),
        ([entry("a", "equals", 1), entry("b", "exists")], []),
        (expression("a =="), [("conditions.expression", "the expression ends too early", 1, 5)]),
        (expression(" {{ 1 +\n * 2 }}"), [("conditions.expression", "unexpected '*'", 2, 2)]),
        (expression("event.payload.x | shout"), [("conditions.expression", "unknown filter 'shout'", 1, 19)]),
        (expression("{{ debug() }}"), [("conditions.expression", "unknown name 'debug': there is no such function", 1, 4)]),
        (expression("event.id == 1 and payload.x == y"), [
            ("conditions.expression", "unknown name 'payload' (known here: event, pack, system)", 1, 19),
            ("conditions.expression", "unknown name 'y' (known here: event, pack, system)", 1, 32),
        ]),
        ({"any": [entry("a", "equals", 1), {"not": expression(")")}]}, [("conditions.any.1.not.expression", "unexpected ')'", 1, 1)]),
        ([entry("a", "like", 1)], [("conditions.0.operator", "unknown operator 'like'", None, None)]),
        ([entry("a", "matches", "(")], [("conditions.0.value", "the pattern cannot be used: missing )", None, None)]),
        ([{"field": "a"}], [("conditions.0", "the condition has no operator", None, None)]),
        ({"foo": 1}, [("conditions", "an object has one of the keys expression, all, any, not", None, None)]),
    ],
)  # fmt: skip
def test_warnings(conditions, found):
    warnings = check_conditions(conditions)

    assert [set(warning) for warning in warnings] == [{"path", "message", "line", "column"}] * len(found)
    assert [
        (warning["path"], warning["message"].split(";")[0], warning["line"], warning["column"]) for warning in warnings
    ] == found


# --- Anything ---------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8),
              st.sampled_from(["event.payload", "equals", "contains", "a", "a.b", "a.0", "1 +", "{{ a }}"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["field", "operator", "value", "expression", "all", "any", "not", "a", "b"]), inner, max_size=4
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(json_values, json_values)
def test_any_conditions_and_payload_end_in_a_verdict(conditions, payload):
    verdict = judged(conditions, payload=payload, secrets=[("a", "b"), ("b",)])

    assert verdict.matched is (verdict.outcome == "matched")
    assert (verdict.reason is None) is verdict.matched
    assert (verdict.error is None) is (verdict.outcome != "error")
    assert [step["index"] for step in verdict.steps] == list(range(len(verdict.steps)))
    json.dumps(verdict.steps, allow_nan=False)
    check_conditions(conditions)


def test_deep_payloads():
    deep: list = []
    for _ in range(10_000):
        deep = [deep]

    verdict = judged([entry("deep", "equals", [])], payload={"deep": deep})
    assert (verdict.outcome, verdict.steps[0]["actual"][:5]) == ("not_matched", "[[[[[")
    assert judged(
        expression("event.payload == event.payload and event.payload.deep != 1"), payload={"deep": deep}
    ).matched
