"""Permission sets, what roles give, and assignments over HTTP (api.md section 20, auth.md 7.1)."""

import threading
from functools import partial

import pytest
from django.db import connection

from apps.identity import rights
from apps.identity.callers import Caller
from apps.identity.models import (
    SYSTEM_LOGIN,
    Identity,
    PermissionAssignment,
    PermissionSet,
    PermissionSetRoleAssignment,
)
from tests.clients import signed_in, with_execution_token
from tests.factories import grant, make_admin, make_execution, make_holder, make_identity, make_set
from tests.racing import together

pytestmark = pytest.mark.django_db

SETS, ASSIGNMENTS = "/api/v1/permissions/sets", "/api/v1/permissions/assignments"


@pytest.fixture
def client():
    return signed_in(make_admin(login="admin"))


def error(answer):
    return answer.status_code, answer.json()["code"]


def data(answer, status=200):
    assert answer.status_code == status, answer.content
    return answer.json()["data"]


def done(message):
    return {"data": {"success": True, "message": message}}


# --- Sets -------------------------------------------------------------------------------------------------------


def test_sets_are_a_bare_list_by_ref(client, django_assert_num_queries):
    late = make_set(grant("packs:read"), ref="zz.last")
    shop = make_set(grant("packs:read", pack_refs=["shop"]), ref="shop.operator")
    shop.set(pack_ref="shop", label="Operator")
    for role in ("b", "a"):
        PermissionSetRoleAssignment.objects.create(permset=shop, role=role)

    with django_assert_num_queries(4):  # who, what they may, sets, roles
        answer = client.get(SETS).json()

    assert [shown["ref"] for shown in answer] == ["core.admin", "shop.operator", "zz.last"]
    shown = answer[1]
    assert set(shown) == {"id", "ref", "pack_ref", "label", "description", "grants", "roles"}
    assert (shown["pack_ref"], shown["label"], shown["description"]) == ("shop", "Operator", None)
    assert shown["grants"] == [{"resource": "packs", "actions": ["read"], "constraints": {"pack_refs": ["shop"]}}]
    assert [given["role"] for given in shown["roles"]] == ["b", "a"]
    assert set(shown["roles"][0]) == {"id", "permission_set_id", "permission_set_ref", "role", "created"}
    assert (shown["roles"][0]["permission_set_id"], shown["roles"][0]["permission_set_ref"]) == (
        shop.pk,
        "shop.operator",
    )
    assert answer[2]["id"] == late.pk
    assert [found["ref"] for found in client.get(f"{SETS}?pack_ref=shop").json()] == ["shop.operator"]
    assert client.get(f"{SETS}?pack_ref=none").json() == []


def test_sets_that_may_be_read_are_listed():
    make_set(grant("packs:read"), ref="shop.a")
    client = signed_in(make_holder(grant("permissions:read", refs=["shop.a"])))
    assert [shown["ref"] for shown in client.get(SETS).json()] == ["shop.a"]


def test_without_grants_everything_is_forbidden():
    permset, anna = make_set(grant("packs:read")), make_identity()
    given = PermissionSetRoleAssignment.objects.create(permset=permset, role="r")
    held = PermissionAssignment.objects.create(permset=permset, identity=anna)
    client = signed_in(make_holder("core.viewer"))
    asked = [
        client.get(SETS), client.put(f"{SETS}/{permset.pk}", {"grants": []}), client.delete(f"{SETS}/{permset.pk}"),
        client.post(f"{SETS}/{permset.pk}/roles", {"role": "x"}), client.delete(f"{SETS}/roles/{given.pk}"),
        client.post(ASSIGNMENTS, {"identity_id": anna.pk, "permission_set_ref": permset.ref}),
        client.delete(f"{ASSIGNMENTS}/{held.pk}"),
    ]  # fmt: skip
    assert {error(answer) for answer in asked} == {(403, "FORBIDDEN")}
    assert client.put(f"{SETS}/999999", {"grants": []}).status_code == 404


