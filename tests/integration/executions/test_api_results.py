"""The whole result, long results stored apart, waiting for the end (api.md 13.6)."""

import threading
import time

import httpx
import pytest
from django.core.signals import request_finished
from django.db import connection, transaction

from apps.executions.artifacts import store_large_result
from apps.executions.models import Artifact, ArtifactVersion, Execution
from apps.executions.signals import execution_changed
from apps.executions.states import Status
from apps.identity import tokens
from tests.clients import signed_in
from tests.factories import make_admin, make_execution
from tests.processes import wait_until

LIST = "/api/v1/executions"
LONG = {"rows": ["x" * 100] * 1000, "ü": None}


@pytest.fixture
def client(db):
    return signed_in()


def finish_with(execution, result):
    stored = store_large_result(execution, result)
    execution.set(
        status=Status.COMPLETED,
        result=stored,
        result_artifact=execution.result_artifact,
        result_size_bytes=execution.result_size_bytes,
    )


def test_result(client):
    execution = make_execution(status=Status.COMPLETED, result={"exit_code": 0, "data": {"a": [1, 2]}})
    path = f"{LIST}/{execution.pk}/result"

    assert client.get(path).json() == {"data": {"exit_code": 0, "data": {"a": [1, 2]}}}
    assert client.get(path, {"pointer": "/data/a/1"}).json() == {"data": 2}
    assert client.get(path, {"pointer": ""}).json()["data"]["exit_code"] == 0
    assert client.get(path, {"pointer": "/data/b"}).status_code == 400
    assert client.get(path, {"pointer": "data"}).status_code == 400
    assert client.get(f"{LIST}/99999/result").status_code == 404


def test_result_is_null_before_the_end(client):
    execution = make_execution(status=Status.RUNNING)

    assert client.get(f"{LIST}/{execution.pk}/result").json() == {"data": None}


def test_a_long_value_is_stored_apart_and_comes_back_whole(client):
    execution = make_execution()
    result = {"exit_code": 0, "stdout": "short", "data": LONG}

    finish_with(execution, result)

    data = client.get(f"{LIST}/{execution.pk}").json()["data"]
    reference = data["result"]["data"]["$attune_artifact"]
    artifact = Artifact.objects.get(pk=reference["id"])
    assert (data["result"]["exit_code"], data["result"]["stdout"]) == (0, "short")
    assert (artifact.ref, artifact.scope, artifact.owner, artifact.visibility) == (
        f"{execution.action_ref}.result", "action", execution.action_ref, "private",
    )  # fmt: skip
    assert (reference["version"], reference["size_bytes"] > 64 * 1024, execution.result_size_bytes > 64 * 1024) == (
        1,
        True,
        True,
    )
    assert client.get(f"{LIST}/{execution.pk}/result").json()["data"] == result
    assert client.get(f"{LIST}/{execution.pk}/result", {"pointer": "/data/rows/999"}).json()["data"] == "x" * 100


def test_results_of_many_runs_are_all_kept(client):
    first = make_execution()
    finish_with(first, {"data": LONG})
    for _number in range(12):
        finish_with(make_execution(action=first.action), {"data": LONG})

    assert client.get(f"{LIST}/{first.pk}/result").json()["data"] == {"data": LONG}


def test_a_short_result_stays_as_it_is(db):
    execution = make_execution()

    assert store_large_result(execution, {"data": "x" * 1000}) == {"data": "x" * 1000}
    assert not Artifact.objects.exists()


def test_a_forged_reference_is_not_followed(client):
    other = make_execution()
    finish_with(other, {"data": LONG})
    reference = {"$attune_artifact": {"id": Artifact.objects.get().pk, "version": 1, "size_bytes": 1}}
    forger = make_execution(action=other.action, status=Status.COMPLETED, result={"data": reference})

    assert client.get(f"{LIST}/{forger.pk}/result").json()["data"] == {"data": reference}


def test_a_version_whose_execution_was_removed_is_no_result(client):
    execution = make_execution()
    finish_with(execution, {"data": LONG})
    ArtifactVersion.objects.all().delete()

    assert "$attune_artifact" in client.get(f"{LIST}/{execution.pk}/result").json()["data"]["data"]


# --- Waiting, on a real server -------------------------------------------------------------------------------------
@pytest.fixture
def asking(server):
    """Returns a function that asks for part of an execution; gives status, seconds and body."""
    admin = make_admin()
    headers = {"Authorization": f"Bearer {tokens.mint_access_token(admin.pk, admin.login)}"}
    limits = httpx.Limits(max_connections=100)
    client = httpx.Client(base_url=server, headers=headers, timeout=90, trust_env=False, limits=limits)

    def ask(execution, part="", **query):
        began = time.monotonic()
        answer = client.get(f"{LIST}/{execution.pk}{part}", params=query)
        assert "x-attune-hold" not in answer.headers
        return answer.status_code, time.monotonic() - began, answer.json()

    yield ask
    client.close()


def end(execution, *, tell):
    try:
        with transaction.atomic():
            Execution.objects.filter(pk=execution.pk).update(status=Status.COMPLETED, result={"data": 1})
        if tell:
            execution_changed.send(sender=Execution, execution_id=execution.pk, status="completed")
    finally:
        connection.close()


def test_no_wait_for_what_has_ended(asking):
    assert asking(make_execution(status=Status.COMPLETED), wait=60)[1] < 15


@pytest.mark.parametrize("tell", [True, False])
def test_wait_answers_at_the_end(asking, tell):
    execution = make_execution(status=Status.RUNNING)
    # The wait begins before its end comes: its first look finds the execution running.
    thread = threading.Timer(0.3, end, [execution], {"tell": tell})
    thread.start()

    status, seconds, body = asking(execution, "/result", wait=60, pointer="/data")

    thread.join()
    assert (status, body) == (200, {"data": 1})
    assert seconds < 30


def test_wait_ends_with_its_time(asking):
    status, seconds, body = asking(make_execution(status=Status.RUNNING), wait=1)

    assert (status, body["data"]["status"]) == (200, "running")
    assert 0.9 < seconds < 15


def test_everybody_who_waits_gets_the_end(asking):
    execution = make_execution(status=Status.RUNNING)
    answers = []
    waiting = [threading.Thread(target=lambda: answers.append(asking(execution, wait=60))) for _ in range(60)]
    looked_at = []

    def count(**_signal):
        looked_at.append(True)

    request_finished.connect(count)
    for thread in waiting:
        thread.start()
    wait_until(lambda: len(looked_at) >= len(waiting), what="the first look of each")

    assert asking(execution)[1] < 30  # the others wait for 60
    assert answers == []
    end(execution, tell=True)
    for thread in waiting:
        thread.join(90)

    assert [body["data"]["status"] for _status, _seconds, body in answers] == ["completed"] * 60
