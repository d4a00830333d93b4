"""The console's pages of identities."""

import json
import re

import pytest
from django.test import Client
from django.urls import reverse

from apps.identity import passwords, services
from apps.identity.grants import assigned_sets
from apps.identity.models import (
    Identity,
    IdentityRoleAssignment,
    IntegrationToken,
    PermissionSet,
    PermissionSetRoleAssignment,
)
from apps.identity.services import create_identity
from tests.factories import grant, make_admin, make_holder, make_identity, make_set

pytestmark = pytest.mark.django_db

ADD = "/admin/identity/identity/add/"
LIST = "/admin/identity/identity/"


@pytest.fixture
def olga():
    return make_admin(login="olga")


@pytest.fixture
def console(olga):
    PermissionSet.objects.create(ref="core.viewer")
    client = Client()
    client.force_login(olga)
    return client


def page_of(identity):
    return reverse("admin:identity_identity_change", args=[identity.pk])


def sets_of(identity):
    return [held.ref for held in assigned_sets(identity)]


def new(**changes):
    return {
        "login": "paul", "display_name": "Paul", "password": "correct horse", "password_again": "correct horse",
        "attributes_text": "{}", "permission_sets": ["core.viewer"], "role_names": "", **changes,
    }  # fmt: skip


def test_an_identity_is_made_with_password_and_rights(console):
    answer = console.post(ADD, new(), follow=True)

    paul = Identity.objects.get(login="paul")
    assert answer.status_code == 200
    assert (paul.display_name, sets_of(paul)) == ("Paul", ["core.viewer"])
    assert passwords.matches(paul.password_hash, "correct horse")


def test_an_identity_may_have_no_password(console):
    console.post(ADD, new(password="", password_again=""))

    assert Identity.objects.get(login="paul").password_hash is None


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"login": "pa"}, "A login has 3 to 255 characters."),
        ({"login": "sensor:x"}, "is kept for the product itself."),
        ({"login": "olga"}, "already exists"),
        ({"password": "short", "password_again": "short"}, "A password has 8 to 128 characters."),
        ({"password_again": "correct house"}, "The two passwords differ."),
        ({"attributes_text": "{"}, "Not JSON"),
        ({"attributes_text": "[1]"}, "Must be a JSON object."),
        ({"role_names": "x" * 256}, "A role has at most 255 characters."),
    ],
)
def test_what_will_not_do_is_said_beside_the_field(console, changes, words):
    answer = console.post(ADD, new(**changes))

    assert words in answer.content.decode()
    assert not Identity.objects.filter(login="paul").exists()


def test_name_password_and_rights_are_changed_and_the_login_is_not(console):
    paul = create_identity("paul", password="correct horse", permission_sets=["core.viewer"])

    console.post(page_of(paul), new(login="peter", display_name="P.", password="battery staple", password_again="battery staple",
                                    permission_sets=["core.admin"]))  # fmt: skip

    paul.refresh_from_db()
    assert (paul.login, paul.display_name, sets_of(paul)) == ("paul", "P.", ["core.admin"])
    assert passwords.matches(paul.password_hash, "battery staple")


def test_an_empty_password_keeps_the_old_one(console):
    paul = create_identity("paul", password="correct horse")

    console.post(page_of(paul), new(password="", password_again=""))

    paul.refresh_from_db()
    assert passwords.matches(paul.password_hash, "correct horse")


def test_nobody_takes_core_admin_from_themselves(console, olga):
    answer = console.post(page_of(olga), new(password="", password_again="", permission_sets=[]))

    assert "You cannot take core.admin from yourself" in answer.content.decode()
    assert sets_of(olga) == ["core.admin"]


def test_freeze_and_unfreeze(console, olga):
    paul = make_identity(login="paul")
    chosen = {"_selected_action": [paul.pk, olga.pk, 1]}

    answer = console.post(LIST, {"action": "freeze", **chosen}, follow=True)

    assert sorted(map(str, answer.context["messages"])) == [
        "The built-in identity 'system' stays as it is",
        "You cannot freeze yourself; another administrator can",
        "paul is frozen",
    ]
    assert list(Identity.objects.filter(frozen=True).values_list("login", flat=True)) == ["paul"]

    console.post(LIST, {"action": "unfreeze", **chosen})

    assert not Identity.objects.filter(frozen=True).exists()


def test_a_page_never_holds_a_hash(console):
    paul = create_identity("paul", password="correct horse")

    for path in (LIST, page_of(paul)):
        text = console.get(path).content.decode()
        assert "argon2" not in text
        assert paul.password_hash not in text


