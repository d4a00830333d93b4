"""Identities over HTTP: list, create, change, freeze, delete, roles (api.md section 20)."""

import threading

import pytest
from django.db import connection

from apps.identity import passwords, services
from apps.identity.models import (
    SYSTEM_LOGIN,
    IdempotencyRecord,
    Identity,
    IdentityRoleAssignment,
    IntegrationToken,
    PermissionAssignment,
)
from apps.keys.models import Key
from tests.clients import anonymous, signed_in, with_execution_token
from tests.factories import grant, make_admin, make_execution, make_holder, make_identity, make_pack, make_rule

pytestmark = pytest.mark.django_db

PATH = "/api/v1/identities"


@pytest.fixture
def admin():
    return make_admin(login="admin")


@pytest.fixture
def client(admin):
    return signed_in(admin)


def at(identity, *rest):
    return "/".join([PATH, str(identity.pk), *map(str, rest)])


def error(answer):
    return answer.status_code, answer.json()["code"]


def data(answer, status=200):
    assert answer.status_code == status, answer.content
    return answer.json()["data"]


def done(message):
    return {"data": {"success": True, "message": message}}


def system():
    return Identity.objects.get(login=SYSTEM_LOGIN)


# --- Reading ----------------------------------------------------------------------------------------------------


def test_list_is_ordered_by_login_and_names_roles(client):
    make_identity(login="Zoe")
    anna = make_identity(login="anna", display_name="Anna", attributes={"team": "x"})
    for role in ("b", "a"):
        IdentityRoleAssignment.objects.create(identity=anna, role=role)

    answer = client.get(PATH).json()

    assert [row["login"] for row in answer["data"]] == ["Zoe", "admin", "anna", "system"]
    assert answer["data"][2] == {
        "id": anna.pk, "login": "anna", "display_name": "Anna", "frozen": False, "attributes": {"team": "x"},
        "roles": ["b", "a"],
    }  # fmt: skip
    assert answer["pagination"]["total_items"] == 4


def test_list_asks_as_often_for_many_as_for_one(client, django_assert_num_queries):
    for count in (1, 5):
        for _ in range(count):
            IdentityRoleAssignment.objects.create(identity=make_identity(), role="r")
        with django_assert_num_queries(5):  # who, what they may, count, page, roles
            assert client.get(PATH).status_code == 200


def test_one_identity_shows_roles_and_direct_permissions(client, django_assert_num_queries):
    anna = make_holder("core.viewer", "core.editor", login="anna", password_hash=passwords.hashed("12345678"))
    role = IdentityRoleAssignment.objects.create(identity=anna, role="ops", source="ldap", managed=True)
    role.refresh_from_db()

    with django_assert_num_queries(5):
        shown = data(client.get(at(anna)))

    assert set(shown) == {"id", "login", "display_name", "frozen", "attributes", "roles", "direct_permissions"}
    assert (shown["login"], shown["display_name"], shown["attributes"]) == ("anna", None, {})
    (told,) = shown["roles"]
    assert set(told) == {"id", "identity_id", "role", "source", "managed", "created", "updated"}
    assert (told["id"], told["identity_id"], told["role"], told["source"], told["managed"]) == (
        role.pk, anna.pk, "ops", "ldap", True,
    )  # fmt: skip
    assert [held["permission_set_ref"] for held in shown["direct_permissions"]] == ["core.viewer", "core.editor"]
    held = shown["direct_permissions"][0]
    assert set(held) == {"id", "identity_id", "permission_set_id", "permission_set_ref", "created"}
    assert client.get(at(anna, "permissions")).json() == shown["direct_permissions"]


@pytest.mark.parametrize(
    ("path", "status"), [("999999", 404), ("0", 404), ("9" * 30, 404), ("abc", 400), ("1.5", 400)]
)
def test_odd_ids(client, path, status):
    for rest in ("", "/permissions", "/integration-tokens"):
        assert client.get(f"{PATH}/{path}{rest}").status_code == status
    assert client.put(f"{PATH}/{path}", {}).status_code == status
    assert client.delete(f"{PATH}/{path}").status_code == status
    for rest in ("freeze", "unfreeze", "roles", "integration-tokens"):
        assert client.post(f"{PATH}/{path}/{rest}", {"role": "r", "label": "l"}).status_code == status
    assert client.delete(f"{PATH}/roles/{path}").status_code == status


