"""Rules over HTTP."""

import json
import threading

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.identity import tokens
from apps.rules.models import Rule
from tests.clients import anonymous, bearing, signed_in, with_execution_token
from tests.factories import (
    make_action,
    make_admin,
    make_execution,
    make_identity,
    make_pack,
    make_rule,
    make_sensor,
    make_trigger,
)

pytestmark = pytest.mark.django_db

RULES = "/api/v1/rules"
SUMMARY = {
    "id", "ref", "pack_ref", "label", "description", "action_ref", "trigger_ref", "action_params", "trigger_params",
    "permission_set_refs", "enabled", "created", "updated",
}  # fmt: skip
DETAIL = SUMMARY | {
    "pack", "action", "trigger", "conditions", "is_adhoc", "owner_identity", "priority", "alert_on_failure", "dedupe",
    "aggregate", "throttle",
}  # fmt: skip
HOLDING = {
    "dedupe": {"key": "{{ event.payload.host }}", "window_seconds": 60, "extend": True},
    "aggregate": {"count": 3, "window_seconds": 60},
    "throttle": {"max": 1, "window_seconds": 10, "on_limit": "delay"},
}


def body(**changes):
    needed = {"ref": "lab.r", "pack_ref": "lab", "label": "R", "action_ref": "lab.alarm", "trigger_ref": "lab.disk"}
    return {**needed, "trigger_params": {"path": "/"}, "action_params": {"text": "full"}, **changes}


def error_of(answer):
    return answer.status_code, answer.json()["code"]


# --- Create -----------------------------------------------------------------------------------------------------


def test_create_with_the_least(db, lab, disk, alarm):
    owner = make_admin()

    answer = signed_in(owner).post(RULES, body())

    assert (answer.status_code, set(answer.json())) == (201, {"data", "message"})
    data = answer.json()["data"]
    assert set(data) == DETAIL
    assert (data["pack"], data["action"], data["trigger"], data["owner_identity"]) == (
        lab.pk, alarm.pk, disk.pk, owner.pk,
    )  # fmt: skip
    assert (data["conditions"], data["enabled"], data["is_adhoc"], data["permission_set_refs"]) == (
        {},
        True,
        True,
        None,
    )
    assert [data[name] for name in ("priority", "dedupe", "aggregate", "throttle", "alert_on_failure")] == [
        None, None, None, None, False,
    ]  # fmt: skip


def test_create_with_everything_and_read_it_again(api, disk, alarm):
    full = {
        "description": "d",
        "conditions": [{"field": "host", "operator": "equals", "value": "db1"}],
        "permission_set_refs": ["standard"],
        "enabled": False,
        "priority": -100,
        "alert_on_failure": True,
        **HOLDING,
    }

    created = api.post(RULES, body(**full)).json()["data"]

    assert {name: created[name] for name in full} == full
    assert api.get(f"{RULES}/lab.r").json() == {"data": created}
    (summary,) = api.get(RULES).json()["data"]
    assert summary == {name: created[name] for name in SUMMARY}


def test_an_execution_tokens_rule_belongs_to_its_identity(api, disk, alarm):
    execution = make_execution(executor=make_admin())

    answer = with_execution_token(execution, "core.admin").post(RULES, body())

    assert answer.json()["data"]["owner_identity"] == execution.executor_id


