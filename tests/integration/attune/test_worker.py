"""A live worker in the test's process: what is asked for over the API is run."""

from typing import TYPE_CHECKING

import pytest

from apps.workers.models import Worker
from attune.embedded import EmbeddedWorker
from tests.processes import wait_until

if TYPE_CHECKING:
    from rest_framework.test import APIClient

pytestmark = pytest.mark.django_db(transaction=True)


def test_worker_runs_what_the_api_was_asked_for(worker: EmbeddedWorker, api: "APIClient") -> None:
    body = {"action_ref": "core.echo", "parameters": {"message": "hello, world"}}
    execution = api.post("/api/v1/executions/execute", body, format="json").json()["data"]["id"]

    def ended() -> dict | None:
        row = api.get(f"/api/v1/executions/{execution}").json()["data"]
        return row if row["status"] == "completed" else None

    row = wait_until(ended, what="the end of the execution")
    assert row["result"]["stdout"] == "hello, world\n"


def test_worker_is_registered_while_it_lives(worker: EmbeddedWorker) -> None:
    assert [row.status for row in Worker.objects.all()] == ["active"]

    assert worker.stop(timeout_seconds=10)

    assert [row.status for row in Worker.objects.all()] == ["inactive"]
