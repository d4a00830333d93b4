"""Cancel, force-close, cancel of many, history, why (api.md 13.5, 13.7, 13.8, 21)."""

import pytest

from apps.executions.models import Execution
from apps.executions.services import dispatch_waiting
from apps.executions.states import TERMINAL, Status
from tests.clients import signed_in
from tests.factories import make_execution, make_identity, make_request, make_worker

pytestmark = pytest.mark.django_db

LIST = "/api/v1/executions"


@pytest.fixture
def client():
    return signed_in()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Status.REQUESTED, Status.CANCELLED),
        (Status.SCHEDULED, Status.CANCELLED),
        (Status.RUNNING, Status.CANCELING),
        (Status.CANCELING, Status.CANCELING),
    ],
)
def test_cancel(client, before, after):
    execution = make_execution(status=before)

    response = client.post(f"{LIST}/{execution.pk}/cancel", data=b"ignored", content_type="text/plain")

    execution.refresh_from_db()
    assert (response.status_code, response.json()["data"]["status"], execution.status) == (200, after, after)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_cancel_of_what_has_ended(client, status):
    execution = make_execution(status=status)

    response = client.post(f"{LIST}/{execution.pk}/cancel")

    message = f"Execution {execution.pk} is in status '{status}' and cannot be cancelled"
    assert (response.status_code, response.json()["error"]) == (409, message)


def test_cancel_one_s_own_only():
    person = make_identity()
    mine, theirs = make_execution(executor=person), make_execution(executor=make_identity())
    client = signed_in(person)

    refused = client.post(f"{LIST}/{theirs.pk}/cancel")

    assert client.post(f"{LIST}/{mine.pk}/cancel").status_code == 200
    assert (refused.status_code, refused.json()["error"]) == (403, "Insufficient permissions: executions:cancel")
    assert client.post(f"{LIST}/99999/cancel").status_code == 404


@pytest.mark.parametrize(
    ("status", "body", "answer", "after"),
    [
        (Status.RUNNING, None, 200, Status.ABANDONED),
        (Status.RUNNING, {"status": "failed", "reason": "stuck"}, 200, Status.FAILED),
        (Status.CANCELING, {}, 200, Status.CANCELLED),
        (Status.RUNNING, {"status": "completed"}, 422, Status.RUNNING),
        (Status.FAILED, None, 409, Status.FAILED),
    ],
)
def test_force_close(client, status, body, answer, after):
    execution = make_execution(status=status, epoch=1)

    response = client.post(f"{LIST}/{execution.pk}/force-close", body)

    execution.refresh_from_db()
    assert (response.status_code, execution.status) == (answer, after)


def test_force_close_needs_the_grant():
    person = make_identity()
    execution = make_execution(executor=person, status=Status.RUNNING)
    client = signed_in(person)

    assert client.post(f"{LIST}/{execution.pk}/force-close").status_code == 403
    assert client.post(f"{LIST}/99999/force-close").status_code == 404


def bulk(client, **body):
    response = client.post(f"{LIST}/cancel", body)
    assert response.status_code == 200, response.json()
    return response.json()["data"]


def test_cancel_many_by_ids(client):
    waiting, running, done = (make_execution(status=s) for s in (Status.REQUESTED, Status.RUNNING, Status.COMPLETED))
    asked = [waiting.pk, running.pk, done.pk, 99999, waiting.pk]

    planned = bulk(client, ids=asked, dry_run=True)
    assert set(Execution.objects.values_list("status", flat=True)) == {"requested", "running", "completed"}
    data = bulk(client, ids=asked)

    assert data == {
        "matched": 3,
        "cancelled": [waiting.pk],
        "canceling": [running.pk],
        "skipped": [
            {"id": 99999, "status": None, "reason": "not_found"},
            {"id": done.pk, "status": "completed", "reason": "finished"},
        ],
        "has_more": False,
        "dry_run": False,
    }
    assert planned == {**data, "dry_run": True}
    assert bulk(client, ids=[waiting.pk])["skipped"][0]["reason"] == "finished"


@pytest.mark.usefixtures("announced")
def test_what_waits_is_dispatched_after_a_cancel_of_many(client, django_capture_on_commit_callbacks):
    worker = make_worker(slots=3)
    handed_over = [make_execution(status=Status.SCHEDULED, worker=worker, epoch=1) for _number in range(3)]
    waiting = make_request()

    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        data = bulk(client, ids=[row.pk for row in handed_over])

    waiting.refresh_from_db()
    assert (len(data["cancelled"]), waiting.status) == (3, Status.SCHEDULED)
    assert callbacks.count(dispatch_waiting) == 1


def test_cancel_many_by_filter(client):
    rows = [make_execution(rule_ref="mypack.rule") for _number in range(3)]
    make_execution(rule_ref="mypack.rule", status=Status.COMPLETED)
    make_execution(rule_ref="mypack.other")

    first = bulk(client, filter={"rule_ref": "mypack.rule"}, limit=2)
    second = bulk(client, filter={"rule_ref": "mypack.rule"}, limit=2)
    third = bulk(client, filter={"rule_ref": "mypack.rule"}, limit=2)

    assert (first["cancelled"], first["has_more"]) == ([rows[2].pk, rows[1].pk], True)
    assert (second["cancelled"], second["has_more"]) == ([rows[0].pk], False)
    assert (third["matched"], third["skipped"]) == (0, [])


