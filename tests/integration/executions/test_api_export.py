"""Export (api.md 13.4)."""

import csv
import gzip
import io
import json

import pytest

from apps.executions.api import export
from apps.executions.models import Execution
from apps.executions.states import Status
from tests.clients import signed_in
from tests.factories import make_action, make_execution, make_identity

pytestmark = pytest.mark.django_db

EXPORT = "/api/v1/executions/export"


@pytest.fixture
def client():
    return signed_in()


def lines(client, **params):
    response = client.get(EXPORT, params)
    assert response.status_code == 200
    return [json.loads(line) for line in response.getvalue().splitlines()]


def test_jsonl_is_the_default(client):
    execution = make_execution(config={"a": "ü\u2028"}, result={"error": "x"})

    response = client.get(EXPORT)

    one = client.get(f"/api/v1/executions/{execution.pk}").json()["data"]
    assert [json.loads(line) for line in response.getvalue().decode().strip().split("\n")] == [one]
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="executions-20')
    assert response.headers["Content-Disposition"].endswith('Z.jsonl"')


def test_json_is_one_array(client):
    assert json.loads(client.get(EXPORT, {"format": "json"}).getvalue()) == []
    rows = [make_execution().pk for _number in range(3)]

    exported = json.loads(client.get(EXPORT, {"format": "json"}).getvalue())

    assert [row["id"] for row in exported] == rows[::-1]


def test_csv(client):
    execution = make_execution(
        action=make_action(ref="mypack.act"), status=Status.FAILED, exit_code=-1, duration_ms=5, succeeded=False,
        config={"a": 'quote " and, comma\nand line'}, result={"error": "=HYPERLINK(1)"},
    )  # fmt: skip

    response = client.get(EXPORT, {"format": "csv"})

    content = response.getvalue().decode()
    header, row = csv.reader(io.StringIO(content, newline=""))
    cells = dict(zip(header, row, strict=True))
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert tuple(header) == export.CSV_COLUMNS
    assert content.startswith("id,action_ref,status,parent,")
    assert content.count("\r\n") == 2
    assert (cells["id"], cells["exit_code"], cells["succeeded"], cells["worker"]) == (
        str(execution.pk),
        "-1",
        "false",
        "",
    )
    assert (cells["error"], json.loads(cells["config"])) == ("'=HYPERLINK(1)", execution.config)


def test_fields(client):
    execution = make_execution(result={"error": "x"}, env_vars={"SECRET": "x"})

    assert lines(client, fields="error,id") == [{"error": "x", "id": execution.pk}]
    text = client.get(EXPORT, {"fields": "id,priority", "format": "csv"}).getvalue().decode()
    assert text == f"id,priority\r\n{execution.pk},0\r\n"
    assert "env_vars" not in lines(client)[0]


@pytest.mark.parametrize(
    "query", ["format=xml", "fields=id,nothing", "fields=env_vars", "limit=0", "limit=x", "status=done"]
)
def test_refused(client, query):
    response = client.get(f"{EXPORT}?{query}")

    assert (response.status_code, response.json()["code"]) == (400, "BAD_REQUEST")


def test_filters_limit_and_visibility(client):
    person = make_identity()
    rows = [make_execution(status=Status.FAILED, executor=person).pk for _number in range(3)]
    make_execution(status=Status.RUNNING)

    assert [row["id"] for row in lines(client, status="failed", limit=2)] == rows[:0:-1]
    assert [row["id"] for row in lines(signed_in(person))] == rows[::-1]


@pytest.mark.parametrize(("rows", "limit"), [(7, None), (6, None), (7, 5), (7, 3), (0, None)])
def test_batches(client, monkeypatch, rows, limit):
    monkeypatch.setattr(export, "BATCH_ROWS", 3)
    made = [make_execution().pk for _number in range(rows)]
    # Equal times must neither hide a row nor show one twice.
    Execution.objects.update(created="2026-03-01T00:00:00Z")

    exported = lines(client, **({"limit": limit} if limit else {}))

    assert [row["id"] for row in exported] == made[::-1][:limit]


def test_as_of_the_start(client, monkeypatch):
    monkeypatch.setattr(export, "BATCH_ROWS", 2)
    made = [make_execution().pk for _number in range(5)]
    rows = export.rows_of(Execution.objects.all(), None)

    seen = [next(rows).pk]
    late = make_execution()
    Execution.objects.filter(pk=late.pk).update(created="2020-01-01T00:00:00Z")
    seen += [row.pk for row in rows]

    assert seen == made[::-1]


def test_gzip(client):
    execution = make_execution()

    response = client.get(EXPORT, headers={"Accept-Encoding": "gzip, br"})

    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Vary"].startswith("Accept-Encoding")
    assert json.loads(gzip.decompress(response.getvalue()))["id"] == execution.pk
    assert "Content-Encoding" not in client.get(EXPORT).headers


def test_an_error_on_the_way_breaks_the_transfer(client, monkeypatch):
    monkeypatch.setattr(export, "BATCH_ROWS", 1)
    for _number in range(3):
        make_execution(config={"x": "y" * 70_000})
    response = client.get(EXPORT)
    stream = iter(response.streaming_content)
    assert next(stream)

    monkeypatch.setattr(export, "execution_data", lambda row: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        list(stream)
