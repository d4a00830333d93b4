"""May this identity do that, and why (api.md section 20)?"""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from apps.identity.models import IdentityRoleAssignment, PermissionSetRoleAssignment
from tests.clients import signed_in, with_execution_token
from tests.factories import grant, make_action, make_execution, make_holder, make_identity, make_pack, make_set

EXPLAIN = "/api/v1/permissions/explain"

pytestmark = pytest.mark.django_db


def told(client, name, **params):
    resource, _, action = name.partition(":")
    answer = client.get(EXPLAIN, {"resource": resource, "action": action, **params})
    assert answer.status_code == 200, answer.content
    return answer.json()["data"]


def in_shop(**fields):
    return make_action(pack=make_pack(ref="shop"), ref="shop.restock", **fields)


def test_grant_that_holds_is_named_with_its_set_role_and_constraint():
    in_shop()
    permset = make_set(grant("actions:read", "actions:execute", pack_refs=["shop"]), ref="shop.operator")
    PermissionSetRoleAssignment.objects.create(permset=permset, role="operators")
    anna = make_identity()
    IdentityRoleAssignment.objects.create(identity=anna, role="operators")

    assert told(signed_in(anna), "actions:execute", ref="shop.restock") == {
        "allowed": True,
        "because": [
            {
                "permission_set": "shop.operator",
                "role": "operators",
                "constraint": 'pack_refs: ["shop"]',
                "message": "Permission set 'shop.operator' (by role 'operators') gives actions:execute "
                'where pack_refs: ["shop"]',
            }
        ],
    }


def test_constraint_that_fails_is_named():
    make_action(pack=make_pack(ref="yard"), ref="yard.tidy")
    anna = make_holder(grant("actions:read", "actions:execute", pack_refs=["shop"]), "core.viewer")

    found = told(signed_in(anna), "actions:execute", ref="yard.tidy")

    assert found["allowed"] is False
    assert [(reason["constraint"], reason["role"]) for reason in found["because"]] == [('pack_refs: ["shop"]', None)]


def test_nothing_gives_it():
    found = told(signed_in(make_holder("core.viewer")), "packs:create")
    assert (found["allowed"], found["because"][0]["message"]) == (False, "No permission set gives packs:create")
    assert found["because"][0]["permission_set"] is None


def test_grant_that_never_holds_is_named():
    found = told(signed_in(make_holder(grant("actions:read", colour="red"))), "actions:read")
    assert found["allowed"] is False
    assert "colour is not a constraint" in "".join(reason["message"] for reason in found["because"])


def test_what_takes_no_grant():
    anna = make_identity()
    pack, execution = make_pack(is_standard=True), make_execution(executor=anna)
    client = signed_in(anna)
    assert told(client, "packs:read", ref=pack.ref)["allowed"] is True
    assert told(client, "executions:cancel", ref=str(execution.pk))["allowed"] is True
    assert told(client, "executions:cancel", ref=str(make_execution().pk))["allowed"] is False


def test_nothing_is_learned_of_objects_one_may_not_see():
    in_shop()
    client = signed_in(make_holder(grant("actions:read", pack_refs=["yard"])))

    there, absent = (told(client, "actions:read", ref=f"shop.{name}") for name in ("restock", "nothing"))

    assert there == absent
    assert there["allowed"] is False
    gone = client.get(EXPLAIN, {"resource": "actions", "action": "read", "ref": "yard.nothing"})
    assert gone.status_code == 404


def test_absent_object_is_not_found_for_whoever_would_see_it():
    for client in (signed_in(), signed_in(make_holder("core.viewer"))):
        answer = client.get(EXPLAIN, {"resource": "actions", "action": "execute", "ref": "no.such"})
        assert answer.status_code == 404


@pytest.mark.parametrize("params", [{}, {"resource": "actions"}, {"resource": "sensors", "action": "read"},
                                    {"resource": "actions", "action": "cancel"}])  # fmt: skip
def test_what_no_grant_names_is_refused(params):
    assert signed_in().get(EXPLAIN, params).status_code == 400


def test_others_take_a_grant():
    anna, bob = make_holder("core.viewer", login="anna"), make_identity(login="bob", frozen=True)
    asked = {"resource": "actions", "action": "read"}

    assert signed_in(anna).get(EXPLAIN, asked | {"identity": "bob"}).status_code == 403
    assert signed_in(anna).get(EXPLAIN, asked | {"identity": "nobody"}).status_code == 403
    assert signed_in(anna).get(EXPLAIN, asked | {"identity": "anna"}).json()["data"]["allowed"] is True
    admin = signed_in()
    assert admin.get(EXPLAIN, asked | {"identity": "nobody"}).status_code == 404
    assert admin.get(EXPLAIN, asked | {"identity": str(anna.pk)}).json()["data"]["allowed"] is True
    assert admin.get(EXPLAIN, asked | {"identity": str(bob.pk)}).json()["data"] == {
        "allowed": False,
        "because": [{"permission_set": None, "role": None, "constraint": None, "message": "Identity 'bob' is frozen"}],
    }


def test_execution_token_is_explained_by_what_it_names():
    execution = make_execution(executor=make_holder("core.viewer"))
    assert told(with_execution_token(execution, "standard"), "actions:read")["allowed"] is False
    make_set(ref="core.viewer")
    assert told(with_execution_token(execution, "core.viewer"), "actions:read")["allowed"] is True


def run(*words):
    out, code = io.StringIO(), 0
    try:
        call_command("permission_explain", *words, stdout=out)
    except SystemExit as stop:
        code = stop.code
    return code, out.getvalue()


def test_command():
    in_shop()
    anna = make_holder(grant("actions:execute", pack_refs=["shop"]), login="anna")

    code, said = run("anna", "actions:execute", "shop.restock")
    assert (code, said.splitlines()[0]) == (0, "Allowed.")
    code, said = run(str(anna.pk), "actions:delete", "shop.restock", "--json")
    assert (code, json.loads(said)["allowed"]) == (1, False)
    with pytest.raises(CommandError, match="There is no identity 'nobody'"):
        run("nobody", "actions:read")
    with pytest.raises(CommandError, match="resource:action"):
        run("anna", "actions")
    with pytest.raises(CommandError, match="no 'sensors:read'"):
        run("anna", "sensors:read")
    with pytest.raises(CommandError, match=r"'shop\.nothing'"):
        run("anna", "actions:execute", "shop.nothing")


def test_command_reads_a_token():
    from apps.identity import tokens

    anna = make_holder("core.viewer")
    assert run("--token", tokens.mint_access_token(anna.pk, anna.login), "rules:read")[0] == 0
    with pytest.raises(CommandError, match="Invalid authentication token"):
        run("--token", "x", "rules:read")