@pytest.mark.parametrize("missing", ["ref", "pack_ref", "label", "action_ref", "trigger_ref"])
def test_create_without_a_required_field(api, disk, alarm, missing):
    given = body()
    del given[missing]
    nulled = body(**{missing: None})

    assert [error_of(api.post(RULES, sent)) for sent in (given, nulled)] == [(422, "VALIDATION_ERROR")] * 2
    assert not Rule.objects.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"ref": 5},
        {"ref": ""},
        {"ref": "l." + "r" * 254},
        {"label": ""},
        {"label": "l" * 256},
        {"description": 5},
        {"conditions": "always"},
        {"conditions": True},
        {"action_params": []},
        {"trigger_params": "x"},
        {"permission_set_refs": "standard"},
        {"permission_set_refs": [5]},
        {"enabled": "true"},
        {"priority": 101},
        {"priority": 1.5},
        {"alert_on_failure": 1},
        {"dedupe": 5},
        {"dedupe": {"key": "k"}},
        {"aggregate": {"count": 1, "window_seconds": 5}},
        {"throttle": {"max": 1, "window_seconds": 5, "colour": "red"}},
    ],
)
def test_create_with_a_malformed_field(api, disk, alarm, changes):
    answer = api.post(RULES, body(**changes))

    assert error_of(answer) == (422, "VALIDATION_ERROR")
    assert answer.json()["details"]
    assert not Rule.objects.exists()


@pytest.mark.parametrize("ref", ["lab", "Lab.r", "lab.a.b", "lab.r r", ".r"])
def test_create_with_a_ref_of_another_form(api, disk, alarm, ref):
    assert error_of(api.post(RULES, body(ref=ref))) == (422, "UNPROCESSABLE_ENTITY")


@pytest.mark.parametrize("name", ["pack_ref", "action_ref", "trigger_ref"])
def test_create_for_something_that_is_not_there(api, disk, alarm, name):
    answer = api.post(RULES, body(**{name: "no.no"}))

    assert error_of(answer) == (404, "NOT_FOUND")
    assert answer.json()["error"].endswith("'no.no' not found")


def test_create_never_sets_what_is_not_the_clients(api, disk, alarm, lab):
    data = api.post(
        RULES, body(id=99, is_adhoc=False, owner_identity=1, pack=99, action=99, trigger=99, created="2000-01-01")
    ).json()["data"]

    assert (data["is_adhoc"], data["pack"], data["action"], data["trigger"]) == (True, lab.pk, alarm.pk, disk.pk)
    assert (data["id"] == 99, data["owner_identity"] == 1, data["created"][:4] == "2000") == (False, False, False)


def test_a_taken_ref_is_a_conflict_before_anything_else(api, disk, alarm):
    make_rule(ref="lab.r")

    answers = [
        api.post(RULES, body()),
        api.post(RULES, body(action_ref="no.no", permission_set_refs=["no.such"], trigger_params={})),
        signed_in(make_identity()).post(RULES, body()),
    ]

    assert [error_of(answer) for answer in answers] == [(409, "CONFLICT")] * 3
    assert answers[0].json()["error"] == "Rule with ref 'lab.r' already exists"


