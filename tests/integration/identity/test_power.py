"""Nobody becomes someone mightier: passwords, integration tokens and attributes of others (auth.md 2.5)."""

import pytest

from apps.identity.models import IdentityRoleAssignment, IntegrationToken, PermissionSetRoleAssignment
from tests.clients import signed_in, with_execution_token
from tests.factories import grant, make_execution, make_holder, make_identity, make_set

pytestmark = pytest.mark.django_db

WAYS = ("password", "token")


def attempt(client, identity, way):
    """Return the status of a try to act as the identity."""
    path = f"/api/v1/identities/{identity.pk}"
    if way == "password":
        return client.put(path, {"password": "correct horse"}).status_code
    return client.post(f"{path}/integration-tokens", {"label": "mine"}).status_code


def updater(*more):
    return make_holder(grant("identities:update"), *more)


@pytest.mark.parametrize(("way", "done"), [("password", 200), ("token", 201)])
@pytest.mark.parametrize(
    ("held", "own", "may"),
    [
        ([], [], True),
        (["packs:read"], [], False),
        (["packs:read"], ["packs:read"], True),
        (["packs:read", "packs:delete"], ["packs:read"], False),
        (["packs:read"], ["permissions:manage"], True),
        (["permissions:manage"], ["packs:read"], False),
    ],
)
def test_who_holds_more_is_out_of_reach(way, done, held, own, may):
    target = make_holder(*[grant(name) for name in held])
    client = signed_in(updater(*[grant(name) for name in own]))

    status = attempt(client, target, way)

    target.refresh_from_db()
    assert status == (done if may else 403)
    assert (target.password_hash is not None or IntegrationToken.objects.exists()) == may


@pytest.mark.parametrize("way", WAYS)
def test_constrained_grants_cover_nothing(way):
    target = make_holder(grant("packs:read", pack_refs=["shop"]))
    assert attempt(signed_in(updater(grant("packs:read", pack_refs=["shop"]))), target, way) == 403
    assert attempt(signed_in(updater(grant("packs:read"))), target, way) in (200, 201)
    assert attempt(signed_in(updater(grant("permissions:manage", refs=["core.viewer"]))), target, way) == 403


@pytest.mark.parametrize("way", WAYS)
def test_what_comes_through_a_role_counts(way):
    target = make_identity()
    IdentityRoleAssignment.objects.create(identity=target, role="ops")
    client = signed_in(updater())
    assert attempt(client, target, way) in (200, 201)
    PermissionSetRoleAssignment.objects.create(permset=make_set(grant("packs:read")), role="ops")
    assert attempt(client, target, way) == 403


@pytest.mark.parametrize("way", WAYS)
def test_frozen_identity_is_no_easier_prey(way):
    target = make_holder(grant("packs:read"), frozen=True)
    assert attempt(signed_in(updater()), target, way) == 403


@pytest.mark.parametrize("way", WAYS)
def test_the_own_identity_is_not_mightier(way):
    me = make_holder(grant("identities:update"), grant("packs:read", pack_refs=["shop"]))
    assert attempt(signed_in(me), me, way) in (200, 201)


@pytest.mark.parametrize("way", WAYS)
def test_program_does_not_become_its_executor(way):
    boss = make_holder("core.admin")
    make_set(grant("identities:update"), ref="tests.updater")
    program = with_execution_token(make_execution(executor=boss, status="running", epoch=1), "tests.updater")
    assert attempt(program, boss, way) == 403


def test_all_else_of_the_mighty_may_be_changed():
    target = make_holder("core.admin")
    path = f"/api/v1/identities/{target.pk}"
    client = signed_in(updater())
    assert client.put(path, {"display_name": "Boss", "attributes": {"a": 1}}).status_code == 200
    assert client.post(f"{path}/freeze").status_code == 200


def test_attributes_open_no_grants():
    only_blue = grant("workers:read", attributes={"team": "blue"})
    me = make_holder(grant("identities:update"), only_blue)
    client, path = signed_in(me), f"/api/v1/identities/{me.pk}"
    assert client.get("/api/v1/workers").status_code == 403

    answer = client.put(path, {"attributes": {"team": "blue"}, "display_name": "x"})

    me.refresh_from_db()
    assert (answer.status_code, answer.json()["error"]) == (403, "Insufficient permissions: permissions:manage")
    assert (me.attributes, me.display_name) == ({}, None)
    assert client.put(path, {"attributes": {"team": "red"}}).status_code == 200
    mighty = signed_in(updater(grant("workers:read")))
    assert mighty.put(path, {"attributes": {"team": "blue"}}).status_code == 200
    assert client.get("/api/v1/workers").status_code == 200
    assert client.put(path, {"attributes": {"team": "blue", "more": 1}}).status_code == 200