def test_managers_of_some_sets_manage_just_those():
    mine, other, anna = make_set(ref="shop.mine"), make_set(ref="shop.other"), make_identity()
    client = signed_in(make_holder(grant("permissions:manage", refs=["shop.mine"])))

    def asked(permset):
        body = {"identity_id": anna.pk, "permission_set_ref": permset.ref}
        held = PermissionAssignment.objects.create(permset=permset, identity=make_identity())
        given = PermissionSetRoleAssignment.objects.create(permset=permset, role="old")
        return [
            client.post(ASSIGNMENTS, body).status_code, client.delete(f"{ASSIGNMENTS}/{held.pk}").status_code,
            client.put(f"{SETS}/{permset.pk}", {"grants": []}).status_code,
            client.post(f"{SETS}/{permset.pk}/roles", {"role": "new"}).status_code,
            client.delete(f"{SETS}/roles/{given.pk}").status_code, client.delete(f"{SETS}/{permset.pk}").status_code,
        ]  # fmt: skip

    assert asked(mine) == [201, 200, 200, 201, 200, 200]
    assert asked(other) == [403] * 6


def test_update_replaces_grants_and_keeps_what_is_not_named(client):
    permset = make_set(grant("packs:read"), ref="shop.a")
    permset.set(label="L", description="D")
    grants = [
        grant("keys:read", "keys:decrypt", owner_types=["pack"], refs=["shop.k"], encrypted=True, owner="any"),
        grant("executions:read", execution_scope="descendants", pack_refs=["shop"]),
        grant("artifacts:read", visibility=["public"], owner="none", attributes={"team": {"x": 1}}),
        {"resource": "packs", "actions": ["read"], "constraints": None},
    ]

    shown = data(client.put(f"{SETS}/{permset.pk}", {"grants": grants}))

    assert (shown["grants"], shown["label"], shown["description"]) == (grants, "L", "D")
    shown = data(
        client.put(
            f"{SETS}/{permset.pk}", {"grants": [], "label": "M", "description": "", "ref": "x", "pack_ref": "x"}
        )
    )
    assert (shown["ref"], shown["pack_ref"], shown["label"], shown["grants"]) == ("shop.a", None, "M", [])


@pytest.mark.parametrize(
    "grants",
    [
        None, {}, "x", 5, [5], ["packs:read"], [{}], [{"resource": "packs"}], [{"resource": "packs", "actions": []}],
        [{"resource": "packs", "actions": "read"}], [{"resource": "sensors", "actions": ["read"]}],
        [{"resource": "packs", "actions": ["read", "update"]}], [{"resource": "permissions", "actions": ["update"]}],
        [{"resource": ["packs"], "actions": ["read"]}], [{"resource": "packs", "actions": [1]}],
        [grant("packs:read", ids=[1])], [grant("keys:read", owner_refs=["x"])],
        [grant("actions:read", pack_refs=["a"], refs=["b"])], [grant("keys:read", pack_refs=["a"])],
        [grant("events:read", pack_refs=["a"])], [grant("actions:read", owner="self")],
        [grant("packs:read", owner_types=["pack"])], [grant("keys:read", visibility=["public"])],
        [grant("keys:read", execution_scope="self")], [grant("packs:read", encrypted=True)],
        [grant("packs:read", colour="red")], [grant("packs:read", pack_refs="shop")],
        [grant("packs:read", pack_refs=[1])], [grant("packs:read", owner="me")], [grant("packs:read", attributes=[])],
        [grant("keys:read", encrypted="yes")], [grant("artifacts:read", visibility=["secret"])],
        [{"resource": "packs", "actions": ["read"], "constraints": []}],
        [grant("packs:read"), {"resource": "packs", "actions": ["fly"]}],
    ],
)  # fmt: skip
def test_grants_that_mean_nothing_are_bad_requests(client, grants):
    permset = make_set(grant("packs:read"), ref="shop.a")
    answer = client.put(f"{SETS}/{permset.pk}", {"grants": grants, "label": "changed"})
    assert error(answer) == (400, "BAD_REQUEST"), answer.content
    permset.refresh_from_db()
    assert (permset.grants, permset.label) == ([grant("packs:read")], "shop.a")


