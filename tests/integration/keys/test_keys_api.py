"""Keys over HTTP (api.md section 16, auth.md section 8)."""

import threading
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db import connection, connections
from django.db.models import RestrictedError
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.core import clock
from apps.core.cipher import Cipher
from apps.identity.audit import trail
from apps.identity.models import AuditEvent, IdempotencyRecord
from apps.keys.models import Key
from apps.keys.services import plain_value
from tests.clients import signed_in
from tests.factories import (
    grant,
    make_action,
    make_admin,
    make_holder,
    make_identity,
    make_key,
    make_pack,
    make_sensor,
)

pytestmark = pytest.mark.django_db

KEYS = "/api/v1/keys"
SUMMARY = {"id", "ref", "owner_type", "owner", "name", "encrypted", "created"}
WHOLE = SUMMARY | {
    "owner_identity", "owner_pack", "owner_pack_ref", "owner_action", "owner_action_ref", "owner_sensor",
    "owner_sensor_ref", "value", "expires_at", "version", "updated",
}  # fmt: skip


@pytest.fixture
def api(db):
    return signed_in()


def body(**changes):
    return {"ref": "db.password", "owner_type": "system", "name": "db_password", "value": "hush", **changes}


def stored(ref="db.password"):
    return Key.objects.get(ref=ref)


# --- Create -----------------------------------------------------------------------------------------------------


def test_create_with_the_least(api):
    answer = api.post(KEYS, body())

    data = answer.json()["data"]
    assert (answer.status_code, answer.json()["message"], set(data)) == (201, "Key created successfully", WHOLE)
    assert (data["owner_type"], data["owner"], data["encrypted"], data["value"]) == ("system", "system", False, "hush")
    assert (data["version"], data["expires_at"], data["owner_pack"]) == (1, None, None)
    assert stored().value == "hush"


def test_an_encrypted_key_is_answered_plain_and_stored_encrypted(api):
    answer = api.post(KEYS, body(encrypted=True, value={"user": "u", "password": "hush"}))

    key = stored()
    assert answer.json()["data"]["value"] == {"user": "u", "password": "hush"}
    assert (type(key.value), "hush" in key.value, len(key.encryption_key_hash)) == (str, False, 64)
    assert plain_value(key) == {"user": "u", "password": "hush"}


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(
    "value", [None, "", "x", 0, -1.5, 10**30, True, False, [], {}, [None, {"a": [1, "ü\n\t"]}], "null"]
)
def test_any_json_is_a_value(api, value, encrypted):
    answer = api.post(KEYS, body(value=value, encrypted=encrypted))
    read = api.get(f"{KEYS}/db.password")

    assert (answer.status_code, answer.json()["data"]["value"], read.json()["data"]["value"]) == (201, value, value)
    assert type(read.json()["data"]["value"]) is type(value)


@pytest.mark.parametrize("owner_type", ["pack", "action", "sensor", "identity"])
def test_the_owner_is_found_by_id(owner_type):
    admin = make_admin()
    owner = {"pack": make_pack, "action": make_action, "sensor": make_sensor, "identity": lambda: admin}[owner_type]()

    answer = signed_in(admin).post(KEYS, body(owner_type=owner_type, **{f"owner_{owner_type}": owner.pk}))

    data = answer.json()["data"]

    ref = {} if owner_type == "identity" else {f"owner_{owner_type}_ref": owner.ref}
    assert {name: value for name, value in data.items() if name.startswith("owner_") and value is not None} == {
        "owner_type": owner_type, f"owner_{owner_type}": owner.pk, **ref,
    }  # fmt: skip
    assert data["owner"] == str(owner.pk)


@pytest.mark.parametrize("owner_type", ["pack", "action", "sensor"])
@pytest.mark.parametrize("field", ["owner_{}_ref", "owner"])
def test_the_owner_is_found_by_ref(api, owner_type, field):
    owner = {"pack": make_pack, "action": make_action, "sensor": make_sensor}[owner_type]()

    answer = api.post(KEYS, body(owner_type=owner_type, **{field.format(owner_type): owner.ref}))

    assert (answer.status_code, answer.json()["data"][f"owner_{owner_type}"]) == (201, owner.pk)


