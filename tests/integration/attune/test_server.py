"""The product's ASGI application behind a real port."""

import threading

import httpx
import pytest
from django.db import connection

from apps.identity import tokens
from apps.identity.models import Identity
from attune import asgi
from attune.server import HttpServer, listen
from settings.env import CannotStart
from tests.factories import make_admin, make_execution
from tests.processes import wait_until


@pytest.mark.django_db(transaction=True)
def test_many_requests_at_once_are_answered(server: str) -> None:
    statuses: list[int] = []

    def ask() -> None:
        with httpx.Client(base_url=server, trust_env=False, timeout=30) as client:
            statuses.extend(client.get("/health/ready").status_code for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 320


@pytest.mark.django_db(transaction=True)
def test_server_sees_what_the_test_has_committed(server: str) -> None:
    from apps.identity import passwords

    make_admin(login="someone", password_hash=passwords.hashed("someone-pass-1"))

    answer = httpx.post(
        f"{server}/auth/login", json={"login": "someone", "password": "someone-pass-1"}, trust_env=False
    )

    assert answer.status_code == 200
    assert Identity.objects.get(login="someone").last_login_at is not None


@pytest.mark.django_db(transaction=True)
def test_large_body_and_large_answer_pass(server: str) -> None:
    refused = httpx.post(
        f"{server}/auth/login", content=b'"' + b"x" * (11 * 1024 * 1024) + b'"',
        headers={"Content-Type": "application/json"}, trust_env=False, timeout=30,
    )  # fmt: skip
    document = httpx.get(f"{server}/api-spec/openapi.json", trust_env=False, timeout=30)

    assert refused.status_code == 413
    assert (document.status_code, document.json()["openapi"][:2]) == (200, "3.")


@pytest.mark.django_db(transaction=True)
def test_path_that_nobody_knows_is_404_without_a_body(server: str) -> None:
    answer = httpx.get(f"{server}/nothing/here", trust_env=False)

    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_request_threads_keep_their_connections(server: str) -> None:
    before = connection.connection is not None
    with httpx.Client(base_url=server, trust_env=False) as client:
        for _ in range(3):
            assert client.get("/health/detailed").json()["database"] == "connected"

    assert connection.settings_dict["CONN_MAX_AGE"] is None
    assert (connection.connection is not None) == before


@pytest.mark.django_db(transaction=True)
def test_who_waits_when_the_server_stops_gets_the_answer_of_the_moment() -> None:
    admin, execution = make_admin(), make_execution()
    listener = listen("127.0.0.1", 0)
    server = HttpServer(listener, asgi.application)
    server.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/v1/executions/{execution.pk}"
    headers = {"Authorization": f"Bearer {tokens.mint_access_token(admin.pk, admin.login)}"}
    answers: list[httpx.Response] = []

    def wait() -> None:
        with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
            answers.append(client.get(url, params={"wait": 50}))

    thread = threading.Thread(target=wait)
    thread.start()
    wait_until(lambda: bool(asgi._held._ends._waiting))
    server.stop()
    thread.join(30)

    assert [(answer.status_code, answer.json()["data"]["status"]) for answer in answers] == [(200, "requested")]


def test_port_that_is_taken_is_refused_in_words() -> None:
    with listen("127.0.0.1", 0) as listener, pytest.raises(CannotStart) as refusal:
        listen("127.0.0.1", listener.getsockname()[1])

    assert "is taken by another program" in str(refusal.value)


def test_ipv6_can_be_listened_on() -> None:
    with listen("::1", 0) as listener:
        assert listener.getsockname()[0] == "::1"