@pytest.mark.parametrize("body", [{}, {"grants": [], "label": "x" * 256}, {"grants": [], "label": 5}, [], "x"])
def test_bodies_of_another_form_are_refused(client, body):
    permset = make_set(grant("packs:read"))
    assert error(client.put(f"{SETS}/{permset.pk}", body)) == (422, "VALIDATION_ERROR")


def test_set_is_deleted_with_what_it_gave(client):
    permset = make_set(grant("workers:read"), ref="shop.a")
    anna, execution = make_identity(), make_execution(status="running", epoch=1)
    PermissionAssignment.objects.create(identity=anna, permset=permset)
    PermissionSetRoleAssignment.objects.create(permset=permset, role="r")
    program = with_execution_token(execution, "shop.a")
    assert program.get("/api/v1/workers").status_code == 200

    assert client.delete(f"{SETS}/{permset.pk}").json() == done("Permission set 'shop.a' deleted successfully")

    assert not PermissionAssignment.objects.filter(identity=anna).exists()
    assert program.get("/api/v1/workers").json()["error"] == "Permission sets do not exist: shop.a"
    assert client.delete(f"{SETS}/{permset.pk}").status_code == 404


@pytest.mark.parametrize(("path", "status"), [("999999", 404), ("0", 404), ("9" * 30, 404), ("abc", 400)])
def test_odd_ids(client, path, status):
    assert client.put(f"{SETS}/{path}", {"grants": []}).status_code == status
    assert client.delete(f"{SETS}/{path}").status_code == status
    assert client.post(f"{SETS}/{path}/roles", {"role": "r"}).status_code == status
    assert client.delete(f"{SETS}/roles/{path}").status_code == status
    assert client.delete(f"{ASSIGNMENTS}/{path}").status_code == status


def test_one_set_alone_is_not_read(client):
    assert client.get(f"{SETS}/{make_set().pk}").status_code == 405
    assert client.post(SETS, {"ref": "x.y", "grants": []}).status_code == 405


# --- Roles of sets ----------------------------------------------------------------------------------------------


def test_role_gives_a_set_until_it_is_taken(client):
    permset = make_set(grant("packs:read"), ref="shop.a")

    made = data(client.post(f"{SETS}/{permset.pk}/roles", {"role": "ops"}), 201)

    assert (made["permission_set_id"], made["permission_set_ref"], made["role"]) == (permset.pk, "shop.a", "ops")
    assert set(made) == {"id", "permission_set_id", "permission_set_ref", "role", "created"}
    assert error(client.post(f"{SETS}/{permset.pk}/roles", {"role": "ops"})) == (409, "CONFLICT")
    assert client.delete(f"{SETS}/roles/{made['id']}").json() == done("Role 'ops' removed successfully")
    assert client.delete(f"{SETS}/roles/{made['id']}").status_code == 404


@pytest.mark.parametrize("role", [None, "", "x" * 256, 5, ["r"], {}])
def test_role_of_another_form_is_refused(client, role):
    assert error(client.post(f"{SETS}/{make_set().pk}/roles", {"role": role})) == (422, "VALIDATION_ERROR")


# --- Assignments ------------------------------------------------------------------------------------------------


