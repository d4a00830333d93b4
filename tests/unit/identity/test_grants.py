"""Grants: what counts, what matches, what may be stored (auth.md sections 4 and 7)."""

import json
from typing import Any

import pytest

from apps.identity.callers import Caller
from apps.identity.grants import Facts, allows, covers, effective_permissions, may_create, problems
from apps.identity.grants.compiled import HeldSet, grants_in
from apps.identity.models import Identity

ANNA = Identity(pk=7, login="anna", attributes={"team": "ops", "level": 1, "chief": True})


def caller(*grants: Any, holder: Identity = ANNA, token_type: str = "access", **more: Any) -> Caller:
    """A caller who holds just these grants; nothing is asked of the database."""
    made = Caller(holder=holder, token_type=token_type, login=holder.login, **more)
    made.__dict__["grants"] = grants_in((HeldSet("tests.set", None, json.dumps(grants)),))
    return made


def grant(*names: str, **constraints: Any) -> dict[str, Any]:
    resource = names[0].partition(":")[0]
    given = {"resource": resource, "actions": [name.partition(":")[2] for name in names]}
    return {**given, "constraints": constraints} if constraints else given


SHOP = Facts(id=3, ref="shop.restock", pack_ref="shop")


@pytest.mark.parametrize(
    "constraints, expected",
    [
        ({}, True),
        ({"pack_refs": ["shop"]}, True),
        ({"pack_refs": ["shops", "sho"]}, False),
        ({"pack_refs": []}, False),
        ({"refs": ["shop.restock"]}, True),
        ({"refs": ["shop"]}, False),
        ({"ids": [3]}, True),
        ({"ids": [4, 2**70]}, False),
        ({"pack_refs": ["shop"], "refs": ["shop.restock"]}, True),
        ({"pack_refs": ["shop"], "refs": ["shop.other"]}, False),
        # Actions have no owner, no visibility, nothing of that kind: a constraint on it fails.
        ({"owner": "any"}, False),
        ({"owner": "none"}, False),
        ({"owner_types": ["pack"]}, False),
        ({"owner_refs": ["shop"]}, False),
        ({"visibility": ["public", "private"]}, False),
        ({"encrypted": False}, False),
        ({"execution_scope": "any"}, False),
        # What is asked of the caller.
        ({"attributes": {"team": "ops"}}, True),
        ({"attributes": {"team": "dev"}}, False),
        ({"attributes": {"floor": None}}, False),
        ({"attributes": {"level": True}}, False),
        ({"attributes": {"chief": 1}}, False),
        ({"attributes": {"chief": True, "level": 1.0}}, True),
        ({"attributes": {}}, True),
        # What is not known, or malformed, never matches.
        ({"colour": "red"}, False),
        ({"pack_refs": "shop"}, False),
        ({"pack_refs": ["shop"], "colour": "red"}, False),
        ({"ids": [True]}, False),
        ({"owner": "everybody"}, False),
        ({"pack_refs": None}, False),
    ],
)
def test_constraint_on_an_action(constraints, expected):
    assert allows(caller(grant("actions:read", **constraints)), "actions:read", SHOP) is expected


@pytest.mark.parametrize(
    "word, owner, expected",
    [
        ("self", 7, True), ("self", "anna", True), ("self", 8, False), ("self", "7", False), ("self", None, False),
        ("any", 8, True), ("any", None, True), ("none", None, True), ("none", 7, False),
    ],
)  # fmt: skip
def test_constraint_on_the_owner(word, owner, expected):
    facts = Facts(ref="k", owner_identity=owner)
    assert allows(caller(grant("keys:read", owner=word)), "keys:read", facts) is expected


@pytest.mark.parametrize("constraints", [{}, {"encrypted": True}, {"attributes": {"team": "ops"}}])
def test_key_of_another_identity_opens_only_to_a_constraint_that_speaks_of_the_owner(constraints):
    facts = Facts(
        id=1, ref="k", owner_identity=8, owner_type="identity", owner_ref=frozenset({"bob", "8"}), encrypted=True
    )
    assert not allows(caller(grant("keys:read", **constraints)), "keys:read", facts)
    for speaking in (
        {"owner": "any"},
        {"owner_types": ["identity"]},
        {"owner_refs": ["bob"]},
        {"refs": ["k"]},
        {"ids": [1]},
    ):
        assert allows(caller(grant("keys:read", **constraints, **speaking)), "keys:read", facts), speaking


@pytest.mark.parametrize("owner, expected", [(8, False), (7, True), (None, True)])
def test_pack_of_another_identity_opens_only_to_a_constraint(owner, expected):
    facts = Facts(id=1, ref="shop", pack_ref="shop", owner_identity=owner)
    assert allows(caller(grant("packs:read")), "packs:read", facts) is expected
    assert allows(caller(grant("packs:read", attributes={"team": "ops"})), "packs:read", facts) is expected
    for constraints in ({"owner": "any"}, {"pack_refs": ["shop"]}, {"refs": ["shop"]}, {"ids": [1]}):
        assert allows(caller(grant("packs:read", **constraints)), "packs:read", facts)


