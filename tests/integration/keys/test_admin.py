"""The console's pages of keys."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.identity.models import ADMIN_SET_REF, Identity, PermissionSet
from apps.keys.models import Key
from apps.keys.services import plain_value
from tests.factories import grant, make_admin, make_holder, make_identity, make_key, make_pack

pytestmark = pytest.mark.django_db

HUSH = "hush-4711-hush"


def page(name: str, key: Key | None = None) -> str:
    return reverse(f"admin:keys_key_{name}", args=[] if key is None else [key.pk])


def at(identity: Identity | None = None) -> Client:
    client = Client()
    client.force_login(identity or make_admin())
    return client


def form(**changes: Any) -> dict[str, Any]:
    return {"ref": "shop.token", "owner_type": "system", "owner": "", "name": "token", "value": HUSH,
            "encrypted": "on", "expires_at": "", **changes}  # fmt: skip


def test_a_key_is_made_changed_shown_and_deleted() -> None:
    console = at()

    made = console.post(page("add"), form())
    key = Key.objects.get()
    assert (made.status_code, made.headers["Location"]) == (302, page("change", key))
    assert (key.encrypted, plain_value(key)) == (True, HUSH)

    console.post(page("edit", key), {"name": "renamed", "encrypted": "on", "value": "", "expires_at": "2999-01-31"})
    key.refresh_from_db()
    assert (key.name, plain_value(key), f"{key.expires_at:%Y-%m-%d}") == ("renamed", HUSH, "2999-01-31")
    console.post(page("edit", key), {"name": "renamed", "value": '{"a": 1}', "is_json": "on", "expires_at": ""})
    key.refresh_from_db()
    assert (key.encrypted, key.value, key.expires_at, key.version) == (False, {"a": 1}, None, 2)

    console.post(page("remove", key), {"confirmed": "yes"})
    assert not Key.objects.exists()


def test_the_value_is_on_no_page_but_its_own() -> None:
    console, key = at(), make_key(make_pack(), value=HUSH, encrypted=True)

    pages = [console.get(page(name, each)) for name, each in (("changelist", None), ("change", key), ("edit", key))]
    assert [answer.status_code for answer in pages] == [200, 200, 200]
    assert not [answer for answer in pages if HUSH in answer.content.decode()]

    shown = console.get(page("value", key))
    assert HUSH in shown.content.decode()
    assert "no-store" in shown.headers["Cache-Control"]


def test_what_a_refused_form_holds_is_said() -> None:
    console = at()
    make_key(ref="taken", name="taken")

    for change, sentence in (
        ({"ref": "Upper"}, "must be lower case"),
        ({"ref": "taken"}, "already exists"),
        ({"name": "taken"}, "has a key named"),
        ({"owner_type": "pack", "owner": "nobody"}, "there is no pack"),
        ({"value": ""}, "This field is required"),
        ({"value": "{", "is_json": "on"}, "Not JSON"),
        ({"expires_at": "soon"}, "Not a time"),
    ):
        answer = console.post(page("add"), form(**change))
        assert (answer.status_code, sentence in answer.content.decode()) == (200, True), change
        assert HUSH not in answer.content.decode()
    assert Key.objects.count() == 1


def test_grants_hold_here_too() -> None:
    """Whoever may enter sees what the API would show, and no button leads further."""
    person = make_identity()
    for_keys = make_holder(ADMIN_SET_REF)
    theirs = make_key(person, value=HUSH, encrypted=True)
    console = at(for_keys)

    assert theirs.ref not in console.get(page("changelist")).content.decode()
    assert [console.get(page(name, theirs)).status_code for name in ("change", "edit", "value", "remove")] == [302] * 4
    refused = console.post(page("add"), form(owner_type="identity", owner=person.login))
    assert "Insufficient permissions: keys:create" in refused.content.decode()
    assert Key.objects.count() == 1


def test_whoever_may_read_but_not_decrypt_sees_no_value() -> None:
    key = make_key(value=HUSH, encrypted=True)
    reader = make_holder(grant("keys:read", "keys:update"), ADMIN_SET_REF)
    admins = PermissionSet.objects.get(ref=ADMIN_SET_REF)
    admins.set(grants=[each for each in admins.grants if each["resource"] != "keys"])
    console = at(reader)

    looked = console.get(page("change", key))
    shown = console.get(page("value", key), follow=True)
    opened = console.post(page("edit", key), {"name": "x", "value": "", "expires_at": ""})

    assert "Show the value" not in looked.content.decode()
    assert (HUSH in shown.content.decode(), "You may not decrypt this key" in shown.content.decode()) == (False, True)
    assert "Insufficient permissions: keys:decrypt" in opened.content.decode()
    assert console.get(page("add"), follow=True).redirect_chain
    assert console.get(page("remove", key)).status_code == 302
    key.refresh_from_db()
    assert key.encrypted