def test_set_is_assigned_by_id_or_login_and_taken(client):
    anna, bert = make_identity(login="anna"), make_identity(login="bert")
    permset = make_set(grant("workers:read"), ref="shop.a")
    hers = signed_in(anna)

    made = data(client.post(ASSIGNMENTS, {"identity_id": anna.pk, "permission_set_ref": "shop.a"}), 201)

    assert set(made) == {"id", "identity_id", "permission_set_id", "permission_set_ref", "created"}
    assert (made["identity_id"], made["permission_set_id"], made["permission_set_ref"]) == (
        anna.pk,
        permset.pk,
        "shop.a",
    )
    assert hers.get("/api/v1/workers").status_code == 200
    by_login = {"identity_login": "bert", "identity_id": None, "permission_set_ref": "shop.a"}
    assert data(client.post(ASSIGNMENTS, by_login), 201)["identity_id"] == bert.pk

    assert client.delete(f"{ASSIGNMENTS}/{made['id']}").json() == done("Permission set 'shop.a' removed successfully")
    assert hers.get("/api/v1/workers").status_code == 403
    assert client.delete(f"{ASSIGNMENTS}/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"permission_set_ref": "core.viewer"}, 400),
        ({"permission_set_ref": "core.viewer", "identity_id": 1, "identity_login": "system"}, 400),
        ({"permission_set_ref": "core.viewer", "identity_id": 999999}, 404),
        ({"permission_set_ref": "core.viewer", "identity_id": 0}, 404),
        ({"permission_set_ref": "core.viewer", "identity_id": -(2**63)}, 404),
        ({"permission_set_ref": "core.viewer", "identity_login": "nobody"}, 404),
        ({"permission_set_ref": "core.viewer", "identity_login": "ANNA"}, 404),
        ({"permission_set_ref": "no.such", "identity_login": "anna"}, 404),
        ({"permission_set_ref": "standard", "identity_login": "anna"}, 404),
        ({"identity_login": "anna"}, 422),
        ({"permission_set_ref": 5, "identity_login": "anna"}, 422),
        ({"permission_set_ref": "x" * 256, "identity_login": "anna"}, 422),
        ({"permission_set_ref": "core.viewer", "identity_login": "x" * 256}, 422),
        ({"permission_set_ref": "core.viewer", "identity_id": "1"}, 422),
        ({"permission_set_ref": "core.viewer", "identity_id": True}, 422),
        ({"permission_set_ref": "core.viewer", "identity_id": 2**63}, 422),
        ([], 422),
    ],
)
def test_assignments_that_name_nothing_are_refused(client, body, status):
    make_set(ref="core.viewer")
    make_identity(login="anna")
    assert client.post(ASSIGNMENTS, body).status_code == status
    assert PermissionAssignment.objects.count() == 1


def test_second_assignment_is_a_conflict(client):
    make_holder("core.viewer", login="anna")
    answer = client.post(ASSIGNMENTS, {"identity_login": "anna", "permission_set_ref": "core.viewer"})
    assert error(answer) == (409, "CONFLICT")


@pytest.mark.parametrize("login", [SYSTEM_LOGIN, "sensor:shop.watch"])
def test_product_itself_holds_no_sets(client, login):
    Identity.objects.get_or_create(login=login)
    answer = client.post(ASSIGNMENTS, {"identity_login": login, "permission_set_ref": "core.admin"})
    assert error(answer) == (400, "BAD_REQUEST")


@pytest.mark.django_db(transaction=True)
def test_one_of_many_same_assignments_at_once_is_made():
    make_set(ref="core.viewer")
    make_identity(login="anna")
    client, start, statuses = signed_in(make_admin()), threading.Barrier(4), []

    def assign():
        start.wait()
        body = {"identity_login": "anna", "permission_set_ref": "core.viewer"}
        statuses.append(client.post(ASSIGNMENTS, body).status_code)
        connection.close()

    threads = [threading.Thread(target=assign) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 409, 409, 409]
    assert PermissionSet.objects.get(ref="core.viewer").assignments.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_who_say_what_is_held_the_last_is_right():
    admin = make_admin()
    by, refs = Caller(holder=admin, token_type="access", login=admin.login), ("tests.a", "tests.b")
    for ref in refs:
        make_set(ref=ref)

    for _ in range(15):
        anna = make_identity()

        answers = together(
            *(partial(rights.hold_exactly, anna, [ref], by=by) for ref in refs),
            *(partial(rights.have_exactly, anna, [ref], by=by) for ref in refs),
            spread_seconds=0.002,
        )

        assert answers == [None] * 4
        assert (anna.assignments.count(), anna.roles.count()) == (1, 1)