def test_without_grants_everything_is_forbidden():
    anna = make_identity()
    client = signed_in(anna)
    role = IdentityRoleAssignment.objects.create(identity=anna, role="r")
    asked = [
        client.get(PATH), client.get(at(anna)), client.post(PATH, {"login": "new"}), client.put(at(anna), {}),
        client.delete(at(anna)), client.post(at(anna, "freeze")), client.post(at(anna, "unfreeze")),
        client.get(at(anna, "permissions")), client.post(at(anna, "roles"), {"role": "r"}),
        client.delete(f"{PATH}/roles/{role.pk}"),
    ]  # fmt: skip
    assert {error(answer) for answer in asked} == {(403, "FORBIDDEN")}
    assert client.get(at(anna)).json()["error"] == "Insufficient permissions: identities:read"
    assert client.get(f"{PATH}/999999").status_code == 403  # a read tells nothing
    assert client.put(f"{PATH}/999999", {}).status_code == 404  # a write looks first


def test_grants_under_constraints_reach_just_what_they_name():
    anna, bert = make_identity(login="anna"), make_identity(login="bert")
    client = signed_in(make_holder(grant("identities:read", "identities:update", "identities:create", refs=["anna"])))

    assert [row["login"] for row in client.get(PATH).json()["data"]] == ["anna"]
    assert client.get(at(anna)).status_code == 200
    assert client.get(at(bert)).status_code == 403
    assert client.put(at(anna), {"display_name": "A"}).status_code == 200
    assert client.put(at(bert), {"display_name": "B"}).status_code == 403
    assert client.post(at(bert, "freeze")).status_code == 403
    assert client.post(PATH, {"login": "carl"}).status_code == 403
    assert not Identity.objects.filter(login="carl").exists()


def test_readers_of_some_sets_see_assignments_of_those():
    anna = make_holder("core.viewer", "core.editor")
    client = signed_in(make_holder(grant("permissions:read", refs=["core.editor"])))
    (shown,) = client.get(at(anna, "permissions")).json()
    assert shown["permission_set_ref"] == "core.editor"


# --- Creating ---------------------------------------------------------------------------------------------------


def test_identity_is_created_and_signs_in(client):
    body = {"login": "anna", "password": "correct horse", "display_name": " Anna ", "attributes": {"team": {"x": [1]}}}

    answer = client.post(PATH, body)

    made = data(answer, 201)
    anna = Identity.objects.get(login="anna")
    assert made == {
        "id": anna.pk, "login": "anna", "display_name": "Anna", "frozen": False, "attributes": {"team": {"x": [1]}},
        "roles": [], "direct_permissions": [],
    }  # fmt: skip
    assert (
        data(anonymous().post("/auth/login", {"login": "anna", "password": "correct horse"}))["user"]["id"] == anna.pk
    )


def test_login_alone_is_enough(client):
    assert data(client.post(PATH, {"login": "bot", "password": None, "display_name": None}), 201)["attributes"] == {}
    assert Identity.objects.get(login="bot").password_hash is None


@pytest.mark.parametrize(
    "body",
    [
        {}, {"login": "ab"}, {"login": "x" * 256}, {"login": 5}, {"login": None}, {"login": ["anna"]},
        {"login": "anna", "password": "1234567"}, {"login": "anna", "password": "x" * 129},
        {"login": "anna", "password": 12345678}, {"login": "anna", "display_name": "x" * 256},
        {"login": "anna", "display_name": {}}, {"login": "anna", "attributes": []}, {"login": "anna", "attributes": "x"},
        {"login": "system"}, {"login": "sensor:mine"}, [], "x",
    ],
)  # fmt: skip
def test_create_refuses_what_is_wrong(client, body):
    assert error(client.post(PATH, body)) == (422, "VALIDATION_ERROR")
    assert Identity.objects.people().count() == 1


def test_taken_login_is_a_conflict(client):
    make_identity(login="anna")
    answer = client.post(PATH, {"login": "anna"})
    assert error(answer) == (409, "CONFLICT")
    assert answer.json()["error"] == "Identity with login 'anna' already exists"


