"""Policies over HTTP, and in packs."""

from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.actions.models import Policy
from apps.packs.models import Pack
from apps.packs.services import register_pack
from tests.clients import signed_in
from tests.factories import grant, make_action, make_holder, make_pack, make_policy

pytestmark = pytest.mark.django_db

POLICIES = "/api/v1/policies"
KEYS = {
    "id", "ref", "name", "description", "pack", "pack_ref", "action", "action_ref", "scope", "parameters", "method",
    "threshold", "max_executions", "window_seconds", "enabled", "tags", "created", "updated", "max_waiting",
    "action_refs", "semaphore",
}  # fmt: skip


def body(**changes: Any) -> dict[str, Any]:
    return {"ref": "lab.one", "name": "One", "threshold": 1, **changes}


def test_policy_is_made_read_changed_and_deleted(api: APIClient) -> None:
    action = make_action()
    made = api.post(POLICIES, body(action_ref=action.ref, parameters=["site"], tags=["a"]), format="json")
    assert made.status_code == 201, made.json()
    data = made.json()["data"]
    assert data.keys() == KEYS
    assert (data["scope"], data["action"], data["method"], data["enabled"]) == ("action", action.pk, "enqueue", True)

    changes = {"threshold": {"op": "clear"}, "max_executions": {"op": "set", "value": 5}, "enabled": False,
               "window_seconds": {"op": "set", "value": 60}}  # fmt: skip
    changed = api.put(f"{POLICIES}/lab.one", changes, format="json").json()["data"]
    assert (changed["threshold"], changed["max_executions"], changed["enabled"]) == (None, 5, False)
    assert api.get(f"{POLICIES}/lab.one").json()["data"] == changed
    assert api.delete(f"{POLICIES}/lab.one").json() == {
        "success": True, "message": "Policy 'lab.one' deleted successfully"
    }  # fmt: skip
    assert api.get(f"{POLICIES}/lab.one").status_code == 404
    assert api.delete(f"{POLICIES}/lab.one").status_code == 404


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"threshold": None}, 400),
        ({"threshold": None, "max_executions": 3}, 400),
        ({"window_seconds": 3}, 400),
        ({"pack_ref": "lab", "semaphore": "x"}, 400),
        ({"action_ref": "no.such"}, 404),
        ({"pack_ref": "nosuch"}, 404),
        ({"action_refs": ["no.such"]}, 404),
        ({"threshold": 0}, 422),
        ({"max_executions": 1, "window_seconds": 2_592_001}, 422),
        ({"method": "wait"}, 422),
        ({"parameters": [1]}, 422),
        ({"parameters": ["x"] * 21}, 422),
        ({"ref": "UPPER.case"}, 422),
        ({"name": ""}, 422),
    ],
)
def test_policy_that_cannot_be_is_refused(api: APIClient, changes: dict[str, Any], status: int) -> None:
    make_pack(ref="lab")
    answer = api.post(POLICIES, body(**changes), format="json")
    assert (answer.status_code, Policy.objects.count()) == (status, 0), answer.json()


def test_ref_is_taken_once(api: APIClient) -> None:
    assert [api.post(POLICIES, body(), format="json").status_code for _ in range(2)] == [201, 409]


@pytest.mark.parametrize("ref", ["limit", "lab.one", "lab.deploy.one", "1"])
def test_ref_is_any_lower_case_text(api: APIClient, ref: str) -> None:
    assert api.post(POLICIES, body(ref=ref), format="json").status_code == 201
    assert api.put(f"{POLICIES}/{ref}", {"name": "Two"}, format="json").json()["data"]["name"] == "Two"
    assert api.get(f"{POLICIES}/{ref}/state").json()["data"] == {"policy_ref": ref, "groups": []}


@pytest.mark.parametrize("ref", ["Lab.one", "a b", "a/b", "a\n"])
def test_ref_that_breaks_its_rule_is_named(api: APIClient, ref: str) -> None:
    answer = api.post(POLICIES, body(ref=ref), format="json")
    assert (answer.status_code, answer.json()["code"]) == (422, "UNPROCESSABLE_ENTITY")
    assert answer.json()["details"][0]["field"] == "ref"


def test_change_that_leaves_no_limit_or_half_of_one_is_refused(api: APIClient) -> None:
    make_policy(ref="lab.one", threshold=1)
    for changes in (
        {"threshold": {"op": "clear"}},
        {"max_executions": {"op": "set", "value": 1}},
        {"action_refs": ["a.b"]},
    ):
        assert api.put(f"{POLICIES}/lab.one", changes, format="json").status_code == 400


