"""``manage.py prepare``: the database of hosts that run the parts alone."""

import io

import pytest
from django.core.management import call_command

from apps.actions.models import Action
from apps.identity import services

pytestmark = pytest.mark.django_db


def prepare() -> str:
    said = io.StringIO()
    call_command("prepare", stdout=said)
    return said.getvalue()


def test_first_time_loads_the_core_pack_and_shows_the_password():
    said = prepare()

    assert said.startswith("The database is ready (core pack ")
    password = said.partition("Sign in as admin with the password ")[2].split()[0]
    assert services.sign_in("admin", password, address="").login == "admin"
    assert Action.objects.filter(ref="core.echo").exists()


def test_second_time_changes_and_shows_nothing():
    prepare()
    ids = list(Action.objects.values_list("pk", "updated"))

    assert "password" not in prepare()
    assert list(Action.objects.values_list("pk", "updated")) == ids


def test_password_that_was_chosen_is_not_shown(settings):
    settings.ADMIN_PASSWORD = "from the environment"

    assert "from the environment" not in prepare()
