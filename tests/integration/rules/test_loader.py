"""Rules that come with packs."""

import pytest

from apps.identity.models import PermissionSet
from apps.packs.services import register_pack
from apps.rules.models import Rule
from tests.factories import make_rule, make_runtime

pytestmark = pytest.mark.django_db

TRIGGER = "label: Disk\nparameters:\n  path: {type: string, required: true}\n"
ACTION = "entry_point: 'true'\nparameters:\n  text: {type: string, required: true}\n"
RULE = """\
trigger_ref: disk
trigger_params: {path: /}
action_ref: alarm
action_params: {text: "{{ event.payload.host }}"}
"""
FULL = """\
ref: netops.full
label: Full
description: d
enabled: false
trigger_ref: netops.disk
action_ref: netops.alarm
trigger_params: {path: /}
action_params: {text: t}
conditions: [{field: host, operator: equals, value: db1}]
permission_set_refs: [standard, own]
priority: 5
alert_on_failure: true
dedupe: {key: k, window_seconds: 5}
aggregate: {count: 2, window_seconds: 5, key: null}
throttle: {max: 1, window_seconds: 5}
"""


@pytest.fixture
def register(tmp_path):
    """Register a pack with these rule files (by name); what is not named is gone from its folder."""
    make_runtime()
    pack = tmp_path / "netops"
    (pack / "rules").mkdir(parents=True)
    (pack / "pack.yaml").write_text("ref: netops\nversion: 1.0.0\n")
    for folder, name, text in (("triggers", "disk", TRIGGER), ("actions", "alarm", ACTION)):
        (pack / folder).mkdir()
        (pack / folder / f"{name}.yaml").write_text(text)

    def registered(**files):
        for old in (pack / "rules").iterdir():
            old.unlink()
        for name, text in files.items():
            (pack / "rules" / f"{name}.yaml").write_text(text)
        return [warning["message"] for warning in register_pack(pack, force=True).warnings]

    return registered


def test_a_rule_with_the_least(register):
    assert register(nightly=RULE) == []

    rule = Rule.objects.get()
    assert (rule.ref, rule.label, rule.pack_ref, rule.trigger_ref, rule.action_ref) == (
        "netops.nightly", "Nightly", "netops", "netops.disk", "netops.alarm",
    )  # fmt: skip
    assert (rule.trigger.ref, rule.action.ref, rule.is_adhoc, rule.owner_identity) == (
        "netops.disk", "netops.alarm", False, None,
    )  # fmt: skip
    assert (rule.enabled, rule.conditions, rule.permission_set_refs) == (True, {}, None)
    assert rule.action_params == {"text": "{{ event.payload.host }}"}


def test_a_rule_with_everything(register):
    PermissionSet.objects.create(ref="netops.own", label="Own")

    assert register(full=FULL) == []

    rule = Rule.objects.get()
    assert (rule.ref, rule.label, rule.description, rule.enabled, rule.priority, rule.alert_on_failure) == (
        "netops.full", "Full", "d", False, 5, True,
    )  # fmt: skip
    assert rule.permission_set_refs == ["standard", "netops.own"]
    assert (rule.dedupe, rule.aggregate, rule.throttle) == (
        {"key": "k", "window_seconds": 5}, {"count": 2, "window_seconds": 5}, {"max": 1, "window_seconds": 5},
    )  # fmt: skip


@pytest.mark.parametrize("names", ["own", "[own]"])
def test_permission_sets_in_the_singular(register, names):
    PermissionSet.objects.create(ref="netops.own", label="Own")

    assert register(r=f"{RULE}permission_set_ref: {names}\n") == []
    assert Rule.objects.get().permission_set_refs == ["netops.own"]


@pytest.mark.parametrize(
    "text, message",
    [
        (RULE.replace("disk", "nope"), "there is no trigger 'netops.nope'"),
        (RULE.replace("alarm", "core.nope"), "there is no action 'core.nope'"),
        ("action_ref: alarm\n", "trigger_ref is required"),
        ("trigger_ref: disk\n", "action_ref is required"),
        (f"{RULE}conditions: yes\n", "conditions must be a mapping or a list"),
        (f"{RULE}priority: 101\n", "priority: Ensure this value is less than or equal to 100."),
        (f"{RULE}enabled: 1\n", "enabled must be true or false"),
        (f"{RULE}dedupe: {{key: k}}\n", "dedupe.window_seconds: This field is required."),
        (f"{RULE}permission_set_refs: 5\n", "permission_set_refs must be a name or a list of names"),
        (f"{RULE}ref: Netops.Big\n", "Ref 'Netops.Big' must be lower case."),
    ],
)
def test_a_faulty_rule_is_left_out_and_the_others_are_loaded(register, text, message):
    assert register(bad=text, good=RULE) == [message]
    assert list(Rule.objects.values_list("ref", flat=True)) == ["netops.good"]


def test_parameters_that_violate_a_schema_are_a_warning_only(register):
    warnings = register(r="trigger_ref: disk\naction_ref: alarm\n")

    assert warnings == [
        "Invalid parameters for trigger 'netops.disk': parameter 'path' is required",
        "Invalid parameters for action 'netops.alarm': parameter 'text' is required",
    ]
    assert Rule.objects.get().enabled is True


def test_permission_sets_and_conditions_that_cannot_work_are_a_warning_only(register):
    warnings = register(r=f"{RULE}permission_set_refs: [nope]\nconditions: {{expression: '1 +'}}\n")

    assert (len(warnings), warnings[1]) == (2, "there is no permission set 'netops.nope'")
    assert warnings[0].startswith("conditions: ")
    assert Rule.objects.get().permission_set_refs == ["netops.nope"]


def test_registering_again_updates_in_place_and_removes_what_is_gone(register):
    register(a=RULE, b=RULE)
    kept = Rule.objects.get(ref="netops.a")

    register(a=f"{RULE}label: New\n")

    rule = Rule.objects.get()
    assert (rule.pk, rule.label, rule.created) == (kept.pk, "New", kept.created)


def test_registering_the_same_again_writes_nothing(register):
    register(a=RULE)
    before = Rule.objects.get().updated

    register(a=RULE)

    assert Rule.objects.get().updated == before


def test_rules_made_through_the_api_are_left_alone(register):
    register(a=RULE)
    pack = Rule.objects.get().pack
    make_rule(pack=pack, ref="netops.mine")

    warnings = register(mine=RULE)

    assert warnings == ["'netops.mine' was made through the API and is left as it is"]
    assert [rule.is_adhoc for rule in Rule.objects.all()] == [True]


def test_a_rule_that_lost_its_action_is_linked_again(register):
    register(a=RULE)
    Rule.objects.get().action.delete()
    assert Rule.objects.get().action is None

    register(a=RULE)

    assert Rule.objects.get().action.ref == "netops.alarm"