def test_list_is_filtered_and_in_order(api: APIClient) -> None:
    pack = make_pack()
    action = make_action(pack=pack)
    of_action, of_pack = (
        make_policy(ref="b.action", action=action),
        make_policy(ref="a.pack", pack=pack, enabled=False),
    )
    make_policy(ref="c.all")
    make_policy(ref="d.shared", action_refs=[action.ref])
    make_policy(ref="e.shared", semaphore="x")

    def refs(query: str) -> list[str]:
        return [row["ref"] for row in api.get(f"{POLICIES}{query}").json()["data"]]

    assert refs("") == ["a.pack", "b.action", "c.all", "d.shared", "e.shared"]
    assert refs(f"?action_ref={action.ref}") == [of_action.ref]
    assert refs(f"?pack_ref={pack.ref}&enabled=false") == [of_pack.ref]
    scopes = ("action", "pack", "global", "shared")
    assert [refs(f"?scope={scope}") for scope in scopes] == [
        ["b.action"], ["a.pack"], ["c.all"], ["d.shared", "e.shared"]
    ]  # fmt: skip
    assert api.get(f"{POLICIES}?scope=none").status_code == 400


def test_grant_must_cover_all_that_a_policy_limits() -> None:
    mine, foreign = make_action(semaphores=["db"]), make_action()
    client = signed_in(make_holder(grant("actions:read", "actions:update", refs=[mine.ref])))
    allowed = {"action_ref": mine.ref}
    refused: list[dict[str, Any]] = [
        {"action_ref": foreign.ref}, {"action_refs": [mine.ref, foreign.ref]}, {"pack_ref": mine.pack_ref},
        {"semaphore": "db"}, {},
    ]  # fmt: skip
    assert [client.post(POLICIES, body(**scope), format="json").status_code for scope in refused] == [403] * 5
    assert client.post(POLICIES, body(**allowed), format="json").status_code == 201
    assert (
        client.put(f"{POLICIES}/lab.one", {"threshold": {"op": "set", "value": 2}}, format="json").status_code == 200
    )

    hidden = make_policy(action=foreign)
    shared = make_policy(action_refs=[mine.ref])
    assert client.get(f"{POLICIES}/{hidden.ref}").status_code == 404
    assert client.get(f"{POLICIES}/{hidden.ref}/state").status_code == 404
    assert client.put(f"{POLICIES}/{hidden.ref}", {"enabled": False}, format="json").status_code == 403
    assert client.delete(f"{POLICIES}/{hidden.ref}").status_code == 403
    widened = client.put(f"{POLICIES}/{shared.ref}", {"action_refs": [mine.ref, foreign.ref]}, format="json")
    assert widened.status_code == 403
    assert [row["ref"] for row in client.get(POLICIES).json()["data"]] == ["lab.one", shared.ref]

    of_pack = signed_in(make_holder(grant("actions:update", pack_refs=[foreign.pack_ref])))
    assert of_pack.post(POLICIES, body(ref="lab.two", pack_ref=foreign.pack_ref), format="json").status_code == 201
    assert of_pack.post(POLICIES, body(ref="lab.three"), format="json").status_code == 403


def write(folder: Path, name: str, text: str) -> None:
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    (folder / "policies" / name).write_text(text)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    (folder / "actions").mkdir(parents=True)
    (folder / "pack.yaml").write_text("ref: lab\nversion: 1.0.0\n")
    (folder / "actions" / "one.yaml").write_text("ref: lab.one\nlabel: One\nrunner_type: shell\nentry_point: one.sh\n")
    return folder


def test_pack_brings_policies_and_takes_them_away(core_pack: Pack, lab: Path) -> None:
    foreign = make_action()
    write(lab, "a.yaml", "name: single\naction_ref: one\nthreshold: 1\nparameters: [site]\n")
    write(lab, "b.yaml", "ref: whole\nmax_executions: 3\nwindow_seconds: 60\nmethod: cancel\n")
    write(lab, "c.yaml", f"ref: foreign\naction_ref: {foreign.ref}\nthreshold: 1\n")
    write(lab, "d.yaml", "ref: none\n")
    write(lab, "e.yaml", "ref: bad\nthreshold: 0\n")
    own = make_policy(ref="own.one")

    warnings = register_pack(lab, force=True).warnings

    found = {policy.ref: policy for policy in Policy.objects.filter(defined_by__ref="lab")}
    assert found.keys() == {"lab.single", "lab.whole"}
    assert (found["lab.single"].action_ref, found["lab.single"].parameters) == ("lab.one", ["site"])
    assert (found["lab.whole"].pack_ref, found["lab.whole"].method) == ("lab", "cancel")
    assert len(warnings) == 3
    (lab / "policies" / "b.yaml").unlink()
    register_pack(lab, force=True)
    assert list(Policy.objects.order_by("ref").values_list("ref", flat=True)) == ["lab.single", own.ref]
