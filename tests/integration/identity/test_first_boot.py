"""The administrator of the first boot, and ``create_identity``."""

import io
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.core.errors import NotFound, ValidationFailed
from apps.identity import passwords, services
from apps.identity.errors import LoginTaken
from apps.identity.models import Identity, PermissionAssignment
from tests.factories import make_identity

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _core_sets(db):
    for ref in ("core.admin", "core.owner", "core.viewer"):
        services.store_permission_set(ref, label=ref)


def held_by(login):
    return list(
        PermissionAssignment.objects.filter(identity__login=login)
        .order_by("permset__ref")
        .values_list("permset__ref", flat=True)
    )


def test_first_boot_makes_an_administrator_with_a_random_password():
    made = services.ensure_administrator()

    assert made is not None
    assert (made.login, held_by("admin")) == ("admin", ["core.admin", "core.owner"])
    assert len(made.password) >= 16
    assert services.sign_in("admin", made.password, address="").login == "admin"


def test_second_boot_makes_nobody():
    first = services.ensure_administrator()
    assert services.ensure_administrator() is None
    assert services.sign_in("admin", first.password, address="").login == "admin"
    assert Identity.objects.people().count() == 1


def test_configured_administrator_is_made_and_not_shown(settings):
    settings.ADMIN_LOGIN, settings.ADMIN_PASSWORD = "root", "from the environment"

    assert services.ensure_administrator() is None

    assert held_by("root") == ["core.admin", "core.owner"]
    assert services.sign_in("root", "from the environment", address="").login == "root"


def test_configured_login_without_password_gets_a_random_one(settings):
    settings.ADMIN_LOGIN = "root"
    assert services.ensure_administrator().login == "root"


def test_existing_password_of_a_configured_administrator_is_left_alone(settings):
    make_identity(login="root", password_hash=passwords.hashed("chosen by themselves"))
    settings.ADMIN_LOGIN, settings.ADMIN_PASSWORD = "root", "from the environment"

    services.ensure_administrator()

    assert held_by("root") == ["core.admin", "core.owner"]
    assert services.sign_in("root", "chosen by themselves", address="").login == "root"


def test_seeded_identities_get_the_sets_they_name(settings):
    settings.SEED_IDENTITIES = [
        {"login": "vera", "password": "12345678", "permission_sets": ["core.viewer"]},
        {"login": "alma", "password": "12345678"},
    ]

    assert services.ensure_administrator() is None

    assert (held_by("vera"), held_by("alma")) == (["core.viewer"], ["core.admin", "core.owner"])


def test_whoever_took_the_name_admin_does_not_become_administrator():
    make_identity(login="admin")
    assert services.ensure_administrator() is None
    assert held_by("admin") == []


@pytest.mark.django_db(transaction=True)
def test_two_first_boots_at_once_make_one_administrator():
    start, made = threading.Barrier(3), []

    def boot():
        start.wait()
        made.append(services.ensure_administrator())
        connection.close()

    threads = [threading.Thread(target=boot) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    shown = [found for found in made if found is not None]
    assert (len(made), len(shown), Identity.objects.people().count()) == (3, 1, 1)
    assert services.sign_in("admin", shown[0].password, address="").login == "admin"


# --- Identities by hand -----------------------------------------------------------------------------------------


def test_identity_is_not_made_at_all_when_a_set_is_missing():
    with pytest.raises(NotFound, match=r"Permission set 'no\.such' not found; there are core\.admin"):
        services.create_identity("anna", permission_sets=["core.admin", "no.such"])
    assert not Identity.objects.filter(login="anna").exists()


@pytest.mark.parametrize(
    ("login", "password"),
    [
        ("ab", "12345678"),
        ("x" * 256, "12345678"),
        ("anna", "1234567"),
        ("anna", "x" * 129),
        ("system", "12345678"),
        ("sensor:x", "12345678"),
    ],
)
def test_identity_with_login_or_password_of_another_length_is_refused(login, password):
    with pytest.raises(ValidationFailed):
        services.create_identity(login, password=password)


def test_taken_login_is_a_conflict():
    services.create_identity("anna")
    with pytest.raises(LoginTaken, match="Identity with login 'anna' already exists"):
        services.create_identity("anna")
    assert services.create_identity("Anna").login == "Anna"


def run(*arguments, stdin=None, monkeypatch=None):
    if stdin is not None:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    out = io.StringIO()
    call_command("create_identity", *arguments, stdout=out)
    return out.getvalue()


def test_command_creates_an_identity_that_signs_in():
    said = run("--login", "anna", "--password", "12345678", "--display-name", "Anna", "--permission-set", "core.admin")

    anna = services.sign_in("anna", "12345678", address="")
    assert said == f"Created identity anna (id {anna.pk}) with core.admin.\n"
    assert (anna.display_name, held_by("anna")) == ("Anna", ["core.admin"])


def test_command_gives_any_sets_and_roles():
    services.store_permission_set("shop.operator", grants=[])

    said = run("--login", "anna", "--no-password", "--permission-set", "shop.operator", "--permission-set", "core.viewer",
               "--permission-set", "core.viewer", "--role", "ops", "--role", "on call")  # fmt: skip

    anna = Identity.objects.get(login="anna")
    assert held_by("anna") == ["core.viewer", "shop.operator"]
    assert sorted(anna.roles.values_list("role", flat=True)) == ["on call", "ops"]
    assert said.endswith("with shop.operator, core.viewer and the role ops, on call.\n")


def test_command_reads_the_password_from_a_pipe(monkeypatch):
    run("--login", "anna", stdin=" with blanks \nignored", monkeypatch=monkeypatch)
    assert services.sign_in("anna", " with blanks ", address="").login == "anna"


def test_command_makes_an_identity_without_password(monkeypatch):
    run("--login", "anna", "--no-password")
    assert Identity.objects.get(login="anna").password_hash is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--login", "ab", "--no-password"], "3 to 255 characters"),
        (["--login", "anna", "--password", "short"], "8 to 128 characters"),
        (["--login", "anna", "--no-password", "--permission-set", "no.such"], "there are core.admin"),
        (["--login", "anna"], "No password"),
        (["--login", "anna", "--no-password", "--role", ""], "1 to 255 characters"),
        (["--login", "anna", "--no-password", "--display-name", "x" * 256], "at most 255"),
    ],
)
def test_command_refuses_in_a_sentence(arguments, said, monkeypatch):
    with pytest.raises(CommandError, match=said):
        run(*arguments, stdin="", monkeypatch=monkeypatch)
    assert not Identity.objects.filter(login="anna").exists()
