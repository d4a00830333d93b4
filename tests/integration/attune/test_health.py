"""The health pages, through Django and while the product is still starting."""

import asyncio
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from attune.server import Doorkeeper
from settings.base import ATTUNE_VERSION


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/health", {"status": "ok"}),
        ("/health/detailed", {"status": "ok", "version": ATTUNE_VERSION, "database": "connected"}),
        ("/health/ready", None),
        ("/ready", None),
        ("/health/live", None),
        ("/healthz", None),
    ],
)
def test_health_page_answers_without_a_token(client: Client, path: str, body: dict[str, str] | None) -> None:
    response = client.get(path)

    assert response.status_code == 200
    assert (json.loads(response.content) if response.content else None) == body


@pytest.mark.parametrize(
    "path",
    ["/health", "/health/detailed", "/ready", "/healthz", "/api-spec/openapi.json", "/docs", "/api/v1/", "/login"],
)
def test_pages_to_read_cannot_be_written(path: str) -> None:
    response = Client(enforce_csrf_checks=True).post(path)

    assert response.status_code == 405


@pytest.mark.django_db(transaction=True)
def test_health_page_tells_that_the_database_is_away(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    away = {"NAME": "/nowhere/at/all.sqlite3"} if connection.vendor == "sqlite" else {"PORT": "1", "HOST": "127.0.0.1"}
    for name, value in away.items():
        monkeypatch.setitem(connection.settings_dict, name, value)

    detailed = client.get("/health/detailed")

    assert detailed.status_code == 503
    assert detailed.json() == {
        "status": "error",
        "database": "disconnected",
        "error": "The database does not answer",
    }
    assert (client.get("/health/ready").status_code, client.get("/health/live").status_code) == (503, 200)
    assert client.get("/health").json() == {"status": "ok"}


def ask(doorkeeper: Doorkeeper, path: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(doorkeeper({"type": "http", "path": path, "method": "GET"}, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, sent[1]["body"]


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/health", 200, {"status": "ok"}),
        ("/health/live", 200, None),
        ("/healthz", 200, None),
        ("/health/ready", 503, None),
        ("/ready", 503, None),
        ("/health/detailed", 503, {"status": "error", "database": "disconnected", "error": "Attune is starting"}),
        ("/admin/", 503, {"error": "Attune is starting", "code": "SERVICE_UNAVAILABLE", "status": 503}),
    ],
)
def test_answer_while_starting(path: str, status: int, body: dict[str, Any] | None) -> None:
    answered, headers, content = ask(Doorkeeper(), path)

    assert answered == status
    assert (json.loads(content) if content else None) == body
    assert headers.get("retry-after") == ("1" if status == 503 else None)
