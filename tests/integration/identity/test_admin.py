"""The console's pages of identities."""

import pytest
from django.test import Client
from django.urls import reverse

from apps.identity import passwords
from apps.identity.grants import assigned_sets
from apps.identity.models import Identity, PermissionSet
from apps.identity.services import create_identity
from tests.factories import make_admin, make_identity

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
        "permission_sets": ["core.viewer"], **changes,
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