@pytest.mark.parametrize("action", ["read", "update", "delete"])
def test_private_artifact(action):
    private = Facts(ref="a", owner_identity=None, owner_type="system", owner_ref="", visibility="private")
    name = f"artifacts:{action}"
    assert not allows(caller(grant(name)), name, private)
    assert allows(caller(grant(name, owner="none")), name, private)
    assert allows(caller(), name, Facts(visibility="private", owner_identity=7))  # its owner
    assert not allows(caller(token_type="execution"), name, Facts(visibility="private", owner_identity=7))
    assert not allows(caller(grant(name)), name, Facts(visibility="private", owner_identity=8))
    assert allows(caller(), name, Facts(visibility="public")) is (action == "read")


def test_plain_grant_makes_private_artifacts_but_none_of_another_identity():
    nobodys = Facts(ref="a", owner_identity=None, visibility="private")
    anothers = Facts(ref="a", owner_identity=8, visibility="private")
    assert may_create(caller(grant("artifacts:create")), "artifacts:create", nobodys)
    assert not may_create(caller(grant("artifacts:create")), "artifacts:create", anothers)
    assert not may_create(caller(grant("artifacts:create", visibility=["public"])), "artifacts:create", nobodys)
    assert not may_create(caller(), "artifacts:create", nobodys)


def test_without_a_row_any_grant_counts_but_does_not_cover():
    one = caller(grant("actions:execute", pack_refs=["shop"]))
    assert allows(one, "actions:execute")
    assert not covers(one, "actions:execute")
    assert not allows(one, "actions:read")
    assert covers(caller(grant("actions:execute")), "actions:execute")
    assert not allows(caller(grant("actions:execute", attributes={"team": "dev"})), "actions:execute")
    assert not allows(caller(grant("actions:execute", colour="red")), "actions:execute")


def test_unknown_actions_and_resources_are_ignored():
    one = caller(
        grant("permissions:read", "permissions:create"), grant("sensors:read"), "x", {"resource": "rules"}, None, {"resource": 1, "actions": ["read"]},
        {"resource": "rules", "actions": ["read"], "constraints": ["x"]},
    )  # fmt: skip
    assert effective_permissions(one.grants) == [{"resource": "permissions", "actions": ["read"]}]
    assert not allows(one, "permissions:create")
    assert not allows(one, "rules:read")


@pytest.mark.parametrize(
    "grants, said",
    [
        ({}, "must be an array"),
        (["x"], "must be an object"),
        ([{"resource": "sensors", "actions": ["read"]}], "unknown resource"),
        ([{"resource": "actions", "actions": []}], "at least one action"),
        ([{"resource": "actions"}], "at least one action"),
        ([{"resource": "actions", "actions": ["read", "cancel"]}], "no action of actions"),
        ([{"resource": "actions", "actions": ["read"], "colour": 1}], "unknown key"),
        ([grant("actions:read", ids=[1])], "not possible"),
        ([grant("keys:read", owner_refs=["x"])], "not possible"),
        ([grant("actions:read", pack_refs=["a"], refs=["a.b"])], "exclude"),
        ([grant("events:read", pack_refs=["a"])], "not possible"),
        ([grant("keys:read", pack_refs=["a"])], "not possible"),
        ([grant("actions:read", owner="self")], "not possible"),
        ([grant("actions:read", visibility=["public"])], "not possible"),
        ([grant("executions:read", encrypted=True)], "not possible"),
        ([grant("actions:read", colour="red")], "unknown constraint"),
        ([grant("actions:read", pack_refs="a")], "list of texts"),
        ([grant("artifacts:read", visibility=["secret"])], "list of public"),
        ([grant("keys:read", encrypted="yes")], "true or false"),
        ([grant("executions:read", execution_scope="all")], "one of"),
        ([{"resource": "actions", "actions": ["read"], "constraints": []}], "must be an object"),
    ],
)
def test_what_may_not_be_stored(grants, said):
    found = problems(grants)
    assert found
    assert said in found[0]


def test_what_may_be_stored():
    assert not problems([])
    assert not problems(
        [
            grant("actions:read", "actions:execute", pack_refs=["shop"]), grant("keys:read", owner_types=["pack"], encrypted=True, refs=["a"]),
            grant("artifacts:read", visibility=["private"], owner="self"), grant("executions:read", execution_scope="descendants"),
            grant("workers:read", attributes={"team": "ops"}), {"resource": "rules", "actions": ["read"], "constraints": None},
        ]
    )  # fmt: skip