def test_owners_that_do_not_fit_are_refused(api):
    pack, other, action, person = make_pack(), make_pack(), make_action(), make_identity()
    misfits = [
        {"owner_type": "pack"},
        {"owner_type": "pack", "owner_pack_ref": "nobody"},
        {"owner_type": "pack", "owner_pack": 10**12},
        {"owner_type": "pack", "owner_action": action.pk},
        {"owner_type": "pack", "owner_pack": pack.pk, "owner_action": action.pk},
        {"owner_type": "pack", "owner_pack": pack.pk, "owner_pack_ref": other.ref},
        {"owner_type": "pack", "owner_pack": pack.pk, "owner": "nobody"},
        {"owner_type": "action", "owner_action_ref": pack.ref},
        {"owner_type": "sensor", "owner_sensor": -1},
        {"owner_type": "identity"},
        {"owner_type": "identity", "owner_identity": 10**12},
        {"owner_type": "identity", "owner": "nobody"},
        {"owner_type": "identity", "owner": "system", "owner_identity": person.pk},
        {"owner_type": "system", "owner_pack_ref": pack.ref},
        {"owner_type": "system", "owner_identity": person.pk},
        {"owner_type": "system", "owner": "core"},
    ]

    answers = [api.post(KEYS, body(**misfit)) for misfit in misfits]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(400, "BAD_REQUEST")] * len(misfits)
    assert not Key.objects.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ref": ""}, "VALIDATION_ERROR"),
        ({"ref": "x" * 256}, "VALIDATION_ERROR"),
        ({"ref": 5}, "VALIDATION_ERROR"),
        ({"ref": "Upper"}, "UNPROCESSABLE_ENTITY"),
        ({"ref": "a..b"}, "UNPROCESSABLE_ENTITY"),
        ({"ref": ".a"}, "UNPROCESSABLE_ENTITY"),
        ({"ref": "a/b"}, "UNPROCESSABLE_ENTITY"),
        ({"ref": "a b"}, "UNPROCESSABLE_ENTITY"),
        ({"name": ""}, "VALIDATION_ERROR"),
        ({"name": "x" * 256}, "VALIDATION_ERROR"),
        ({"name": None}, "VALIDATION_ERROR"),
        ({"owner_type": "team"}, "VALIDATION_ERROR"),
        ({"owner_pack": "1"}, "VALIDATION_ERROR"),
        ({"owner_pack": 2**63}, "VALIDATION_ERROR"),
        ({"encrypted": "yes"}, "VALIDATION_ERROR"),
        ({"expires_at": "tomorrow"}, "VALIDATION_ERROR"),
    ],
)
def test_bodies_that_are_refused(api, change, code):
    answer = api.post(KEYS, body(**change))

    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert not Key.objects.exists()


@pytest.mark.parametrize("missing", ["ref", "owner_type", "name", "value"])
def test_what_is_required(api, missing):
    given = body()
    del given[missing]

    answer = api.post(KEYS, given)

    assert (answer.status_code, [detail["field"] for detail in answer.json()["details"]]) == (422, [missing])


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        ('{"value": NaN}', 400),
        ('{"value": 1e999}', 400),
        ('{"value": "a\\u0000"}', 400),
        ('{"value": "\\ud800"}', 400),
        ('{"value": ' + "[" * 300 + "]" * 300 + "}", 400),
        ('{"value": "' + "x" * (10 * 1024**2) + '"}', 413),
        ("[]", 422),
    ],
)
def test_hostile_bodies(api, raw, status):
    answer = api.generic("POST", KEYS, raw, content_type="application/json")

    assert answer.status_code == status


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_value_of_megabytes(api, encrypted):
    value = {"blob": "ü" * 2_000_000}

    assert api.post(KEYS, body(value=value, encrypted=encrypted)).status_code == 201
    assert api.get(f"{KEYS}/db.password").json()["data"]["value"] == value


