"""The whole result, long results stored apart, waiting for the end (api.md 13.6)."""

import threading
import time

import pytest
from django.db import connection, transaction

from apps.executions.api import waiting
from apps.executions.artifacts import store_large_result
from apps.executions.models import Artifact, ArtifactVersion, Execution
from apps.executions.signals import execution_changed
from apps.executions.states import Status
from tests.clients import signed_in
from tests.factories import make_admin, make_execution

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


# --- Waiting -------------------------------------------------------------------------------------------------------
def test_no_wait_for_what_has_ended(client):
    execution = make_execution(status=Status.COMPLETED)
    started = time.monotonic()

    client.get(f"{LIST}/{execution.pk}", {"wait": 60})

    assert time.monotonic() - started < 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tell", [True, False])
def test_wait_answers_at_the_end(tell):
    client, execution = signed_in(make_admin()), make_execution(status=Status.RUNNING)

    def finish():
        try:
            with transaction.atomic():
                Execution.objects.filter(pk=execution.pk).update(status=Status.COMPLETED, result={"data": 1})
            if tell:
                execution_changed.send(sender=Execution, execution_id=execution.pk, status="completed")
        finally:
            connection.close()

    # The wait begins before its end comes: its first look finds the execution running.
    thread = threading.Timer(0.1, finish)
    thread.start()
    started = time.monotonic()
    data = client.get(f"{LIST}/{execution.pk}/result", {"wait": 30}).json()["data"]
    seconds = time.monotonic() - started
    thread.join()

    assert data == {"data": 1}
    assert seconds < 10
    assert not waiting._waiting


@pytest.mark.django_db(transaction=True)
def test_wait_ends_with_its_time():
    client, execution = signed_in(make_admin()), make_execution(status=Status.RUNNING)
    started = time.monotonic()

    response = client.get(f"{LIST}/{execution.pk}", {"wait": 1})

    assert response.json()["data"]["status"] == "running"
    assert 0.9 < time.monotonic() - started < 10


@pytest.mark.django_db(transaction=True)
def test_when_all_places_are_taken_the_answer_comes_at_once(monkeypatch):
    monkeypatch.setattr(waiting, "_places", threading.BoundedSemaphore(1))
    waiting._places.acquire()
    client, execution = signed_in(make_admin()), make_execution(status=Status.RUNNING)
    started = time.monotonic()

    response = client.get(f"{LIST}/{execution.pk}/result", {"wait": 60})

    assert response.json() == {"data": None}
    assert time.monotonic() - started < 10
