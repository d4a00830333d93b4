"""``manage.py event_emit``: the event, what rules made of it, and the executions that follow."""

import io
import json

import pytest
from django.core.management import call_command

from apps.core.commands import Problem
from apps.events.models import Event
from apps.executions.models import Execution
from apps.rules.models import RuleDecision
from tests.factories import make_action, make_rule, make_trigger

pytestmark = pytest.mark.django_db


@pytest.fixture
def trigger():
    return make_trigger(ref="lab.disk")


def emit(*words):
    out = io.StringIO()
    call_command("event_emit", *words, stdout=out)
    return out.getvalue()


def test_it_stores_an_event_and_tells_what_rules_decided(trigger):
    action = make_action(ref="lab.alarm")
    make_rule(ref="lab.fires", trigger=trigger, action=action, action_params={"x": "{{ event.payload.nothing }}"})
    make_rule(ref="lab.rests", trigger=trigger, conditions={"expression": "event.payload.free > 100"})

    said = emit("lab.disk", "--payload", '{"free": 12}')

    event, execution = Event.objects.get(), Execution.objects.get()
    assert (event.payload, event.source_ref) == ({"free": 12}, "event_emit")
    assert said.splitlines()[:2] == [
        f"Event {event.pk} of lab.disk was stored.",
        f"  lab.fires: matched, execution {execution.pk}",
    ]
    assert "'event.payload.nothing' is undefined" in said
    assert "  lab.rests: not_matched\n    event.payload.free: 12 is not > 100\n" in said


def test_the_payload_comes_from_a_file_or_standard_input(trigger, tmp_path, monkeypatch):
    (tmp_path / "event.json").write_text('{"from": "a file"}')
    monkeypatch.setattr("sys.stdin", io.StringIO('["from", "stdin"]'))

    emit("lab.disk", "--payload", f"@{tmp_path}/event.json")
    emit("lab.disk", "--payload", "-")
    emit("lab.disk")

    payloads = Event.objects.order_by("pk").values_list("payload", flat=True)
    assert list(payloads) == [{"from": "a file"}, ["from", "stdin"], None]


def test_one_rule_alone_looks_at_it(trigger):
    only, other = make_rule(trigger=trigger), make_rule(trigger=trigger)

    emit("lab.disk", "--rule", only.ref)

    assert Event.objects.get().rule_ref == only.ref
    assert not RuleDecision.objects.filter(rule=other).exists()


@pytest.mark.parametrize("disabled, words", [(0, "No rule uses this trigger."), (1, "lab.r0 is disabled."), (2, "lab.r0, lab.r1 are disabled.")])  # fmt: skip
def test_it_says_why_no_rule_looked(trigger, disabled, words):
    for number in range(disabled):
        make_rule(ref=f"lab.r{number}", trigger=trigger, enabled=False)

    assert words in emit("lab.disk")


def test_machines_get_json(trigger):
    make_rule(trigger=trigger)

    told = json.loads(emit("lab.disk", "--payload", "1", "--json"))

    assert told["event"]["payload"] == 1
    assert [(decision["outcome"], decision["executions"]) for decision in told["decisions"]] == [
        ("matched", [Execution.objects.get().pk])
    ]


def test_waiting_for_nothing_is_told_by_the_status(trigger, capsys):
    with pytest.raises(SystemExit) as ended:
        emit("lab.disk", "--wait")

    assert ended.value.code == 1


@pytest.mark.parametrize(
    "words, complaint",
    [
        (["no.such"], "There is no trigger 'no.such'. There is, for example: lab.disk, lab.other."),
        (["lab.disk", "--payload", "{"], "--payload is not JSON"),
        (["lab.disk", "--payload", "@/no/such/file"], "The file '/no/such/file' cannot be read"),
        (["lab.disk", "--payload", '"\\ud800"'], "--payload is not JSON: half of a surrogate pair cannot be stored"),
        (["lab.disk", "--rule", "no.such"], "There is no rule 'no.such'."),
        (["lab.disk", "--rule", "lab.elsewhere"], "Rule 'lab.elsewhere' has another trigger: lab.other."),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(trigger, words, complaint):
    make_rule(ref="lab.elsewhere", trigger=make_trigger(ref="lab.other"))

    with pytest.raises(Problem) as refused:
        emit(*words)

    assert str(refused.value).startswith(complaint)
    assert not Event.objects.exists()