def test_nothing_else_is_taken_from_a_body(client):
    given = {
        "login": "anna", "id": 4711, "frozen": True, "roles": ["admin"], "permission_sets": ["core.admin"], "is_staff": True,
        "direct_permissions": [{"permission_set_ref": "core.admin"}], "auth_provider": "ldap", "password_hash": "x",
        "external_id": "x", "last_login_at": "2020-01-01T00:00:00Z", "tokens_valid_after": "2020-01-01T00:00:00Z",
    }  # fmt: skip
    made = data(client.post(PATH, given), 201)
    anna = Identity.objects.get(login="anna")
    assert anna.pk == made["id"] != 4711
    assert (anna.frozen, anna.auth_provider, anna.password_hash, anna.external_id) == (False, "local", None, None)
    assert (anna.last_login_at, anna.tokens_valid_after) == (None, None)
    assert not PermissionAssignment.objects.filter(identity=anna).exists()

    client.put(at(anna), {**given, "login": "other", "frozen": False})
    anna.refresh_from_db()
    assert (anna.login, anna.auth_provider, anna.password_hash) == ("anna", "local", None)
    assert not IdentityRoleAssignment.objects.filter(identity=anna).exists()


def test_repeat_with_an_idempotency_key_keeps_no_password(client):
    body, key = {"login": "anna", "password": "correct horse"}, {"HTTP_IDEMPOTENCY_KEY": "k"}

    first, again = client.post(PATH, body, **key), client.post(PATH, body, **key)

    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    record = IdempotencyRecord.objects.get()
    assert set(record.response_body) == {"encrypted", "key_id"}
    assert client.post(PATH, {**body, "password": "other horse"}, **key).status_code == 422


@pytest.mark.django_db(transaction=True)
def test_one_of_many_creations_at_once_succeeds():
    client, start, statuses = signed_in(make_admin()), threading.Barrier(4), []

    def create():
        start.wait()
        statuses.append(client.post(PATH, {"login": "anna"}).status_code)
        connection.close()

    together(create, 4)
    assert sorted(statuses) == [201, 409, 409, 409]


def together(work, times):
    threads = [threading.Thread(target=work) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# --- Changing ---------------------------------------------------------------------------------------------------


def test_update_changes_what_is_named(client):
    anna = make_holder("core.viewer", login="anna", display_name="Anna", attributes={"a": 1})
    IdentityRoleAssignment.objects.create(identity=anna, role="ops")

    answer = client.put(at(anna), {"attributes": {"b": None}})

    assert data(answer) == {
        "id": anna.pk, "login": "anna", "display_name": "Anna", "frozen": False, "attributes": {"b": None},
        "roles": [], "direct_permissions": [],
    }  # fmt: skip
    assert PermissionAssignment.objects.filter(identity=anna).count() == 1
    assert data(client.put(at(anna), {"display_name": "  "}))["display_name"] is None
    assert data(client.put(at(anna), {}))["attributes"] == {"b": None}
    assert data(client.put(at(anna), {"display_name": None, "attributes": None, "password": None, "frozen": None}))


def test_update_of_the_password_counts_at_once(client):
    anna = services.create_identity("anna", password="correct horse")
    data(client.put(at(anna), {"password": "battery staple"}))
    assert anonymous().post("/auth/login", {"login": "anna", "password": "correct horse"}).status_code == 401
    assert anonymous().post("/auth/login", {"login": "anna", "password": "battery staple"}).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"display_name": "x" * 256}, {"display_name": 1}, {"password": "short"}, {"password": "x" * 129}, {"password": ""},
        {"attributes": [1]}, {"attributes": 1}, {"frozen": "yes"}, {"frozen": 1}, [], "x",
    ],
)  # fmt: skip
def test_update_refuses_what_is_wrong(client, body):
    anna = make_identity(display_name="Anna")
    assert error(client.put(at(anna), body)) == (422, "VALIDATION_ERROR")
    anna.refresh_from_db()
    assert (anna.display_name, anna.password_hash, anna.frozen) == ("Anna", None, False)


