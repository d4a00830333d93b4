"""Who may do what with which keys (auth.md sections 2.7, 4, 5, 6.3, 8)."""

import pytest
from django.db import IntegrityError

from apps.identity import sensor_tokens, tokens
from apps.identity.callers import Caller
from apps.identity.models import Identity
from apps.keys import services
from apps.keys.models import Key
from apps.keys.owners import Owner
from apps.keys.visibility import require
from tests.clients import bearing, signed_in, with_execution_token
from tests.factories import (
    grant,
    make_action,
    make_admin,
    make_execution,
    make_holder,
    make_identity,
    make_key,
    make_pack,
    make_sensor,
    make_set,
)

pytestmark = pytest.mark.django_db

KEYS = "/api/v1/keys"
ALL = ("keys:read", "keys:create", "keys:update", "keys:delete", "keys:decrypt")


def body(**changes):
    return {"ref": "db.password", "owner_type": "system", "name": "db_password", "value": "hush", **changes}


def holding(*grants, **fields):
    return signed_in(make_holder(*grants, **fields))


def refs(client):
    answer = client.get(KEYS)
    return [row["ref"] for row in answer.json()["data"]] if answer.status_code == 200 else answer.status_code


# --- Grants -----------------------------------------------------------------------------------------------------


def test_without_grants():
    make_key(ref="db.password")
    client = signed_in(make_identity())

    answers = [
        client.get(KEYS), client.post(KEYS, {}), client.put(f"{KEYS}/db.password", {}),
        client.delete(f"{KEYS}/db.password"), client.get(f"{KEYS}/db.password"), client.put(f"{KEYS}/nobody", {}),
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [403, 403, 403, 403, 404, 404]
    assert [answer.json()["error"].rpartition(": ")[2] for answer in answers[:4]] == [
        "keys:read", "keys:create", "keys:update", "keys:delete",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("constraints", "found"),
    [
        ({}, ["a.action", "a.pack", "a.secret", "a.sensor", "a.system", "my.own"]),
        ({"owner_types": ["pack", "action"]}, ["a.action", "a.pack", "a.secret"]),
        ({"owner_types": ["pack"], "owner_refs": ["shop"]}, ["a.pack", "a.secret"]),
        ({"owner_types": ["identity"]}, ["an.others", "my.own"]),
        ({"owner_refs": ["shop.order", "shop.watch"]}, ["a.action", "a.sensor"]),
        ({"owner_refs": ["other"]}, ["an.others"]),
        ({"owner_refs": ["system"]}, []),
        ({"encrypted": True}, ["a.secret"]),
        ({"encrypted": False}, ["a.action", "a.pack", "a.sensor", "a.system", "my.own"]),
        ({"owner": "self"}, ["my.own"]),
        ({"owner": "none"}, ["a.action", "a.pack", "a.secret", "a.sensor", "a.system"]),
        ({"owner": "any"}, ["a.action", "a.pack", "a.secret", "a.sensor", "a.system", "an.others", "my.own"]),
        ({"refs": ["an.others", "a.pack"]}, ["a.pack", "an.others"]),
        ({"pack_refs": ["shop"]}, []),
        ({"visibility": ["public"]}, []),
    ],
)
def test_list_and_single_read_agree_on_what_may_be_read(constraints, found):
    pack = make_pack(ref="shop")
    me = make_holder(grant("keys:read", **constraints))
    make_key(ref="a.system")
    make_key(pack, ref="a.pack")
    make_key(pack, ref="a.secret", encrypted=True)
    make_key(make_action(pack=pack, ref="shop.order"), ref="a.action")
    make_key(make_sensor(pack=pack, ref="shop.watch"), ref="a.sensor")
    make_key(make_identity(login="other"), ref="an.others")
    make_key(me, ref="my.own")
    client = signed_in(me)

    assert refs(client) == found
    readable = [ref for ref in Key.objects.order_by("ref").values_list("ref", flat=True)
                if client.get(f"{KEYS}/{ref}").status_code == 200]  # fmt: skip
    assert readable == found


def test_the_value_of_an_encrypted_key_takes_decrypt():
    make_key(ref="plain", value="seen")
    make_key(ref="secret", value="hush", encrypted=True)
    reader, decrypter = holding(grant("keys:read")), holding(grant("keys:read", "keys:decrypt"))

    def values(client):
        return [client.get(f"{KEYS}/{ref}").json()["data"]["value"] for ref in ("plain", "secret")]

    assert (values(reader), values(decrypter)) == (["seen", None], ["seen", "hush"])


def test_an_answer_to_an_update_shows_no_value_that_may_not_be_read():
    make_key(ref="secret", value="hush", encrypted=True)
    updater = holding(grant("keys:read", "keys:update"))

    renamed = updater.put(f"{KEYS}/secret", {"name": "renamed"})
    opened = updater.put(f"{KEYS}/secret", {"encrypted": False})
    changed = updater.put(f"{KEYS}/secret", {"value": "mine"})

    assert (renamed.status_code, renamed.json()["data"]["value"]) == (200, None)
    assert (opened.status_code, opened.json()["error"]) == (403, "Insufficient permissions: keys:decrypt")
    assert (changed.status_code, changed.json()["data"]["value"]) == (200, "mine")
    assert updater.put(f"{KEYS}/secret", {"value": "open", "encrypted": False}).status_code == 200


def test_create_is_checked_against_the_values_of_the_request():
    pack, other = make_pack(ref="shop"), make_pack()
    client = holding(grant("keys:create", owner_types=["pack"], owner_refs=["shop"], encrypted=True))

    def status(**changes):
        return client.post(KEYS, body(owner_type="pack", **changes)).status_code

    assert status(owner_pack=other.pk, encrypted=True) == 403
    assert status(owner_pack=pack.pk) == 403
    assert client.post(KEYS, body(encrypted=True)).status_code == 403
    assert status(owner="shop", encrypted=True) == 201


def test_an_update_is_checked_against_the_old_and_the_new_values():
    make_key(ref="plain")
    make_key(ref="secret", encrypted=True)
    only_plain = holding(grant("keys:read", "keys:decrypt"), grant("keys:update", encrypted=False))

    statuses = [
        only_plain.put(f"{KEYS}/secret", {"value": "x"}).status_code,
        only_plain.put(f"{KEYS}/secret", {"value": "x", "encrypted": False}).status_code,
        only_plain.put(f"{KEYS}/plain", {"value": "x", "encrypted": True}).status_code,
        only_plain.put(f"{KEYS}/plain", {"value": "x", "encrypted": False}).status_code,
    ]

    assert statuses == [403, 403, 403, 200]


def test_keys_of_others_take_a_grant_that_speaks_of_owners():
    mine, other = make_admin(), make_identity(login="other")
    make_key(other, ref="theirs", value="hush")
    admin = signed_in(mine)
    keeper = holding(grant(*ALL, owner_types=["identity"]))

    refused = [
        admin.get(f"{KEYS}/theirs"), admin.put(f"{KEYS}/theirs", {"value": 1}), admin.delete(f"{KEYS}/theirs"),
        admin.post(KEYS, body(owner_type="identity", owner_identity=other.pk)),
    ]  # fmt: skip

    assert [answer.status_code for answer in refused] == [404, 403, 403, 403]
    assert (refs(admin), refs(keeper)) == ([], ["theirs"])
    assert keeper.get(f"{KEYS}/theirs").json()["data"]["value"] == "hush"
    assert admin.post(KEYS, body(owner_type="identity", owner=mine.login)).status_code == 201
    assert keeper.post(KEYS, body(ref="new", owner_type="identity", owner="other")).status_code == 201
    assert keeper.delete(f"{KEYS}/theirs").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_owner_who_is_deleted_before_the_key_is_stored_is_missed_by_the_database():
    owner = make_identity()
    key = services.new_key(
        ref="late", name="late", owner=Owner(owner_type="identity", owner_identity=owner.pk), value=1
    )
    Identity.objects.filter(pk=owner.pk).delete()

    holder = make_holder(grant("keys:create", owner="any"))
    require(Caller(holder=holder, token_type="access", login=holder.login), "create", key)
    with pytest.raises(IntegrityError):
        services.store(key)


# --- Execution tokens -------------------------------------------------------------------------------------------


def test_an_execution_has_what_its_sets_give_and_no_more():
    person = make_admin()
    make_key(person, ref="persons")
    make_key(ref="systems")
    make_set(grant("keys:read", refs=["systems"]), ref="tests.reader")
    execution = make_execution(executor=person)

    assert refs(with_execution_token(execution, "tests.reader")) == ["systems"]
    assert refs(with_execution_token(execution)) == 403
    assert refs(with_execution_token(execution, "tests.absent")) == 403


def test_standard_access_reads_and_decrypts_keys_of_the_named_owners():
    pack, other = make_pack(ref="shop"), make_pack()
    action = make_action(pack=pack, ref="shop.order")
    make_key(pack, ref="of.pack", value="hush", encrypted=True)
    make_key(action, ref="of.action")
    make_key(other, ref="of.other")
    make_key(make_identity(login="shop"), ref="of.identity")
    make_key(ref="of.system")
    client = with_execution_token(
        make_execution(executor=make_admin()), "standard",
        standard_access_pack_refs=["shop"], standard_access_action_refs=["shop.order"],
    )  # fmt: skip

    assert refs(client) == ["of.action", "of.pack"]
    assert client.get(f"{KEYS}/of.pack").json()["data"]["value"] == "hush"
    assert client.put(f"{KEYS}/of.pack", {"value": 1}).status_code == 403
    assert client.post(KEYS, body()).status_code == 403
    assert client.delete(f"{KEYS}/of.pack").status_code == 403


# --- Sensor and worker tokens -----------------------------------------------------------------------------------


def test_a_sensor_has_its_own_keys_and_reads_those_of_its_pack():
    pack = make_pack(ref="shop")
    sensor, other = make_sensor(pack=pack, ref="shop.watch"), make_sensor(pack=pack, ref="shop.other")
    make_key(sensor, ref="own", value="mine", encrypted=True)
    make_key(pack, ref="of.pack", value="hush", encrypted=True)
    make_key(other, ref="of.other")
    make_key(make_pack(), ref="of.foreign")
    make_key(make_identity(login="shop.watch"), ref="of.identity")
    make_key(ref="of.system")
    client = bearing(sensor_tokens.issue("shop.watch", []).token)

    assert refs(client) == ["of.pack", "own"]
    assert [client.get(f"{KEYS}/{ref}").json()["data"]["value"] for ref in ("own", "of.pack")] == ["mine", "hush"]
    assert [client.get(f"{KEYS}/{ref}").status_code for ref in ("of.other", "of.system", "of.identity")] == [404] * 3
    assert client.put(f"{KEYS}/own", {"value": "new"}).json()["data"]["value"] == "new"
    assert [client.put(f"{KEYS}/{ref}", {"value": 1}).status_code for ref in ("of.pack", "of.other")] == [403, 403]
    assert client.post(KEYS, body(owner_type="sensor", owner="shop.watch")).status_code == 201
    assert client.post(KEYS, body(ref="x", owner_type="sensor", owner="shop.other")).status_code == 403
    assert client.post(KEYS, body(ref="x", owner_type="pack", owner="shop")).status_code == 403
    assert client.post(KEYS, body(ref="x")).status_code == 403
    assert [client.delete(f"{KEYS}/{ref}").status_code for ref in ("own", "of.pack", "of.system")] == [200, 403, 403]


def test_the_token_of_a_sensor_that_is_gone_reads_nothing():
    sensor = make_sensor(ref="shop.watch", pack=make_pack(ref="shop"))
    make_key(sensor)
    client = bearing(sensor_tokens.issue("shop.watch", []).token)

    sensor.delete()

    assert refs(client) == []


def test_workers_have_no_keys():
    make_key()
    worker = bearing(
        tokens.mint(
            subject=1, login="worker:1", token_type="worker", lifetime_seconds=60, scope="internal_files",
            metadata={"worker_id": 1},
        )
    )  # fmt: skip

    assert refs(worker) == 403