def test_identities_are_not_deleted(console):
    paul = make_identity(login="paul")

    assert console.post(reverse("admin:identity_identity_delete", args=[paul.pk]), {"post": "yes"}).status_code == 403


# --- Roles and attributes -----------------------------------------------------------------------------------------


def test_roles_and_attributes_are_set_and_managed_roles_stay(console):
    paul = create_identity("paul", roles=["old", "kept"])
    IdentityRoleAssignment.objects.create(identity=paul, role="from the directory", source="ldap", managed=True)
    text = console.get(page_of(paul)).content.decode()
    assert "kept\nold" in text.replace("\r", "")

    console.post(page_of(paul), new(password="", password_again="", role_names=" kept \r\n\r\nnew\r\nnew",
                                    attributes_text='{"team": "x"}'))  # fmt: skip

    paul.refresh_from_db()
    assert sorted(paul.roles.values_list("role", flat=True)) == ["from the directory", "kept", "new"]
    assert paul.attributes == {"team": "x"}


# --- Who may what ------------------------------------------------------------------------------------------------


def browser_of(identity):
    client = Client()
    client.force_login(identity)
    return client


def near_admin(*grants):
    """The browser of somebody who holds just these."""
    return browser_of(make_holder(*grants))


def test_without_permissions_manage_rights_are_out_of_the_form(console):
    writer = near_admin(grant("identities:read", "identities:update", "identities:create"))
    paul = create_identity("paul", permission_sets=["core.viewer"], roles=["ops"])

    text = writer.get(page_of(paul)).content.decode()
    assert 'name="permission_sets"' not in text
    assert 'name="role_names"' not in text
    writer.post(
        page_of(paul),
        new(password="", password_again="", display_name="P.", permission_sets=["core.admin"], role_names="admin"),
    )

    paul.refresh_from_db()
    assert (paul.display_name, sets_of(paul)) == ("P.", ["core.viewer"])
    assert list(paul.roles.values_list("role", flat=True)) == ["ops"]
    writer.post(ADD, new(login="carl", permission_sets=["core.admin"]))
    assert sets_of(Identity.objects.get(login="carl")) == []


def test_password_of_the_mightier_is_not_set(console, olga):
    writer = near_admin(grant("identities:read", "identities:update"))

    answer = writer.post(page_of(olga), new())

    assert "Insufficient permissions: permissions:manage" in answer.content.decode()
    olga.refresh_from_db()
    assert olga.password_hash is None


def test_readers_only_read(console, olga):
    reader = near_admin(grant("identities:read", refs=["paul", "olga"]), grant("permissions:read"))
    paul, carl = make_identity(login="paul"), make_identity(login="carl")

    text = reader.get(LIST).content.decode()
    assert "paul" in text
    assert "carl" not in text
    assert reader.get(page_of(carl)).status_code == 302
    assert reader.get(page_of(paul)).status_code == 200
    assert reader.post(page_of(paul), new()).status_code == 403
    assert reader.get(ADD).status_code == 403
    reader.post(LIST, {"action": "freeze", "_selected_action": [paul.pk]})
    paul.refresh_from_db()
    assert not paul.frozen


def test_constrained_changers_change_just_theirs(console, olga):
    writer = near_admin(grant("identities:read"), grant("identities:update", refs=["paul"]))
    paul, carl = make_identity(login="paul"), make_identity(login="carl")
    writer.post(LIST, {"action": "freeze", "_selected_action": [paul.pk, carl.pk]})
    assert list(Identity.objects.filter(frozen=True).values_list("login", flat=True)) == ["paul"]
    assert writer.post(page_of(carl), new(password="", password_again="")).status_code == 403


def test_built_in_identity_and_sensors(console):
    system, sensor = Identity.objects.get(login="system"), make_identity(login="sensor:shop.watch")
    assert console.post(page_of(system), new()).status_code == 403
    text = console.get(page_of(sensor)).content.decode()
    assert 'name="password"' not in text
    assert 'name="permission_sets"' not in text
    console.post(page_of(sensor), new(display_name="Watch", role_names="admin"))
    sensor.refresh_from_db()
    assert (sensor.display_name, sensor.password_hash, sets_of(sensor), sensor.roles.count()) == ("Watch", None, [], 0)


# --- Permission sets ----------------------------------------------------------------------------------------------


def set_page(permset):
    return reverse("admin:identity_permissionset_change", args=[permset.pk])


