"""A stop of whole processes loses nothing of the audit trail."""

import re
import sqlite3
import sys
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.processes import Process, Processes, free_port, wait_until

pytestmark = pytest.mark.e2e

REQUESTS = 150


def events(state_dir: Path, stack: dict[str, str], event_type: str) -> list[str]:
    """Return the paths of the events of this type."""
    query = f"SELECT http_path FROM audit_event WHERE event_type = '{event_type}' ORDER BY id"
    if "DATABASE_URL" in stack:
        with psycopg.connect(stack["DATABASE_URL"]) as connection:
            return [path for (path,) in connection.execute(query).fetchall()]
    connection = sqlite3.connect(state_dir / "attune.sqlite3")
    try:
        return [path for (path,) in connection.execute(query).fetchall()]
    finally:
        connection.close()


def ask(url: str, kind: str) -> list[str]:
    """Ask for pages that are not there; return their paths."""
    paths = [f"/nothing/{kind}/{number}" for number in range(REQUESTS)]
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        for path in paths:
            assert client.get(path).status_code == 404
    return paths


def test_sigterm_writes_what_was_answered(processes: Processes, stack: dict[str, str], tmp_path: Path) -> None:
    product = processes.up(tmp_path, **stack)
    product.wait_ready()
    asked = ask(product.url, "up")
    product.terminate()
    assert product.wait() == 0

    port = free_port()
    server: Process = processes.any(
        [sys.executable, "-m", "uvicorn", "attune.asgi:application", "--port", str(port)],
        ATTUNE_STATE_DIR=str(tmp_path),
        **stack,
    )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert server.alive, server.output()
        try:
            return httpx.get(f"{url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, timeout_seconds=60, what="an answer of uvicorn")
    asked += ask(url, "uvicorn")
    server.terminate()
    server.wait()

    assert events(tmp_path, stack, "api.get.failure") == asked
    assert not re.search("Traceback|could not be written", product.output() + server.output())


def test_end_of_a_command_writes_what_it_did(processes: Processes, stack: dict[str, str], tmp_path: Path) -> None:
    environment = {"ATTUNE_STATE_DIR": str(tmp_path), **stack}
    for words in (["prepare"], ["create_identity", "--login", "paul", "--no-password"]):
        command = processes.any([sys.executable, "manage.py", *words], **environment)
        assert command.wait(60) == 0, command.output()

    assert len(events(tmp_path, stack, "admin.identity.created")) == 2  # the administrator, and paul
