"""A browser: it signs in at the console's login page and uses the pages of the API, with a CSRF token for writes."""

import re

import pytest
from django.contrib.auth import authenticate
from django.test import Client

from apps.identity import passwords, services
from apps.identity.models import Identity
from tests.factories import make_admin, make_identity

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse"
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def browser():
    client = Client(enforce_csrf_checks=True)
    make_admin(login="root", password_hash=passwords.hashed(PASSWORD))
    assert sign_in(client, "root", PASSWORD).status_code == 302
    return client


def sign_in(client, login, password):
    page = client.get("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.content.decode())
    return client.post(
        "/admin/login/", {"username": login, "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
    )


def test_browser_reads_the_api_with_its_session(browser):
    page = browser.get("/auth/me", HTTP_ACCEPT=HTML)
    assert page.status_code == 200
    body = page.content.decode()
    assert "<title>My account" in body
    assert "root" in body
    assert "core.admin" in body


def test_browser_writes_only_with_its_csrf_token(browser):
    body = {"display_name": "Root"}
    refused = browser.put("/auth/me", body, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (403, "FORBIDDEN")

    token = browser.cookies["csrftoken"].value
    accepted = browser.put("/auth/me", body, content_type="application/json", HTTP_X_CSRFTOKEN=token)
    assert accepted.json()["data"]["display_name"] == "Root"


def test_session_of_a_frozen_identity_ends(browser):
    Identity.objects.filter(login="root").update(frozen=True)
    answer = browser.get("/auth/me")
    assert (answer.status_code, answer.json()["error"]) == (403, "Identity is frozen")


def test_session_ends_when_the_password_changes(browser):
    services.set_password(Identity.objects.get(login="root"), "another password")
    assert browser.get("/auth/me").status_code == 401


def test_session_lives_through_a_change_of_the_secret_until_the_old_one_is_retired(browser, settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another key of Django's", [settings.SECRET_KEY]
    assert browser.get("/auth/me").status_code == 200
    assert browser.get("/auth/me").status_code == 200  # now signed anew

    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a third key of Django's", []
    assert browser.get("/auth/me").status_code == 401


def test_signing_out_ends_the_session(browser):
    assert browser.get("/auth/logout").status_code == 307
    assert browser.get("/auth/me").status_code == 401
    assert browser.get("/login")["Location"] == "/admin/login/"


def test_token_decides_where_both_are_given(browser):
    assert browser.get("/auth/me", HTTP_AUTHORIZATION="Bearer nonsense").status_code == 401


def test_console_login_is_limited_like_any_other():
    client = Client()
    for _ in range(10):
        assert sign_in(client, "root", "wrong").status_code == 200
    make_admin(login="root", password_hash=passwords.hashed(PASSWORD))
    assert sign_in(client, "root", PASSWORD).status_code == 200  # the form again: no session
    assert "sessionid" not in client.cookies


def test_identity_without_core_admin_has_no_console_permission():
    anna = make_identity(login="anna", password_hash=passwords.hashed(PASSWORD))
    signed = authenticate(None, username="anna", password=PASSWORD)
    assert signed == anna
    assert authenticate(None, username="anna", password="wrong") is None


def test_pages_of_the_api_load_nothing_from_elsewhere(browser):
    page = browser.get("/auth/me", HTTP_ACCEPT=HTML)
    body = page.content.decode()
    assert "script-src 'self';" in page["Content-Security-Policy"]
    assert re.findall(r"<script(?![^>]*\b(?:src=|application/json))", body) == []
    assert "Content-Security-Policy" not in browser.get("/auth/me")
    sources = re.findall(r'(?:src|href)="([^"]+)"', body)
    assert [source for source in sources if source.startswith(("http:", "https:", "//"))] == []


def test_bearer_requests_touch_no_session(django_assert_num_queries):
    from tests.clients import signed_in

    client = signed_in(make_admin())
    with django_assert_num_queries(3):  # who it is, which sets, once more for the refs assigned
        client.get("/auth/me")
