"""Whose grants count: direct and by role, of execution tokens, read anew for each request (auth.md section 6)."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.identity.models import IdentityRoleAssignment, PermissionAssignment, PermissionSetRoleAssignment
from tests.clients import signed_in, with_execution_token
from tests.factories import grant, make_action, make_execution, make_holder, make_identity, make_pack, make_set

ACTIONS = "/api/v1/actions"

pytestmark = pytest.mark.django_db


def refs(client, path=ACTIONS):
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    return [row["ref"] for row in answer.json()["data"]]


def two_packs():
    return [make_action(pack=make_pack(ref=ref), ref=f"{ref}.go") for ref in ("shop", "yard")]


def test_direct_grants_and_those_of_roles_add_up():
    two_packs()
    anna = make_holder(grant("actions:read", pack_refs=["shop"]))
    assert refs(signed_in(anna)) == ["shop.go"]

    PermissionSetRoleAssignment.objects.create(
        permset=make_set(grant("actions:execute", pack_refs=["yard"])), role="r"
    )
    assert refs(signed_in(anna)) == ["shop.go"]
    IdentityRoleAssignment.objects.create(identity=anna, role="r")
    assert refs(signed_in(anna)) == ["shop.go", "yard.go"]


def test_change_counts_with_the_next_request():
    two_packs()
    anna = make_identity()
    client = signed_in(anna)
    assert refs(client) == []
    permset = make_set(grant("actions:read"))
    held = PermissionAssignment.objects.create(identity=anna, permset=permset)
    assert refs(client) == ["shop.go", "yard.go"]
    permset.set(grants=[grant("actions:read", refs=["yard.go"])])
    assert refs(client) == ["yard.go"]
    held.delete()
    assert refs(client) == []


def test_execution_token_holds_what_its_sets_give_and_nothing_of_its_identity():
    two_packs()
    make_set(grant("actions:read", pack_refs=["shop"]), ref="shop.reader")
    execution = make_execution(executor=make_holder("core.admin"))
    assert refs(with_execution_token(execution)) == []
    assert refs(with_execution_token(execution, "shop.reader")) == ["shop.go"]
    answer = with_execution_token(execution, "shop.reader", "no.such").get(ACTIONS)
    assert (answer.status_code, answer.json()["error"]) == (403, "Permission sets do not exist: no.such")


@pytest.mark.parametrize(
    "path", ["/api/v1/packs", ACTIONS, "/api/v1/rules", "/api/v1/executions", "/api/v1/artifacts"]
)
def test_checks_ask_as_often_whatever_the_number_of_grants(path):
    def queries(client):
        with CaptureQueriesContext(connection) as captured:
            assert client.get(path).status_code == 200
        return len(captured)

    two_packs()
    one = [
        grant(f"{name}:read", pack_refs=["shop"]) for name in ("packs", "actions", "rules", "executions", "artifacts")
    ]
    many = [
        grant(f"{name}:read", pack_refs=[f"p{number}", "shop"], refs=[f"r{number}"])
        for name in ("packs", "actions", "rules", "executions", "artifacts")
        for number in range(40)
    ]
    anna, bob = make_holder(*one), make_holder(*one, *many)
    for number in range(20):
        PermissionAssignment.objects.create(identity=bob, permset=make_set(grant("actions:read", refs=[f"x{number}"])))
        PermissionSetRoleAssignment.objects.create(
            permset=make_set(grant("rules:read", refs=["x"])), role=f"r{number}"
        )
        IdentityRoleAssignment.objects.create(identity=bob, role=f"r{number}")

    few = queries(signed_in(anna))

    assert queries(signed_in(bob)) == few
    assert few <= 4  # who it is, what it may, how many, which


@pytest.mark.parametrize("method, path", [("get", "/shop.go"), ("put", "/shop.go"), ("delete", "/shop.go")])
def test_checks_of_one_object_add_two_queries_at_most(method, path):
    two_packs()
    anna = make_holder(grant("actions:read", "actions:update", "actions:delete", pack_refs=["shop"]))
    with CaptureQueriesContext(connection) as captured:
        answer = getattr(signed_in(anna), method)(ACTIONS + path, {} if method == "put" else None)
    assert answer.status_code == 200
    rights = [query for query in captured if "FROM permission_set" in query["sql"]]
    assert len(rights) == 1


# --- Delegation -------------------------------------------------------------------------------------------------

EXECUTE = "/api/v1/executions/execute"


def run(client, *sets):
    return client.post(EXECUTE, {"action_ref": "shop.go", "permission_set_refs": list(sets)})


def test_sets_may_be_passed_on_as_far_as_ones_own_grants_cover_them():
    two_packs()
    make_set(grant("actions:read", "actions:execute", pack_refs=["shop"]), ref="t.runs")
    make_set(grant("keys:decrypt", refs=["x"]), ref="t.secrets")
    beyond = "Cannot execute action with permission sets beyond current access"

    plain = signed_in(make_holder(grant("actions:read", "actions:execute")))
    assert run(plain, "t.runs").status_code == 201  # what the set asks for in constraints does not count
    assert run(plain, "standard").status_code == 201
    assert run(plain).status_code == 201
    answer = run(plain, "t.runs", "t.secrets")
    assert (answer.status_code, answer.json()["error"]) == (403, beyond)
    answer = run(plain, "t.b", "t.runs", "t.a")
    assert (answer.status_code, answer.json()["error"]) == (403, "Permission sets do not exist: t.a, t.b")

    narrow = signed_in(make_holder(grant("actions:read", "actions:execute", pack_refs=["shop"])))
    assert run(narrow).status_code == 201
    assert run(narrow, "t.runs").json()["error"] == beyond  # a constrained grant does not cover


def test_sets_of_the_action_are_passed_on_like_named_ones():
    two_packs()
    make_set(grant("keys:decrypt"), ref="t.secrets")
    make_action(pack=make_pack(ref="mine"), ref="mine.a", default_execution_permission_set_refs=["t.secrets"])
    client = signed_in(make_holder(grant("actions:execute")))
    assert client.post(EXECUTE, {"action_ref": "mine.a"}).status_code == 403
    assert client.post(EXECUTE, {"action_ref": "mine.a", "permission_set_refs": []}).status_code == 201


def test_execution_token_passes_on_what_its_sets_cover():
    actions = two_packs()
    make_set(grant("actions:execute"), ref="t.runs")
    make_set(ref="core.viewer")
    execution = make_execution(action=actions[0], executor=make_holder("core.admin"), status="running")
    client = with_execution_token(execution, "t.runs")
    assert run(client, "t.runs").status_code == 201
    assert run(client, "core.viewer").status_code == 403


def test_actions_that_carry_sets_need_delegation_unless_the_sets_stay():
    two_packs()
    make_set(grant("keys:decrypt"), ref="t.secrets")
    client = signed_in(make_holder(grant("actions:create", "actions:update")))
    body = {"ref": "shop.new", "pack_ref": "shop", "label": "x", "entrypoint": "true"}
    refused = client.post(ACTIONS, {**body, "default_execution_permission_set_refs": ["t.secrets"]})
    assert refused.status_code == 403, refused.content
    made = make_action(pack=make_pack(ref="mine"), ref="mine.a", default_execution_permission_set_refs=["t.secrets"])
    url = f"{ACTIONS}/{made.ref}"
    assert client.put(url, {"default_execution_permission_set_refs": ["t.secrets"], "label": "y"}).status_code == 200
    assert client.put(url, {"default_execution_permission_set_refs": ["t.secrets", "standard"]}).status_code == 403
    assert client.put(url, {"default_execution_permission_set_refs": []}).status_code == 200