@pytest.mark.django_db(transaction=True)
def test_of_two_who_create_the_same_ref_one_is_refused(transactional_db):
    make_pack(ref="lab")
    make_trigger(ref="lab.disk")
    make_action(ref="lab.alarm")
    admin = make_admin()
    clients = [signed_in(admin) for _ in range(6)]
    start = threading.Barrier(len(clients))
    codes = []

    def create(client):
        start.wait(60)
        codes.append(client.post(RULES, body()).status_code)
        connection.close()

    threads = [threading.Thread(target=create, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(codes) == [201] + [409] * 5
    assert Rule.objects.count() == 1


# --- Parameters and schemas -------------------------------------------------------------------------------------


def test_parameters_that_violate_a_schema_are_refused_with_all_errors(api, disk, alarm):
    wrong_trigger = api.post(RULES, body(trigger_params={"every": 0}))
    wrong_action = api.post(RULES, body(action_params={"level": 9, "how": "fax"}))

    assert [error_of(answer) for answer in (wrong_trigger, wrong_action)] == [(422, "VALIDATION_ERROR")] * 2
    text = wrong_trigger.json()["error"]
    assert text.startswith("Invalid parameters for trigger 'lab.disk': ")
    assert ("'path' is required" in text, "'every'" in text) == (True, True)
    assert wrong_action.json()["error"].startswith("Invalid parameters for action 'lab.alarm': ")
    assert {detail["field"] for detail in wrong_action.json()["details"]} == {
        "action_params.text", "action_params.level", "action_params.how",
    }  # fmt: skip


def test_templates_pass_for_any_type_and_unknown_parameters_are_allowed(api, disk, alarm):
    answer = api.post(
        RULES,
        body(
            trigger_params={"path": "{{ x }}", "every": "{{ y }}", "more": 1},
            action_params={"text": "{{ event.payload }}", "level": "{{ l }}", "how": "{{ h }}", "more": [1]},
        ),
    )

    assert answer.status_code == 201


def test_half_a_template_is_a_text_like_any_other(api, disk, alarm):
    assert api.post(RULES, body(action_params={"text": "t", "level": "{{ l"})).status_code == 422


def test_a_default_fills_what_is_missing(api, lab, disk):
    make_action(pack=lab, ref="lab.soft", param_schema={"n": {"type": "integer", "required": True, "default": 1}})

    assert api.post(RULES, body(action_ref="lab.soft", action_params={})).status_code == 201


def test_an_update_checks_the_side_that_it_names(api, lab, disk, alarm):
    rule = make_rule(ref="lab.r", trigger=disk, action=alarm)  # has neither path nor text

    assert api.put(f"{RULES}/lab.r", {"label": "New"}).status_code == 200
    assert api.put(f"{RULES}/lab.r", {"trigger_params": {}}).status_code == 422
    assert api.put(f"{RULES}/lab.r", {"action_ref": "lab.alarm"}).status_code == 422
    assert api.put(f"{RULES}/lab.r", {"action_params": {"text": "t"}}).status_code == 200
    rule.refresh_from_db()
    assert (rule.label, rule.action_params, rule.trigger_params) == ("New", {"text": "t"}, {})


def test_conditions_with_a_syntax_error_are_stored_with_a_warning(api, disk, alarm):
    created = api.post(RULES, body(conditions={"expression": "1 +"}))
    updated = api.put(f"{RULES}/lab.r", {"label": "Other"})
    repaired = api.put(f"{RULES}/lab.r", {"conditions": {}})

    assert (created.status_code, set(created.json())) == (201, {"data", "message", "warnings"})
    (warning,) = created.json()["warnings"]
    assert set(warning) == {"path", "message", "line", "column"}
    assert ("warnings" in updated.json(), "warnings" in repaired.json()) == (True, False)


# --- Permission sets --------------------------------------------------------------------------------------------


def test_permission_sets_that_are_not_there_are_refused(api, disk, alarm):
    answer = api.post(RULES, body(permission_set_refs=["standard", "no.such"]))

    assert error_of(answer) == (403, "FORBIDDEN")
    assert answer.json()["error"] == "Permission sets do not exist: no.such"


@pytest.mark.parametrize("refs", [None, [], ["standard"], ["core.admin"]])
def test_permission_sets_are_kept_as_given(api, disk, alarm, refs):
    assert api.post(RULES, body(permission_set_refs=refs)).json()["data"]["permission_set_refs"] == refs


def test_an_update_with_null_inherits_again(api, disk, alarm):
    api.post(RULES, body(permission_set_refs=["standard"], priority=5, **HOLDING))

    kept = api.put(f"{RULES}/lab.r", {"label": "L"}).json()["data"]
    cleared = api.put(
        f"{RULES}/lab.r",
        {"permission_set_refs": None, "priority": None, "dedupe": None, "aggregate": None, "throttle": None,
         "label": None, "description": None, "conditions": None, "enabled": None},
    ).json()["data"]  # fmt: skip

    names = ("permission_set_refs", "priority", "dedupe", "aggregate", "throttle")
    assert [kept[name] for name in names] == [["standard"], 5, *HOLDING.values()]
    assert [cleared[name] for name in names] == [None] * 5
    assert (cleared["label"], cleared["conditions"], cleared["enabled"]) == ("L", {}, True)


# --- Read -------------------------------------------------------------------------------------------------------


def test_lists_are_ordered_by_ref(api):
    for ref in ("b.r", "a.r", "c.r"):
        make_rule(ref=ref, enabled=ref != "a.r")

    assert [row["ref"] for row in api.get(RULES).json()["data"]] == ["a.r", "b.r", "c.r"]
    assert [row["ref"] for row in api.get(f"{RULES}/enabled").json()["items"]] == ["b.r", "c.r"]
    page = api.get(f"{RULES}?page_size=2&page=2").json()
    assert ([row["ref"] for row in page["data"]], page["pagination"]["total_items"]) == (["c.r"], 3)


@pytest.mark.parametrize("path", [RULES, f"{RULES}/enabled"])
def test_a_list_asks_the_same_whatever_its_length(api, path):
    make_rule()
    api.get(path)
    with CaptureQueriesContext(
        connection,
    ) as one:
        api.get(path)
    make_rule(), make_rule()
    with CaptureQueriesContext(connection) as three:
        api.get(path)

    assert len(api.get(path).json()["data"]) == 3
    assert len(one) == len(three)


@pytest.mark.parametrize("parent, of", [("packs", "pack"), ("actions", "action"), ("triggers", "trigger")])
def test_rules_below_a_parent(api, parent, of):
    rule = make_rule()
    make_rule()
    ref = {"pack": rule.pack_ref, "action": rule.action_ref, "trigger": rule.trigger_ref}[of]

    answer = api.get(f"/api/v1/{parent}/{ref}/rules")

    assert [row["ref"] for row in answer.json()["data"]] == [rule.ref]
    assert set(answer.json()["data"][0]) == SUMMARY
    assert error_of(api.get(f"/api/v1/{parent}/no.no/rules")) == (404, "NOT_FOUND")
    with CaptureQueriesContext(connection) as one:
        api.get(f"/api/v1/{parent}/{ref}/rules")
    for _ in range(2):
        make_rule(pack=rule.pack, action=rule.action, trigger=rule.trigger)
    with CaptureQueriesContext(connection) as three:
        assert len(api.get(f"/api/v1/{parent}/{ref}/rules").json()["data"]) == 3
    assert len(one) == len(three)


def test_a_sensor_reads_the_rules_of_its_triggers_and_nothing_else():
    trigger, other = make_trigger(), make_trigger()
    sensor = make_sensor(trigger)
    rule = make_rule(trigger=trigger, trigger_params={"path": "/"})
    make_rule(trigger=other)
    client = bearing(tokens.mint_sensor_token(sensor.ref, [trigger.ref], identity_id=make_identity().pk))

    answer = client.get(f"/api/v1/triggers/{trigger.ref}/rules")

    (entry,) = answer.json()["data"]
    assert {name: entry[name] for name in ("id", "ref", "trigger_params", "enabled")} == {
        "id": rule.pk, "ref": rule.ref, "trigger_params": {"path": "/"}, "enabled": True,
    }  # fmt: skip
    assert [client.get(path).status_code for path in (
        f"/api/v1/triggers/{other.ref}/rules", RULES, f"{RULES}/{rule.ref}", f"/api/v1/actions/{rule.action_ref}/rules",
    )] == [403] * 4  # fmt: skip


def test_who_holds_no_grant_sees_nothing_and_changes_nothing():
    rule = make_rule()
    client = signed_in(make_identity())
    standard = make_pack(is_standard=True)

    assert client.get(RULES).json()["data"] == client.get(f"{RULES}/enabled").json()["data"] == []
    assert client.get(f"/api/v1/packs/{standard.ref}/rules").json()["data"] == []
    for path in (f"{RULES}/{rule.ref}", f"{RULES}/{rule.ref}/decisions", f"/api/v1/packs/{rule.pack_ref}/rules"):
        assert error_of(client.get(path)) == (404, "NOT_FOUND")
    denied = [
        client.post(RULES, {}), client.put(f"{RULES}/{rule.ref}", {}), client.delete(f"{RULES}/{rule.ref}"),
        client.post(f"{RULES}/{rule.ref}/enable"), client.post(f"{RULES}/{rule.ref}/disable"),
        client.post(f"{RULES}/{rule.ref}/test", {"payload": 1}), client.post(f"{RULES}/{rule.ref}/backtest", {}),
        client.post(f"{RULES}/test", {}), client.post(f"{RULES}/backtest", {}),
    ]  # fmt: skip
    assert [error_of(answer) for answer in denied] == [(403, "FORBIDDEN")] * len(denied)
    assert Rule.objects.get().updated == rule.updated


def test_without_a_token():
    assert anonymous().get(RULES).status_code == 401


# --- Change -----------------------------------------------------------------------------------------------------


def test_update_changes_what_is_named(api, disk, alarm):
    created = api.post(RULES, body(conditions=[{"field": "a", "operator": "exists"}])).json()["data"]

    answer = api.put(f"{RULES}/lab.r", {"label": "New", "enabled": False, "ref": "lab.other", "is_adhoc": False})

    assert answer.json()["message"] == "Rule updated successfully"
    changed = answer.json()["data"]
    assert {name for name in DETAIL if created[name] != changed[name]} == {"label", "enabled", "updated"}


def test_an_update_without_a_change_writes_nothing(api, disk, alarm):
    created = api.post(RULES, body()).json()["data"]

    again = api.put(f"{RULES}/lab.r", {name: created[name] for name in ("label", "action_ref", "trigger_params")})

    assert (again.status_code, again.json()["data"]) == (200, created)


@pytest.mark.parametrize("name", ["action_ref", "trigger_ref"])
def test_update_to_something_that_is_not_there(api, disk, alarm, name):
    api.post(RULES, body())

    assert error_of(api.put(f"{RULES}/lab.r", {name: "no.no"})) == (404, "NOT_FOUND")
    assert api.get(f"{RULES}/lab.r").json()["data"][name] == body()[name]


def test_an_action_made_again_is_linked_by_an_update_that_names_it(api, lab, disk, alarm):
    api.post(RULES, body())
    message = api.delete("/api/v1/actions/lab.alarm").json()["message"]
    unlinked = api.get(f"{RULES}/lab.r").json()["data"]
    again = make_action(pack=lab, ref="lab.alarm")
    still_unlinked = api.put(f"{RULES}/lab.r", {"label": "L"}).json()["data"]
    linked = api.put(f"{RULES}/lab.r", {"action_ref": "lab.alarm"}).json()["data"]

    assert message == "Action 'lab.alarm' deleted successfully; 1 rule stops firing"
    assert (unlinked["action"], unlinked["action_ref"]) == (None, "lab.alarm")
    assert (still_unlinked["action"], linked["action"]) == (None, again.pk)


def test_deleting_a_trigger_says_how_many_rules_stop(api, disk, alarm):
    for name in ("a", "b"):
        api.post(RULES, body(ref=f"lab.{name}"))
    api.post(RULES, body(ref="lab.off", enabled=False))

    answer = api.delete("/api/v1/triggers/lab.disk")

    assert answer.json()["message"] == "Trigger 'lab.disk' deleted successfully; 2 rules stop firing"
    rows = list(Rule.objects.values_list("trigger", "trigger_ref"))
    assert rows == [(None, "lab.disk")] * 3


def test_deleting_a_pack_says_how_many_rules_stop(api, disk, alarm):
    api.post(RULES, body())
    elsewhere = make_rule(trigger=disk)
    make_rule()

    answer = api.delete("/api/v1/packs/lab")

    assert answer.json()["message"] == "Pack 'lab' deleted successfully; 2 rules stop firing"
    elsewhere.refresh_from_db()
    assert (elsewhere.trigger, elsewhere.trigger_ref, Rule.objects.count()) == (None, "lab.disk", 2)


def test_enable_and_disable(api):
    rule = make_rule()

    off, still_off = [api.post(f"{RULES}/{rule.ref}/disable") for _ in range(2)]
    on = api.post(f"{RULES}/{rule.ref}/enable")

    assert [answer.status_code for answer in (off, still_off, on)] == [200] * 3
    assert [answer.json()["data"]["enabled"] for answer in (off, still_off, on)] == [False, False, True]
    assert (off.json()["message"], on.json()["message"]) == (
        "Rule disabled successfully", "Rule enabled successfully",
    )  # fmt: skip
    assert still_off.json()["data"]["updated"] == off.json()["data"]["updated"]
    assert error_of(api.post(f"{RULES}/no.no/enable")) == (404, "NOT_FOUND")


def test_delete(api):
    rule = make_rule()

    first, second = api.delete(f"{RULES}/{rule.ref}"), api.delete(f"{RULES}/{rule.ref}")

    assert first.json() == {"success": True, "message": f"Rule '{rule.ref}' deleted successfully"}
    assert (first.status_code, error_of(second)) == (200, (404, "NOT_FOUND"))


# --- Hostile JSON -----------------------------------------------------------------------------------------------


def nested(levels, inner):
    for _ in range(levels):
        inner = {"not": inner}
    return inner


@pytest.mark.parametrize("field", ["conditions", "action_params", "trigger_params", "dedupe"])
def test_json_nested_without_end_is_refused(api, disk, alarm, field):
    text = json.dumps(body(**{field: None}))[:-1].rsplit(f'"{field}": null', 1)
    deep = "".join([text[0], f'"{field}": ', '{"not": ' * 10_000, "1", "}" * 10_000, text[1], "}"])

    answer = api.post(RULES, deep, content_type="application/json")

    assert error_of(answer) == (400, "BAD_REQUEST")


def test_deep_conditions_that_can_be_read_are_stored_and_read_back(api, disk, alarm):
    deep = nested(150, {"expression": "true"})

    assert api.post(RULES, body(conditions=deep, action_params={"text": "t", "d": deep})).status_code == 201
    assert api.get(f"{RULES}/lab.r").json()["data"]["conditions"] == deep


def test_large_conditions_are_answered_soon(api, disk, alarm):
    many = [{"field": f"f{number}", "operator": "matches", "value": "(" * 50} for number in range(5000)]

    assert api.post(RULES, body(conditions=many)).status_code == 201
    assert api.post(f"{RULES}/lab.r/test", {"payload": {}}).status_code == 200


@pytest.mark.parametrize("field", ["conditions", "action_params", "trigger_params"])
def test_more_than_a_mebibyte_is_refused(api, disk, alarm, field):
    fits, too_much = ({**body()["action_params"], "path": "/", "x": "y" * size} for size in (1_000_000, 1_050_000))

    refused = api.post(RULES, body(**{field: too_much}))

    assert error_of(refused) == (422, "VALIDATION_ERROR")
    assert [detail["field"] for detail in refused.json()["details"]] == [field]
    assert api.post(RULES, body(**{field: fits})).status_code == 201
    assert api.put(f"{RULES}/lab.r", {field: too_much}).status_code == 422


def test_texts_no_database_keeps_are_refused(api, disk, alarm):
    assert error_of(api.post(RULES, body(label="a\x00b"))) == (400, "BAD_REQUEST")
    half = json.dumps(body(action_params={"text": "\ud800"}))
    assert error_of(api.post(RULES, half, content_type="application/json")) == (400, "BAD_REQUEST")
    assert api.get(f"{RULES}/%00").status_code == 400


def test_numbers_of_any_size_survive(api, disk, alarm):
    params = {"text": "t", "big": 2**200, "float": 0.1}

    assert api.post(RULES, body(action_params=params)).json()["data"]["action_params"] == params
    assert api.get(f"{RULES}/lab.r").json()["data"]["action_params"] == params