def test_odd_refs_are_found_again(api):
    ref = "ключ.%41+&?#=;'\"<b>"

    assert api.post(KEYS, body(ref=ref)).status_code == 201
    assert api.get(f"{KEYS}/{quote(ref, safe='')}").json()["data"]["ref"] == ref


def test_refs_are_unique_and_names_per_owner(api):
    pack = make_pack()
    api.post(KEYS, body())

    same_ref = api.post(KEYS, body(name="other"))
    same_name = api.post(KEYS, body(ref="other"))
    other_owner = api.post(KEYS, body(ref="third", owner_type="pack", owner_pack_ref=pack.ref))

    assert [(answer.status_code, answer.json().get("code")) for answer in (same_ref, same_name, other_owner)] == [
        (409, "CONFLICT"), (409, "CONFLICT"), (201, None),
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_of_two_that_come_at_once_one_wins(api):
    clients, statuses = [signed_in() for _ in range(4)], []
    at_once = threading.Barrier(4)

    def create(client):
        at_once.wait()
        statuses.append(client.post(KEYS, body()).status_code)
        connections.close_all()

    threads = [threading.Thread(target=create, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [201, 409, 409, 409]


# --- Read -------------------------------------------------------------------------------------------------------


def test_list_shows_no_values(api):
    make_key(ref="b.one", value="hush")
    make_key(ref="a.two", value="hush", encrypted=True)

    answer = api.get(KEYS)

    shown = answer.json()
    assert ([row["ref"] for row in shown["data"]], shown["pagination"]["total_items"]) == (["a.two", "b.one"], 2)
    assert all(set(row) == SUMMARY for row in shown["data"])
    assert b"hush" not in answer.content


def test_list_filters(api):
    pack, person = make_pack(), make_identity()
    make_key(ref="of.system")
    make_key(pack, ref="of.pack")
    make_key(make_action(), ref="of.action")
    mine = make_holder("core.admin")
    make_key(mine, ref="of.me")
    make_key(person, ref="of.another")

    def refs(query):
        return [row["ref"] for row in signed_in(mine).get(f"{KEYS}?{query}").json()["data"]]

    assert refs("") == ["of.action", "of.me", "of.pack", "of.system"]
    assert refs("owner_type=pack") == ["of.pack"]
    assert refs(f"owner_type=pack&owner={pack.pk}") == ["of.pack"]
    assert refs(f"owner={pack.ref}") == ["of.pack"]
    assert refs("owner=system") == ["of.system"]
    assert refs("owner_type=identity") == ["of.me"]
    assert refs("owner=nobody") == []
    assert signed_in(mine).get(f"{KEYS}?owner_type=team").status_code == 400


def test_list_takes_the_same_queries_for_any_number(api):
    person = make_holder("core.admin", grant("keys:read", owner_refs=["shop"], owner_types=["pack"]))
    client = signed_in(person)
    pack = make_pack(ref="shop")

    def queries():
        with CaptureQueriesContext(connection) as captured:
            client.get(KEYS)
        return len(captured)

    make_key(pack)
    few = queries()
    for _number in range(5):
        make_key(pack)
        make_key(person)

    assert queries() == few <= 4


def test_pages_hold_up_to_a_thousand(api):
    for _number in range(3):
        make_key()

    first = api.get(f"{KEYS}?per_page=2").json()

    assert (len(first["data"]), first["pagination"]["has_next"]) == (2, True)
    assert api.get(f"{KEYS}?per_page=5000").json()["pagination"]["effective_page_size"] == 1000


def test_absent(api):
    for method in (api.get, api.put, api.delete):
        answer = method(f"{KEYS}/nobody")
        assert (answer.status_code, answer.json()["error"]) == (404, "Key 'nobody' not found")


def test_an_expired_key_reads_as_absent(api):
    past, future = timezone.now() - timedelta(seconds=1), timezone.now() + timedelta(hours=1)
    make_key(ref="gone", expires_at=past)
    make_key(ref="here", expires_at=future)

    assert [row["ref"] for row in api.get(KEYS).json()["data"]] == ["here"]
    assert [method(f"{KEYS}/gone").status_code for method in (api.get, api.put, api.delete)] == [404, 404, 404]


def test_an_expired_key_is_in_nobodys_way(api):
    past = timezone.now() - timedelta(seconds=1)
    make_key(ref="db.password", name="other", expires_at=past)
    make_key(ref="second", name="db_password", expires_at=past)
    make_key(ref="third", name="third")

    created = api.post(KEYS, body())
    make_key(ref="fourth", name="fourth", expires_at=past)
    renamed = api.put(f"{KEYS}/third", {"name": "fourth"})

    assert (created.status_code, renamed.status_code, Key.objects.count()) == (201, 200, 2)


# --- Update and delete ------------------------------------------------------------------------------------------


def test_a_new_value_raises_the_version(api):
    api.post(KEYS, body())

    data = api.put(f"{KEYS}/db.password", {"value": ["new"]}).json()["data"]

    assert (data["value"], data["version"], data["encrypted"]) == (["new"], 2, False)
    assert api.put(f"{KEYS}/db.password", {"name": "again"}).json()["data"]["version"] == 2


@pytest.mark.parametrize(
    ("before", "change", "after", "value"),
    [
        (True, {"value": "new"}, True, "new"),
        (True, {"value": "new", "encrypted": False}, False, "new"),
        (False, {"value": "new", "encrypted": True}, True, "new"),
        (False, {"encrypted": True}, True, "hush"),
        (True, {"encrypted": False}, False, "hush"),
        (True, {"name": "other"}, True, "hush"),
        (True, {}, True, "hush"),
    ],
)
def test_updates_of_encryption(api, before, change, after, value):
    api.post(KEYS, body(encrypted=before))

    data = api.put(f"{KEYS}/db.password", change).json()["data"]

    key = stored()
    assert (data["encrypted"], data["value"], plain_value(key)) == (after, value, value)
    assert (key.encryption_key_hash is not None) is after
    assert (key.value == value) is not after


@pytest.mark.parametrize("encrypted", [False, True])
def test_null_is_kept_by_other_changes(api, encrypted):
    api.post(KEYS, body(value=None, encrypted=encrypted))

    answer = api.put(f"{KEYS}/db.password", {"name": "other", "value": None})

    assert (answer.status_code, answer.json()["data"]["value"], answer.json()["data"]["version"]) == (200, None, 1)


def test_the_end_can_be_set_and_cleared(api):
    api.post(KEYS, body())
    end = "2999-01-31T12:00:00Z"

    given = api.put(f"{KEYS}/db.password", {"expires_at": {"op": "set", "value": end}}).json()["data"]["expires_at"]
    kept = api.put(f"{KEYS}/db.password", {"expires_at": None}).json()["data"]["expires_at"]
    cleared = api.put(f"{KEYS}/db.password", {"expires_at": {"op": "clear"}}).json()["data"]["expires_at"]

    assert (given, kept, cleared) == (end, end, None)


def test_what_an_update_cannot_change(api):
    api.post(KEYS, body())
    pack = make_pack()

    data = api.put(
        f"{KEYS}/db.password",
        {"ref": "other", "owner_type": "pack", "owner_pack": pack.pk, "owner": "x", "id": 5, "version": 9},
    ).json()["data"]

    assert (data["ref"], data["owner_type"], data["owner_pack"], data["version"]) == ("db.password", "system", None, 1)


def test_a_name_that_the_owner_has_already(api):
    api.post(KEYS, body())
    api.post(KEYS, body(ref="other", name="other"))

    assert api.put(f"{KEYS}/other", {"name": "db_password"}).status_code == 409


def test_delete(api):
    api.post(KEYS, body())

    answer = api.delete(f"{KEYS}/db.password")

    assert (answer.status_code, answer.json()) == (
        200, {"success": True, "message": "Key 'db.password' deleted successfully"},
    )  # fmt: skip
    assert api.delete(f"{KEYS}/db.password").status_code == 404


def test_a_value_under_an_unknown_key_is_a_fault_that_tells_nothing(api, settings):
    api.post(KEYS, body(encrypted=True))
    elsewhere = Cipher("another key string of forty characters!!")
    Key.objects.update(value=elsewhere.encrypt("hush"), encryption_key_hash=elsewhere.key_id)

    answer = api.get(f"{KEYS}/db.password")

    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL_SERVER_ERROR")
    assert api.delete(f"{KEYS}/db.password").status_code == 200


# --- What goes with its owner -----------------------------------------------------------------------------------


def test_a_pack_and_an_identity_with_keys_stay(api):
    pack, person = make_pack(), make_identity()
    for _number in range(2):
        make_key(pack)
        make_key(person)

    answer = api.delete(f"/api/v1/packs/{pack.ref}")

    assert (answer.status_code, answer.json()["error"]) == (422, "It is still used by 2 keys")
    with pytest.raises(RestrictedError):
        person.delete()


def test_expired_keys_do_not_keep_their_owners(api):
    over = clock.now() - timedelta(seconds=1)
    pack, person = make_pack(), make_identity()
    for owner in (pack, person):
        make_key(owner, expires_at=over)
    kept = make_key(pack, expires_at=clock.now() + timedelta(hours=1))
    assert api.delete(f"/api/v1/packs/{pack.ref}").json()["error"] == "It is still used by 1 key"
    assert Key.objects.filter(owner_pack=pack).count() == 2
    kept.delete()

    assert api.delete(f"/api/v1/packs/{pack.ref}").status_code == 200
    assert api.delete(f"/api/v1/identities/{person.pk}").status_code == 200

    assert Key.objects.count() == 0


def test_the_keys_of_an_action_and_a_sensor_go_with_them(api):
    pack = make_pack()
    action, sensor = make_action(pack=pack), make_sensor(pack=pack)
    make_key(make_action(), ref="stays")
    for owner in (action, sensor):
        make_key(owner)
        make_key(owner)

    api.delete(f"/api/v1/actions/{action.ref}")
    assert sorted(Key.objects.values_list("owner_type", flat=True)) == ["action", "sensor", "sensor"]
    api.delete(f"/api/v1/packs/{pack.ref}")
    assert list(Key.objects.values_list("ref", flat=True)) == ["stays"]


# --- Where values must not be -----------------------------------------------------------------------------------


def test_a_kept_answer_holds_no_value(api):
    headers = {"HTTP_IDEMPOTENCY_KEY": "one"}

    first = api.post(KEYS, body(value="canary-4711", encrypted=True), **headers)
    again = api.post(KEYS, body(value="canary-4711", encrypted=True), **headers)

    assert (again.json(), again.headers["Idempotent-Replayed"]) == (first.json(), "true")
    assert "canary" not in str(list(IdempotencyRecord.objects.values()))


@pytest.mark.django_db(transaction=True)
def test_the_audit_trail_tells_who_did_what_and_no_value(api):
    api.post(KEYS, body(value="canary-4711", encrypted=True))
    api.get(f"{KEYS}/db.password")
    api.put(f"{KEYS}/db.password", {"value": "canary-4712"})
    signed_in(make_holder(grant("keys:read"))).get(f"{KEYS}/db.password")
    api.delete(f"{KEYS}/db.password")
    trail.flush()

    events = AuditEvent.objects.filter(category="secret").order_by("pk")
    assert [(event.event_type, event.resource_ref, event.outcome) for event in events] == [
        (f"secret.key.{what}", "db.password", "success")
        for what in ("created", "decrypted", "updated", "read", "deleted")
    ]
    assert "canary" not in str(list(AuditEvent.objects.values()))