def test_nothing_is_changed_when_a_part_is_refused(client, admin):
    answer = client.put(at(admin), {"display_name": "New", "frozen": True})
    assert error(answer) == (400, "BAD_REQUEST")
    admin.refresh_from_db()
    assert (admin.display_name, admin.frozen) == (None, False)


def test_password_of_a_directorys_identity_is_changed_there(client):
    anna = make_identity(auth_provider="ldap")
    assert error(client.put(at(anna), {"password": "correct horse"})) == (403, "FORBIDDEN")
    assert client.put(at(anna), {"attributes": {"a": 1}}).status_code == 200


def test_built_in_identity_stays_as_it_is(client):
    one = system()
    asked = [
        client.put(at(one), {"display_name": "x"}), client.put(at(one), {"password": "correct horse"}),
        client.put(at(one), {"frozen": True}), client.delete(at(one)), client.post(at(one, "freeze")),
        client.post(at(one, "unfreeze")), client.post(at(one, "roles"), {"role": "r"}),
        client.post(at(one, "integration-tokens"), {"label": "l"}),
    ]  # fmt: skip
    assert {error(answer) for answer in asked} == {(400, "BAD_REQUEST")}
    again = system()
    assert (again.display_name, again.password_hash, again.frozen) == (one.display_name, None, False)
    assert client.get(at(one)).status_code == 200


def test_sensors_take_neither_password_nor_rights(client):
    sensor = make_identity(login="sensor:shop.watch")
    asked = [
        client.put(at(sensor), {"password": "correct horse"}), client.post(at(sensor, "roles"), {"role": "r"}),
        client.post(at(sensor, "integration-tokens"), {"label": "l"}),
    ]  # fmt: skip
    assert {error(answer) for answer in asked} == {(400, "BAD_REQUEST")}
    assert client.post(at(sensor, "freeze")).status_code == 200
    assert client.delete(at(sensor)).status_code == 200


# --- Freezing ---------------------------------------------------------------------------------------------------


def test_freeze_takes_all_access_and_unfreeze_gives_it_back(client):
    anna = services.create_identity("anna", password="correct horse")
    hers = signed_in(anna)

    assert client.post(at(anna, "freeze")).json() == done("Identity 'anna' is frozen")
    assert hers.get("/auth/me").status_code == 403
    assert anonymous().post("/auth/login", {"login": "anna", "password": "correct horse"}).status_code == 403
    assert client.post(at(anna, "freeze")).status_code == 200

    assert client.post(at(anna, "unfreeze")).json() == done("Identity 'anna' is no longer frozen")
    assert hers.get("/auth/me").status_code == 200
    assert data(client.put(at(anna), {"frozen": True}))["frozen"] is True
    assert hers.get("/auth/me").status_code == 403


def test_nobody_freezes_themselves(client, admin):
    assert error(client.post(at(admin, "freeze"))) == (400, "BAD_REQUEST")
    assert error(client.put(at(admin), {"frozen": True})) == (400, "BAD_REQUEST")
    assert client.put(at(admin), {"frozen": False}).status_code == 200


# --- Deleting ---------------------------------------------------------------------------------------------------


def test_delete_takes_rights_and_tokens_along_and_leaves_what_was_done(client):
    anna = make_holder("core.viewer", login="anna")
    IdentityRoleAssignment.objects.create(identity=anna, role="ops")
    own = IntegrationToken.objects.create(identity=anna, label="l", token_hash="a")
    made = IntegrationToken.objects.create(identity=make_identity(), label="l", token_hash="b", created_by=anna)
    execution, rule, pack = make_execution(executor=anna), make_rule(owner_identity=anna), make_pack(installed_by=anna)

    assert client.delete(at(anna)).json() == done("Identity 'anna' deleted successfully")

    assert not Identity.objects.filter(login="anna").exists()
    assert not PermissionAssignment.objects.filter(identity=anna.pk).exists()
    assert not IdentityRoleAssignment.objects.filter(identity=anna.pk).exists()
    assert not IntegrationToken.objects.filter(pk=own.pk).exists()
    for row in (made, execution, rule, pack):
        row.refresh_from_db()
    assert (made.created_by, execution.executor, rule.owner_identity, pack.installed_by) == (None,) * 4
    assert error(client.delete(at(anna))) == (404, "NOT_FOUND")


