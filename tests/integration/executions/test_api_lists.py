"""Lists, filters and statistics of executions (api.md 13.2, 13.3): all in SQL, the same queries for any number."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.api import contains
from apps.executions.models import Execution
from apps.executions.states import Status
from tests.clients import signed_in, with_execution_token
from tests.factories import make_action, make_admin, make_execution, make_identity, make_pack, make_worker

pytestmark = pytest.mark.django_db

LIST = "/api/v1/executions"
DAY = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def client():
    return signed_in()


def ids(client, **params):
    response = client.get(LIST, params)
    assert response.status_code == 200, response.json()
    return [row["id"] for row in response.json()["data"]]


def queries_of(client, path):
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get(path).status_code == 200
    return len(queries)


SUMMARY_KEYS = {
    "id", "action_ref", "status", "parent", "enforcement", "rule_ref", "trigger_ref", "created", "updated", "worker",
    "finished_at", "exit_code", "duration_ms", "succeeded", "not_before", "retry_count",
}  # fmt: skip


def test_summary(client):
    execution = make_execution()

    body = client.get(LIST).json()

    assert body["data"] == body["items"]
    assert set(body["data"][0]) == SUMMARY_KEYS
    assert (body["data"][0]["id"], body["pagination"]["total_items"]) == (execution.pk, 1)


@pytest.mark.parametrize("path", ["?", "/stats?", "/status/requested?", "?result_contains=x&"])
def test_as_many_queries_for_100_rows_as_for_one(client, path):
    action, worker = make_action(), make_worker()
    make_execution(action=action, worker=worker, result={"x": 1})
    one = queries_of(client, f"{LIST}{path}per_page=100")

    for _number in range(99):
        make_execution(action=action, worker=worker, result={"x": 1})

    assert queries_of(client, f"{LIST}{path}per_page=100") == one


def test_lists_do_not_read_parameters_and_results(client):
    make_execution(config={"big": "config"}, result={"big": "result"})

    with CaptureQueriesContext(connection) as queries:
        client.get(LIST)

    selected = [query["sql"] for query in queries if '"execution"."action_ref"' in query["sql"]]
    assert len(selected) == 1
    for column in ("config", "result", "env_vars", "limits"):
        assert f'"execution"."{column}"' not in selected[0]


def test_newest_first_by_cursor(client):
    made = [make_execution().pk for _number in range(5)]

    first = client.get(LIST, {"per_page": 2}).json()
    second = client.get(LIST, {"per_page": 2, "cursor": first["pagination"]["next_cursor"]}).json()

    assert [row["id"] for row in first["data"]] == made[:2:-1]
    assert [row["id"] for row in second["data"]] == made[2:0:-1]
    assert ids(client, order="asc") == made


def test_refs(client):
    pack, other = make_pack(ref="mypack"), make_pack(ref="mypack2")
    first = make_execution(
        action=make_action(pack=pack, ref="mypack.a"), rule_ref="mypack.rule", trigger_ref="core.timer"
    )
    second = make_execution(action=make_action(pack=pack, ref="mypack.b"))
    third = make_execution(action=make_action(pack=other, ref="mypack2.a"))

    assert ids(client, action_ref="mypack.a") == [first.pk]
    assert ids(client, action_ref="mypack.*") == [second.pk, first.pk]
    assert ids(client, action_ref="%.*") == []
    assert ids(client, action_ref="my*") == []
    assert ids(client, rule_ref="mypack.*") == [first.pk]
    assert ids(client, trigger_ref="core.timer") == [first.pk]
    assert ids(client, pack_name="mypack") == [second.pk, first.pk]
    assert ids(client, pack_name="mypack2") == [third.pk]


def test_ids(client):
    person, worker, correlation = make_identity(), make_worker(), uuid4()
    root = make_execution()
    wanted = make_execution(
        executor=person, worker=worker, parent=root, root=root.pk, enforcement=5, original_execution=root,
        correlation_id=correlation,
    )  # fmt: skip

    for name, value in {
        "executor": person.pk, "worker": worker.pk, "parent": root.pk, "root": root.pk, "enforcement": 5,
        "original_execution": root.pk, "correlation_id": str(correlation), "action": wanted.action_id,
    }.items():  # fmt: skip
        assert ids(client, **{name: value}) == [wanted.pk], name
    assert ids(client, executor=2**70) == []
    assert ids(client, top_level_only="TRUE") == [root.pk]
    assert ids(client, top_level_only="0") == [wanted.pk, root.pk]
    assert [row["id"] for row in client.get(f"{LIST}/enforcement/5").json()["data"]] == [wanted.pk]


def test_status(client):
    running, failed, completed = (make_execution(status=s) for s in (Status.RUNNING, Status.FAILED, Status.COMPLETED))

    assert ids(client, status="running") == [running.pk]
    assert ids(client, status="running, failed") == [failed.pk, running.pk]
    assert [row["id"] for row in client.get(f"{LIST}/status/COMPLETED").json()["data"]] == [completed.pk]
    response = client.get(f"{LIST}/status/done")
    assert (response.status_code, response.json()["error"]) == (400, "Invalid execution status: done")


@pytest.mark.parametrize("name", ["created", "started", "finished"])
def test_neighbouring_ranges_tile(client, name):
    column = name if name == "created" else f"{name}_at"
    moments = [DAY, DAY + timedelta(hours=1), DAY + timedelta(days=1)]
    first, second, third = (make_execution(**{column: moment}) for moment in moments)
    if name == "created":
        for row, moment in zip((first, second, third), moments, strict=True):
            Execution.objects.filter(pk=row.pk).update(created=moment)
    else:
        make_execution()

    assert ids(client, **{f"{name}_after": "2026-03-01", f"{name}_before": "2026-03-02"}) == [second.pk, first.pk]
    assert ids(client, **{f"{name}_after": "2026-03-02T00:00:00Z", f"{name}_before": "2027-01-01"}) == [third.pk]
    assert ids(client, **{f"{name}_after": "2026-03-01T03:00:00 02:00", f"{name}_before": "2026-03-01T02:00:00Z"}) == [
        second.pk
    ]


def test_exit_codes_and_durations(client):
    make_execution()
    ok = make_execution(status=Status.COMPLETED, exit_code=0, duration_ms=10, succeeded=True)
    bad = make_execution(status=Status.FAILED, exit_code=3, duration_ms=20, succeeded=False)
    gone = make_execution(status=Status.ABANDONED)

    assert ids(client, exit_code="0") == [ok.pk]
    assert ids(client, exit_code="3,0,-1") == [bad.pk, ok.pk]
    assert ids(client, exit_code=str(10**15)) == []
    assert ids(client, duration_ms_min=10, duration_ms_max=10) == [ok.pk]
    assert ids(client, duration_ms_min=11) == [bad.pk]
    assert ids(client, succeeded="true") == [ok.pk]
    assert ids(client, succeeded="false") == [gone.pk, bad.pk]


def test_result_contains(client):
    wanted = make_execution(result={"stdout": "Grüße from ÖSTERREICH", "say": 'he said "hi"', "percent": "100%_x"})
    make_execution(result={"stdout": "nothing"})
    make_execution()

    for text in ("grÜ", "ße", "österreich", "FROM", 'said "hi"', '"percent"', "100%_X", "%"):
        assert ids(client, result_contains=text) == [wanted.pk], text
    for text in ("100__x", "_%_", "Grusse", "not there"):
        assert ids(client, result_contains=text) == [], text


def test_result_contains_looks_through_a_window(client, monkeypatch):
    monkeypatch.setattr(contains, "WINDOW", 3)
    rows = [make_execution(result={"x": "needle"}) for _number in range(4)]
    make_execution(status=Status.RUNNING, result={"x": "needle"})

    body = client.get(LIST, {"result_contains": "needle", "status": "requested"}).json()

    assert [row["id"] for row in body["data"]] == [row.pk for row in rows[:0:-1]]
    assert (body["pagination"]["window"], body["pagination"]["total_items"]) == (3, 3)
    assert "window" not in client.get(LIST).json()["pagination"]


@pytest.mark.parametrize(
    "query",
    ["status=done", "status=running,done", "executor=abc", "worker=1.5", "correlation_id=xyz", "top_level_only=yes",
     "created_after=yesterday", "created_before=2026-13-01", "finished_after=5", "exit_code=abc", "exit_code=1,,x",
     "exit_code=99999999999999999999", "duration_ms_min=x", "duration_ms_max=1e5", "duration_ms_min=5&duration_ms_max=4",
     "succeeded=maybe", "page=abc", "per_page=x", "cursor=nonsense", "order=up", "include_total=5",
     "result_contains=" + "x" * 1001],
)  # fmt: skip
def test_values_that_cannot_be_understood(client, query):
    for path in (LIST, f"{LIST}/stats", f"{LIST}/export"):
        if path == LIST or not query.startswith(("page", "per_page", "cursor", "order", "include")):
            response = client.get(f"{path}?{query}")
            assert (response.status_code, response.json()["code"]) == (400, "BAD_REQUEST"), path


def test_blank_values_are_absent(client):
    execution = make_execution()

    assert ids(client, status="", executor="", created_after="", exit_code="", result_contains="") == [execution.pk]


def test_stats(client):
    for status in Status:
        make_execution(status=status)

    data = client.get(f"{LIST}/stats").json()["data"]

    assert data == {
        "total": 10, "completed": 1, "failed": 1, "running": 1, "pending": 3, "cancelled": 2, "timeout": 1,
        "abandoned": 1, "window": "1000",
    }  # fmt: skip


def test_stats_count_the_newest_thousand(client):
    action = make_action()
    row = {"action": action, "action_ref": action.ref}
    Execution.objects.bulk_create([Execution(**row, status=Status.FAILED) for _number in range(10)])
    Execution.objects.bulk_create([Execution(**row, status=Status.COMPLETED) for _number in range(995)])

    newest = client.get(f"{LIST}/stats").json()["data"]
    everything = client.get(f"{LIST}/stats", {"window": "all"}).json()["data"]
    filtered = client.get(f"{LIST}/stats", {"status": "failed"}).json()["data"]

    assert (newest["total"], newest["failed"], newest["window"]) == (1000, 5, "1000")
    assert (everything["total"], everything["failed"], everything["window"]) == (1005, 10, "all")
    assert (filtered["total"], filtered["window"]) == (10, "all")
    assert client.get(f"{LIST}/stats", {"window": "10"}).status_code == 400


def test_others_see_their_own():
    person = make_identity()
    mine = make_execution(executor=person)
    theirs = make_execution(executor=make_identity())
    client = signed_in(person)

    assert ids(client) == [mine.pk]
    assert client.get(f"{LIST}/stats").json()["data"]["total"] == 1
    assert client.get(f"{LIST}/{mine.pk}").status_code == 200
    refused = client.get(f"{LIST}/{theirs.pk}")
    assert (refused.status_code, refused.json()["error"]) == (403, "Insufficient permissions: executions:read")
    for part in ("result", "logs", "logs/stdout", "why", "history", "attempts", "logs/search?q=x", "workflow"):
        assert client.get(f"{LIST}/{theirs.pk}/{part}").status_code == 403, part
    assert client.put(f"{LIST}/{mine.pk}", {"pinned": True}).status_code == 403


def test_an_execution_token_sees_what_descends_from_it():
    person = make_admin()
    root = make_execution(executor=person)
    parent = make_execution(executor=person, parent=root, root=root.pk)
    child = make_execution(executor=person, parent=parent, root=root.pk)
    grandchild = make_execution(executor=person, parent=child, root=root.pk)
    make_execution(executor=person, parent=root, root=root.pk)
    client = with_execution_token(parent, "standard")

    assert ids(client) == [grandchild.pk, child.pk, parent.pk]
    assert client.get(f"{LIST}/{grandchild.pk}").status_code == 200
    assert client.get(f"{LIST}/{root.pk}").status_code == 403


def test_read(client):
    execution = make_execution(
        config={"message": "x"}, status=Status.RUNNING, started_at=DAY, permission_set_refs=["a.b"]
    )

    data = client.get(f"{LIST}/{execution.pk}").json()["data"]

    assert (data["config"], data["started_at"], data["permission_set_refs"]) == (
        {"message": "x"}, "2026-03-01T00:00:00Z", ["a.b"],
    )  # fmt: skip
    assert set(data) == SUMMARY_KEYS | {
        "action", "config", "executor", "permission_set_refs", "result", "started_at", "pack_ref", "root", "priority",
        "timeout_seconds", "scheduled_at", "max_retries", "retry_reason", "retry_of", "attempt", "epoch", "expires_at",
        "cancelled_by", "pinned", "correlation_id",
    }  # fmt: skip


def test_read_what_is_not_there(client):
    absent = client.get(f"{LIST}/99999")

    assert (absent.status_code, absent.json()["error"]) == (404, "Execution with ID 99999 not found")
    assert client.get(f"{LIST}/abc").status_code == 400
    assert client.get(f"{LIST}/{2**80}").status_code == 404
    assert client.get(f"{LIST}/1?wait=61").status_code == 400
    assert client.get(f"{LIST}/1?wait=x").status_code == 400


def test_update(client):
    execution = make_execution()
    path = f"{LIST}/{execution.pk}"

    response = client.put(path, {"priority": 5, "not_before": {"op": "set", "value": "2100-01-01"}, "pinned": True})
    cleared = client.put(path, {"not_before": {"op": "clear"}, "priority": 5})

    data = response.json()["data"]
    assert (response.status_code, data["priority"], data["not_before"], data["pinned"]) == (
        200, 5, "2100-01-01T00:00:00Z", True,
    )  # fmt: skip
    assert (cleared.json()["data"]["not_before"], cleared.json()["data"]["pinned"]) == (None, True)


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (Status.RUNNING, {"priority": 1}, 409),
        (Status.RUNNING, {"pinned": True}, 200),
        (Status.COMPLETED, {"pinned": True}, 200),
        (Status.REQUESTED, {"priority": 200}, 422),
        (Status.REQUESTED, {"not_before": "2100-01-01"}, 422),
        (Status.REQUESTED, {"not_before": {"op": "set", "value": "x"}}, 422),
        (Status.REQUESTED, {"pinned": "yes"}, 422),
        (Status.REQUESTED, {}, 200),
    ],
)
def test_update_answers(client, status, body, answer):
    execution = make_execution(status=status)

    assert client.put(f"{LIST}/{execution.pk}", body).status_code == answer


def test_routes_that_come_later(client):
    execution = make_execution()
    path = f"{LIST}/{execution.pk}"

    answers = [
        client.get(f"{LIST}/stream"),
        client.get(f"{path}/logs/stdout/stream"),
        client.post(f"{path}/reschedule", {}),
    ]

    assert [answer.status_code for answer in answers] == [501] * 3
    assert answers[0].json()["code"] == "NOT_IMPLEMENTED"


def test_fixed_words_are_no_ids(client):
    assert client.get(f"{LIST}/execute").status_code == 405
    assert client.get(f"{LIST}/cancel").status_code == 405
    assert client.delete(f"{LIST}/1").status_code == 405
