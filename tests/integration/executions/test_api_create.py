"""POST /executions and /executions/execute (api.md 13.1)."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.executions.models import Execution
from apps.executions.states import Status
from tests.clients import anonymous, signed_in, with_execution_token
from tests.factories import make_action, make_admin, make_execution, make_identity, make_request

pytestmark = pytest.mark.django_db

EXECUTE = "/api/v1/executions/execute"


@pytest.fixture
def client():
    return signed_in()


@pytest.mark.parametrize("path", [EXECUTE, "/api/v1/executions"])
def test_execute(client, path):
    action = make_action(ref="mypack.act")

    response = client.post(path, {"action_ref": "mypack.act", "parameters": {"message": "x"}, "env_vars": {"A": "1"}})

    execution = Execution.objects.get()
    data = response.json()["data"]
    assert (response.status_code, execution.env_vars) == (201, {"A": "1"})
    assert (data["id"], data["action"], data["status"], data["config"]) == (
        execution.pk, action.pk, "requested", {"message": "x"},
    )  # fmt: skip
    assert (data["result"], data["parent"], data["executor"]) == (None, None, execution.executor_id)
    assert not {"env_vars", "started_at", "workflow_task", "permission_set_refs", "worker_selector"} & set(data)


def test_no_parameters_are_null(client):
    make_action(ref="mypack.act")

    configs = [
        client.post(EXECUTE, {"action_ref": "mypack.act", **more}).json()["data"]["config"]
        for more in ({}, {"parameters": {}}, {"parameters": None})
    ]

    assert configs == [None, None, None]


def test_everything_that_can_be_asked_for(client):
    make_action(ref="mypack.act")
    body = {
        "action_ref": "mypack.act",
        "artifact_retention_policy": "days",
        "artifact_retention_limit": 3,
        "worker_selector": {"zone": "eu"},
        "worker_tolerations": [{"key": "gpu", "operator": "exists"}],
        "worker_affinity": {"required": [{"match_labels": {"disk": "ssd"}}]},
        "priority": 7,
        "not_before": "2100-01-01T00:00:00Z",
        "expires_at": "2100-01-02",
        "timeout_seconds": 60,
    }

    data = client.post(EXECUTE, body).json()["data"]

    expected = {**body, "expires_at": "2100-01-02T00:00:00Z"}
    assert {key: data[key] for key in body} == expected


def test_delay_seconds_is_a_time(client):
    make_action(ref="mypack.act")

    client.post(EXECUTE, {"action_ref": "mypack.act", "delay_seconds": 100})

    delay = Execution.objects.get().not_before - timezone.now()
    assert timedelta(seconds=90) < delay <= timedelta(seconds=101)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"action_ref": 5}, 422),
        ({"action_ref": "mypack.nothing"}, 404),
        ({"action_ref": "mypack.act", "parameters": []}, 422),
        ({"action_ref": "mypack.act", "parameters": "x"}, 422),
        ({"action_ref": "mypack.act", "env_vars": {"A": 1}}, 422),
        ({"action_ref": "mypack.act", "env_vars": {"PATH": "x"}}, 422),
        ({"action_ref": "mypack.act", "env_vars": {"ATTUNE_X": "x"}}, 422),
        ({"action_ref": "mypack.act", "env_vars": {"a b": "x"}}, 422),
        ({"action_ref": "mypack.act", "env_vars": {"A": "x" * 70_000}}, 422),
        ({"action_ref": "mypack.act", "parameters": {"env": {"LD_PRELOAD": "x"}}}, 422),
        ({"action_ref": "mypack.act", "worker_selector": []}, 400),
        ({"action_ref": "mypack.act", "worker_tolerations": [{"key": ""}]}, 400),
        ({"action_ref": "mypack.act", "worker_affinity": {"required": "x"}}, 400),
        ({"action_ref": "mypack.act", "artifact_retention_limit": 0}, 400),
        ({"action_ref": "mypack.act", "artifact_retention_limit": -1}, 400),
        ({"action_ref": "mypack.act", "artifact_retention_limit": 2**40}, 422),
        ({"action_ref": "mypack.act", "artifact_retention_policy": "years"}, 422),
        ({"action_ref": "mypack.act", "priority": 101}, 422),
        ({"action_ref": "mypack.act", "priority": True}, 422),
        ({"action_ref": "mypack.act", "timeout_seconds": 0}, 422),
        ({"action_ref": "mypack.act", "delay_seconds": -1}, 422),
        ({"action_ref": "mypack.act", "not_before": "tomorrow"}, 422),
        ({"action_ref": "mypack.act", "not_before": "2100-01-01", "delay_seconds": 5}, 400),
        ({"action_ref": "mypack.act", "permission_set_refs": ["no.such"]}, 403),
        ({"action_ref": "mypack.act", "permission_set_refs": "core.admin"}, 422),
        ({"action_ref": "mypack.act", "parameters": {"a": [{"$attune_secret": True, "redacted": True}]}}, 422),
    ],
)
def test_bad_request(client, body, status):
    make_action(ref="mypack.act")

    response = client.post(EXECUTE, body)

    assert (response.status_code, response.json()["status"]) == (status, status)
    assert not Execution.objects.exists()


def test_missing_permission_sets_are_all_named(client):
    make_action(ref="mypack.act", default_execution_permission_set_refs=["b.two", "a.one", "standard"])

    response = client.post(EXECUTE, {"action_ref": "mypack.act"})

    assert (response.status_code, response.json()["error"]) == (403, "Permission sets do not exist: a.one, b.two")


def test_parameters_are_checked_only_when_asked(client):
    make_action(ref="mypack.act", param_schema={"n": {"type": "integer", "required": True}})

    lenient = client.post(EXECUTE, {"action_ref": "mypack.act", "parameters": {"n": "x", "other": 1}})
    checked = client.post(EXECUTE, {"action_ref": "mypack.act", "parameters": {"n": "x"}, "validate": True})

    assert (lenient.status_code, checked.status_code, checked.json()["code"]) == (201, 422, "VALIDATION_ERROR")


def test_without_token():
    assert anonymous().post(EXECUTE, {}).status_code == 401


def test_without_grant():
    make_action(ref="mypack.act")

    response = signed_in(make_identity()).post(EXECUTE, {"action_ref": "mypack.act"})

    assert (response.status_code, response.json()["error"]) == (403, "Insufficient permissions: actions:execute")


def test_execution_token_makes_children():
    person = make_admin()
    parent = make_execution(status=Status.RUNNING, executor=person, permission_set_refs=["core.admin"])
    make_action(ref="mypack.act")

    data = with_execution_token(parent, "core.admin").post(EXECUTE, {"action_ref": "mypack.act"}).json()["data"]

    assert (data["parent"], data["root"], data["executor"]) == (parent.pk, parent.pk, person.pk)


@pytest.mark.parametrize("status", [Status.CANCELING, Status.COMPLETED])
def test_parent_that_ends_gets_no_children(status):
    parent = make_execution(
        status=status, executor=make_admin(), finished_at=timezone.now() if status == Status.COMPLETED else None
    )
    make_action(ref="mypack.act")

    response = with_execution_token(parent, "core.admin").post(EXECUTE, {"action_ref": "mypack.act"})

    assert (response.status_code, response.json()["code"]) == (409, "CONFLICT")


def test_idempotency_key_runs_once(client):
    make_action(ref="mypack.act")
    body = {"action_ref": "mypack.act"}

    first = client.post(EXECUTE, body, HTTP_IDEMPOTENCY_KEY="abc")
    second = client.post(EXECUTE, body, HTTP_IDEMPOTENCY_KEY="abc")
    other = client.post(EXECUTE, {**body, "priority": 1}, HTTP_IDEMPOTENCY_KEY="abc")

    assert first.json() == second.json()
    assert (second.headers["Idempotent-Replayed"], other.status_code) == ("true", 422)
    assert Execution.objects.get().idempotency_key == "abc"


def test_retry_takes_over_and_replaces(client):
    first = make_execution(
        status=Status.FAILED, config={"a": 1}, env_vars={"X": "1"}, priority=3, worker_selector={"zone": "eu"}
    )

    response = client.post(f"/api/v1/executions/{first.pk}/retry", {"parameters": {"a": 2}, "delay_seconds": 60})

    attempt = Execution.objects.get(pk=response.json()["data"]["id"])
    assert response.status_code == 201
    assert (attempt.config, attempt.env_vars, attempt.priority, attempt.worker_selector) == (
        {"a": 2}, {"X": "1"}, 3, {"zone": "eu"},
    )  # fmt: skip
    assert (attempt.original_execution_id, attempt.retry_of_id, attempt.retry_count, attempt.retry_reason) == (
        first.pk, first.pk, 1, "manual_retry",
    )  # fmt: skip
    assert attempt.not_before is not None
    attempts = client.get(f"/api/v1/executions/{attempt.pk}/attempts").json()["data"]
    assert [row["id"] for row in attempts] == [first.pk, attempt.pk]


@pytest.mark.parametrize(
    ("fields", "body", "status"),
    [
        ({"status": Status.RUNNING}, None, 409),
        ({"status": Status.COMPLETED}, {}, 409),
        ({"status": Status.COMPLETED}, {"force": True}, 201),
        ({"status": Status.FAILED}, None, 201),
        ({"status": Status.FAILED}, {"mode": "failed"}, 422),
        ({"status": Status.FAILED}, {"mode": "some"}, 422),
        ({"status": Status.FAILED}, {"priority": 101}, 422),
        ({"status": Status.FAILED}, {"worker_selector": 5}, 400),
        ({"status": Status.FAILED}, {"env_vars": {"PATH": "x"}}, 422),
        ({"status": Status.FAILED}, {"parameters": {"a": {"$attune_secret": True}}}, 422),
    ],
)
def test_retry_answers(client, fields, body, status):
    execution = make_execution(**fields)

    assert client.post(f"/api/v1/executions/{execution.pk}/retry", body).status_code == status


def test_retry_without_the_action(client):
    execution = make_execution(status=Status.FAILED)
    execution.action.delete()

    assert client.post(f"/api/v1/executions/{execution.pk}/retry").status_code == 409
    assert client.post("/api/v1/executions/99999/retry").status_code == 404


def test_retry_of_what_one_may_not_read():
    execution = make_request(executor=make_identity())

    assert signed_in(make_identity()).post(f"/api/v1/executions/{execution.pk}/retry").status_code == 403
