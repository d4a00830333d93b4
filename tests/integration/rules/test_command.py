"""``manage.py rule_test``."""

import io
import json

import pytest
from django.core.management import call_command

from apps.core.commands import Problem
from apps.rules.models import RuleDecision
from tests.factories import make_event, make_rule

pytestmark = pytest.mark.django_db

CONDITIONS = [{"field": "host", "operator": "equals", "value": "db1"}]


def run(*words):
    """Return what the command printed and its exit status."""
    output = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("rule_test", *words, stdout=output)
    return output.getvalue(), ended.value.code


def refusal(*words):
    with pytest.raises(Problem) as refused:
        call_command("rule_test", *words)
    return str(refused.value)


@pytest.fixture
def rule(db):
    return make_rule(ref="lab.r", conditions=CONDITIONS, action_params={"text": "on {{ event.payload.host }}"})


def test_a_payload(rule):
    text, status = run("lab.r", "--payload", '{"host": "db1"}')

    assert status == 0
    assert text.splitlines()[0] == "Rule lab.r on this payload: matched"
    assert [line.split() for line in text.splitlines()[2:4]] == [
        ["HOLDS", "CRITERION", "FOUND"], ["yes", "host", "equals", '"db1"', '"db1"'],
    ]  # fmt: skip
    assert '"text": "on db1"' in text
    assert RuleDecision.objects.count() == 0


def test_the_newest_event_unless_one_is_named(rule):
    first = make_event(trigger=rule.trigger, payload={"host": "db1"})
    second = make_event(trigger=rule.trigger, payload={"host": "db2"})
    make_event()

    newest, named = run("lab.r"), run("lab.r", "--event", str(first.pk))

    assert (newest[0].splitlines()[0], newest[1]) == (f"Rule lab.r on event {second.pk}: not_matched", 1)
    assert (named[0].splitlines()[0], named[1]) == (f"Rule lab.r on event {first.pk}: matched", 0)


def test_json_for_machines(rule):
    text, status = run("lab.r", "--payload", "{}", "--json")

    told = json.loads(text)
    assert (status, told["outcome"], told["trace"][0]["result"]) == (1, "not_matched", False)


def test_a_draft_from_files(rule, tmp_path):
    file = tmp_path / "conditions.json"
    file.write_text('{"expression": "event.payload.n > 3"}')

    text, status = run("lab.r", "--payload", '{"n": 4}', "--conditions", f"@{file}", "--params", '{"a": "b"}')

    assert (status, "event.payload.n > 3" in text, '"a": "b"' in text) == (0, True, True)


def test_a_rule_that_is_disabled_says_so(rule):
    rule.set(enabled=False)

    assert "(but the rule is disabled or gone, so nothing would happen)" in run("lab.r", "--payload", "null")[0]


def test_the_events_of_the_past(rule):
    for host in ("db1", "db2", "db1"):
        make_event(trigger=rule.trigger, payload={"host": host})

    text, status = run("lab.r", "--past", "1")
    told, _status = run("lab.r", "--past", "1", "--json")

    assert (status, text.splitlines()[:3]) == (
        0, ["Rule lab.r on 3 events:", "  matched        2", "  not_matched    1"],
    )  # fmt: skip
    assert json.loads(told) == {"events_examined": 3, "outcomes": {"matched": 2, "not_matched": 1}}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["no.no"], "There is no rule 'no.no'."),
        (["lab.r"], "There is no event of trigger 'lab.t' yet; try --payload."),
        (["lab.r", "--event", "7"], "Event with ID 7 not found"),
        (["lab.r", "--payload", "{"], "--payload is not JSON"),
        (["lab.r", "--payload", "@/no/such/file"], "The file '/no/such/file' cannot be read"),
        (["lab.r", "--payload", "1", "--conditions", "5"], "--conditions must be a JSON object or list."),
        (["lab.r", "--payload", "1", "--params", "[]"], "--params must be a JSON object."),
        (["lab.r", "--past", "0"], "--past takes from 0 to 720 hours."),
    ],
)
def test_what_cannot_be_tried_is_refused_in_one_sentence(rule, words, sentence):
    rule.set(trigger_ref="lab.t")

    assert refusal(*words).startswith(sentence)
