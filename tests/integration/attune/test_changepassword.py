"""``manage.py changepassword``: the way back in for somebody who lost a password."""

import io

import pytest
from django.core.management import CommandError, call_command

from apps.identity import services
from tests.factories import make_identity

pytestmark = pytest.mark.django_db


@pytest.fixture
def typed(monkeypatch):
    def pipe(text):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return pipe


def test_new_password_is_good_for_signing_in(typed):
    make_identity(login="anna")
    typed("a new password\n")

    call_command("changepassword", "anna", stdout=io.StringIO())

    assert services.sign_in("anna", "a new password", address="").login == "anna"


@pytest.mark.parametrize(
    ("login", "password", "words"),
    [("anna", "short", "8 to 128 characters"), ("nobody", "a new password", "no identity 'nobody'"),
     ("system", "a new password", "no identity 'system'"), ("anna", "", "No password")],
)  # fmt: skip
def test_what_cannot_be_done_is_said(typed, login, password, words):
    make_identity(login="anna")
    typed(f"{password}\n")

    with pytest.raises(CommandError, match=words):
        call_command("changepassword", login)


def test_superusers_are_made_by_another_name():
    with pytest.raises(CommandError, match="create_identity --login NAME"):
        call_command("createsuperuser")