def test_grants_and_roles_of_a_set_are_changed(console):
    permset = make_set(grant("packs:read"), ref="shop.a")
    PermissionSetRoleAssignment.objects.create(permset=permset, role="old")
    body = {
        "label": "Shop",
        "description": "",
        "grants_text": '[{"resource": "keys", "actions": ["read"]}]',
        "role_names": "ops",
    }

    answer = console.post(set_page(permset), body)

    permset.refresh_from_db()
    assert answer.status_code == 302
    assert (permset.label, permset.description, permset.grants) == ("Shop", None, [grant("keys:read")])
    assert [given.role for given in permset.roles.all()] == ["ops"]


@pytest.mark.parametrize(
    "text", ["{", "{}", "5", '[{"resource": "packs", "actions": ["fly"]}]', '[{"resource": "x"}]']
)
def test_grants_that_mean_nothing_are_refused(console, text):
    permset = make_set(grant("packs:read"), ref="shop.a")
    answer = console.post(set_page(permset), {"label": "x", "grants_text": text})
    permset.refresh_from_db()
    assert answer.status_code == 200
    assert (permset.grants, permset.label) == ([grant("packs:read")], "shop.a")


def test_grants_of_a_pack_may_say_more_and_are_kept(console):
    special = [{"resource": "permissions", "actions": ["read", "update"]}, grant("keys:read", owner_refs=["shop"])]
    permset = make_set(*special, ref="shop.a")
    console.post(set_page(permset), {"label": "x", "grants_text": json.dumps(special)})
    permset.refresh_from_db()
    assert (permset.grants, permset.label) == (special, "x")


def test_sets_of_others_are_only_read(console):
    mine, other = make_set(ref="shop.mine"), make_set(grant("packs:read"), ref="shop.other")
    writer = near_admin(grant("permissions:read"), grant("permissions:manage", refs=["shop.mine"]))
    assert writer.post(set_page(mine), {"label": "x", "grants_text": "[]"}).status_code == 302
    assert writer.get(set_page(other)).status_code == 200
    assert writer.post(set_page(other), {"label": "x", "grants_text": "[]"}).status_code == 403


# --- Integration tokens -------------------------------------------------------------------------------------------

TOKENS, NEW_TOKEN = "/admin/identity/integrationtoken/", "/admin/identity/integrationtoken/add/"


def test_secret_of_a_new_token_is_shown_once(console, olga):
    paul = make_identity(login="paul")
    assert 'value="paul"' in console.get(NEW_TOKEN, {"login": "paul"}).content.decode()

    answer = console.post(NEW_TOKEN, {"login": "paul", "label": "ci", "expires_at": "2099-01-31"})

    token = IntegrationToken.objects.get()
    (secret,) = re.findall(r"attune_it_[\w-]{43}", answer.content.decode())
    assert answer.headers["Cache-Control"].startswith("no-store")
    assert (token.identity, token.created_by, token.expires_at.year) == (paul, olga, 2099)
    assert services.sign_in_with_token(secret, address="")[0] == paul
    for path in (TOKENS, f"{TOKENS}{token.pk}/change/"):
        text = console.get(path).content.decode()
        assert secret not in text
        assert token.token_hash not in text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"login": "nobody"}, "There is no such identity."),
        ({"label": ""}, "This field is required."),
        ({"expires_at": "soon"}, "Not a time such as"),
        ({"expires_at": "2020-01-01"}, "must be in the future"),
        ({"login": "system"}, "stays as it is"),
    ],
)
def test_token_that_cannot_be_is_refused(console, body, words):
    make_identity(login="paul")
    answer = console.post(NEW_TOKEN, {"login": "paul", "label": "ci", **body})
    assert words in answer.content.decode()
    assert not IntegrationToken.objects.exists()


def test_tokens_are_revoked_with_a_reason(console, olga):
    one, two = (IntegrationToken.objects.create(identity=olga, label=f"t{n}", token_hash=f"{n}") for n in (1, 2))
    console.post(
        f"{TOKENS}", {"action": "revoke_selected", "_selected_action": [one.pk], "confirmed": "yes", "reason": "left"}
    )
    one.refresh_from_db()
    two.refresh_from_db()
    assert (one.revoked_by, one.revocation_reason, two.revoked_at) == (olga, "left", None)


def test_tokens_of_the_mightier_are_not_made(console, olga):
    writer = near_admin(grant("identities:read", "identities:update"))
    answer = writer.post(NEW_TOKEN, {"login": "olga", "label": "mine"})
    assert "Insufficient permissions" in answer.content.decode()
    assert not IntegrationToken.objects.exists()