def test_a_filter_takes_json_values(client):
    worker = make_worker()
    row = make_execution(worker=worker, status=Status.SCHEDULED)
    make_execution(parent=row, worker=worker, status=Status.SCHEDULED, workflow_task={})

    data = bulk(client, filter={"worker": worker.pk, "top_level_only": True, "status": ["scheduled", "running"]})

    assert data["cancelled"] == [row.pk]


def test_a_child_that_goes_with_its_parent_counts_as_cancelled(client):
    parent = make_execution(status=Status.REQUESTED)
    child = make_execution(parent=parent)

    data = bulk(client, ids=[parent.pk, child.pk])

    assert (data["cancelled"], data["skipped"]) == ([parent.pk, child.pk], [])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"ids": [1], "filter": {"status": "running"}}, 400),
        ({"filter": {}}, 400),
        ({"filter": {"status": None}}, 400),
        ({"filter": {"state": "running"}}, 400),
        ({"filter": {"status": "running", "per_page": 5}}, 400),
        ({"filter": {"status": "nonsense"}}, 400),
        ({"filter": {"status": {"a": 1}}}, 400),
        ({"filter": {"status": []}}, 400),
        ({"filter": {"worker": "x"}}, 400),
        ({"filter": "status"}, 422),
        ({"ids": []}, 422),
        ({"ids": ["1"]}, 422),
        ({"ids": [1.5]}, 422),
        ({"ids": list(range(1, 1002))}, 422),
        ({"ids": [1], "limit": 0}, 422),
        ({"ids": [1], "dry_run": "yes"}, 422),
    ],
)
def test_bulk_cancel_of_nothing_sensible(client, body, status):
    make_execution()

    assert client.post(f"{LIST}/cancel", body).status_code == status
    assert Execution.objects.get().status == Status.REQUESTED


def test_bulk_cancel_checks_each_row():
    person = make_identity()
    mine, theirs = make_execution(executor=person), make_execution(executor=make_identity())

    data = bulk(signed_in(person), ids=[mine.pk, theirs.pk])

    assert (data["matched"], data["cancelled"]) == (1, [mine.pk])
    assert data["skipped"] == [{"id": theirs.pk, "status": None, "reason": "not_found"}]


def test_history(client):
    execution = make_request()
    client.post(f"{LIST}/{execution.pk}/cancel")

    body = client.get(f"{LIST}/{execution.pk}/history").json()

    assert [row["new_values"]["status"] for row in body["data"]] == ["cancelled", "requested"]
    assert [row["operation"] for row in body["data"]] == ["UPDATE", "INSERT"]
    newest = body["data"][0]
    assert (newest["entity_id"], newest["entity_ref"]) == (execution.pk, execution.action_ref)
    assert "status" in newest["changed_fields"]
    assert body["pagination"]["page_size"] == 50


def test_history_filters(client):
    first, second = make_request(), make_request(priority=4)
    client.put(f"{LIST}/{first.pk}", {"priority": 5})

    def found(**params):
        rows = client.get("/api/v1/history/execution", params).json()["data"]
        return [(row["entity_id"], row["operation"]) for row in rows]

    assert found(entity_id=first.pk) == [(first.pk, "UPDATE"), (first.pk, "INSERT")]
    assert found(entity_ref=second.action_ref) == [(second.pk, "INSERT")]
    assert found(entity_ref=f"{second.pack_ref}.*") == [(second.pk, "INSERT")]
    assert found(operation="UPDATE") == [(first.pk, "UPDATE")]
    assert found(changed_field="priority", entity_id=first.pk) == [(first.pk, "UPDATE")]
    assert found(changed_field="nothing") == found(since="2100-01-01") == found(until="2000-01-01") == []


@pytest.mark.parametrize("query", ["operation=insert", "since=x", "entity_id=x", "page=x"])
def test_history_refuses(client, query):
    assert client.get(f"/api/v1/history/execution?{query}").status_code == 400


def test_history_of_others():
    person = make_identity()
    mine = make_request(executor=person)
    make_request(executor=make_identity())
    client = signed_in(person)

    rows = client.get("/api/v1/history/execution").json()["data"]

    assert [row["entity_id"] for row in rows] == [mine.pk]
    assert client.get("/api/v1/history/worker").status_code == 403
    assert client.get("/api/v1/history/rule").status_code == 400


def test_why(client):
    execution = make_request()

    data = client.get(f"{LIST}/{execution.pk}/why").json()["data"]

    assert (data["execution"], data["status"], data["reasons"][0]["code"]) == (execution.pk, "requested", "no_worker")
    assert client.get(f"{LIST}/99999/why").status_code == 404