def test_nobody_deletes_themselves_not_even_by_an_execution(client, admin):
    assert error(client.delete(at(admin))) == (400, "BAD_REQUEST")
    program = with_execution_token(make_execution(executor=admin, status="running", epoch=1), "core.admin")
    assert error(program.delete(at(admin))) == (400, "BAD_REQUEST")
    assert Identity.objects.filter(pk=admin.pk).exists()


def test_owner_of_a_key_is_not_deleted(client):
    anna = make_holder("core.viewer", login="anna")
    Key.objects.create(ref="anna.k", owner_type="identity", owner_identity=anna, name="k", value=1)

    answer = client.delete(at(anna))

    assert error(answer) == (422, "UNPROCESSABLE_ENTITY")
    assert answer.json()["error"] == "It is still used by 1 key"
    assert PermissionAssignment.objects.filter(identity=anna).exists()
    Key.objects.all().delete()
    assert client.delete(at(anna)).status_code == 200


# --- Roles ------------------------------------------------------------------------------------------------------


def test_role_is_given_and_taken(client):
    anna = make_identity(login="anna")

    made = data(
        client.post(at(anna, "roles"), {"role": "ops", "managed": True, "source": "ldap", "identity_id": 1}), 201
    )

    assert (made["identity_id"], made["role"], made["source"], made["managed"]) == (anna.pk, "ops", "manual", False)
    assert set(made) == {"id", "identity_id", "role", "source", "managed", "created", "updated"}
    assert made["created"].endswith("Z")
    assert client.delete(f"{PATH}/roles/{made['id']}").json() == done("Role 'ops' removed successfully")
    assert client.delete(f"{PATH}/roles/{made['id']}").status_code == 404


def test_second_time_a_role_is_a_conflict(client):
    anna = make_identity(login="anna")
    client.post(at(anna, "roles"), {"role": "ops"})
    answer = client.post(at(anna, "roles"), {"role": "ops"})
    assert error(answer) == (409, "CONFLICT")
    assert client.post(at(anna, "roles"), {"role": "Ops"}).status_code == 201


@pytest.mark.parametrize("role", [None, "", "x" * 256, 5, ["r"], {}])
def test_role_of_another_form_is_refused(client, role):
    assert error(client.post(at(make_identity(), "roles"), {"role": role})) == (422, "VALIDATION_ERROR")


def test_managed_role_is_kept_by_its_directory(client):
    held = IdentityRoleAssignment.objects.create(identity=make_identity(), role="ops", source="ldap", managed=True)
    assert error(client.delete(f"{PATH}/roles/{held.pk}")) == (400, "BAD_REQUEST")
    assert IdentityRoleAssignment.objects.filter(pk=held.pk).exists()


def test_roles_need_more_than_a_constrained_grant():
    anna = make_identity(login="anna")
    held = IdentityRoleAssignment.objects.create(identity=anna, role="ops")
    client = signed_in(make_holder(grant("permissions:manage", refs=["core.viewer", "anna"])))
    assert client.post(at(anna, "roles"), {"role": "r"}).status_code == 403
    assert client.delete(f"{PATH}/roles/{held.pk}").status_code == 403


def test_rights_through_a_role_count_with_the_next_request(client):
    anna = make_identity(login="anna")
    hers = signed_in(anna)
    permset = make_holder("core.viewer").assignments.get().permset
    assert hers.get("/api/v1/workers").status_code == 403

    client.post(f"/api/v1/permissions/sets/{permset.pk}/roles", {"role": "ops"})
    held = data(client.post(at(anna, "roles"), {"role": "ops"}), 201)
    assert hers.get("/api/v1/workers").status_code == 200
    assert data(hers.get("/auth/me"))["assigned_permission_set_refs"] == ["core.viewer"]

    client.delete(f"{PATH}/roles/{held['id']}")
    assert hers.get("/api/v1/workers").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_one_of_many_same_roles_at_once_is_given():
    client, start, statuses = signed_in(make_admin()), threading.Barrier(4), []
    path = at(make_identity(), "roles")

    def give():
        start.wait()
        statuses.append(client.post(path, {"role": "ops"}).status_code)
        connection.close()

    together(give, 4)
    assert sorted(statuses) == [201, 409, 409, 409]
